"""Fingerprint of a stage: everything that it is made from. A stage is run again exactly when its fingerprint changes.

In: a recipe and its run directory. Out: a `Fingerprint`, which the pipeline writes to `begun.json` when a stage begins and
to `manifest.json` when it is done, and the differences between two of them in words. No torch.

Decisions:
 1. An earlier stage counts by the hash of its record, which includes the time at which it began: a stage that was run
    again is a different one, even if its table is the same.
 2. Files count by their content. Weights of a model folder and files of a data folder above LARGE bytes count by size and
    time of change, since a plan may not take as long as reading them would. Shipped models always count by content,
    hub names by their `config.json`.
 3. Keys that change only what a run costs do not count: COST_KEYS, and where servers of rollouts are.
 4. A key that is new in this version does not count while it has its default, so that a newer version resumes what an
    older one began.
 5. `threads` counts as the recipe has it: 0 stays 0 on another machine.
 6. A reward function counts by the files in which it is written (`judge.function_files`), even if nothing in them that
    the function calls has changed.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dianoia.base.errors import ConfigError
from dianoia.base.files import read_table
from dianoia.bases import shipped_model
from dianoia.config import FileSettings, path_of
from dianoia.config.rollouts_table import SERVER_KEYS
from dianoia.config.settings import MACHINE_KEYS
from dianoia.judge.function_files import source_files
from dianoia.models.hub_config import model_config
from dianoia.recipe.graph import (
    Recipe,
    functions,
    own_templates,
    problem_sets,
    reads,
    reward_models,
    sources,
)
from dianoia.storage.run_directory import RunDirectory, StageDirectory
from dianoia.tasks.catalog import files_behind

LARGE = 64_000_000
"""Bytes above which a weight file counts by size and time of change."""
COST_KEYS = frozenset(
    {"cache_share", "checkpoint_every", "budget_requests", "budget_tokens", "concurrency", "retries", "timeout", "key_env"}
)  # fmt: skip
"""Last parts of the keys that change what a run costs and never its results."""
_MODEL_FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja")
_SHOWN_CHANGES = 3
"""Changed keys that a reason lists; it counts the others."""
_SHOWN_CHARS = 40
"""Characters of a value that a reason shows."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Everything that decides the results of a stage."""

    seed: int
    threads: int
    configuration: Mapping[str, Any]
    """The stage's table with every default, and the recipe's own templates that it uses."""
    stages: Mapping[str, str | None]
    """The record hash of each earlier stage that the stage reads; None if it has no record."""
    files: Mapping[str, str]
    """Files that the stage reads, by path: size, and a hash or a time of change."""


def fingerprint(name: str, recipe: Recipe, run: RunDirectory) -> Fingerprint:
    """Return the fingerprint that the stage would have if it began now."""
    stage = recipe.stages[name]
    # Names of stages count by their record, everything else by its files.
    inputs = dict.fromkeys(reads(stage))
    models = {*sources(stage), *reward_models(stage).values()}
    files: dict[str, str] = {}
    for source in inputs:
        if source not in recipe.stages:
            files |= _model_files(name, source) if source in models else _file(source)
    # The source of reward functions decides what is learned, as a key would.
    for function in functions(stage):
        files |= {title: _content(file) for title, file in source_files(function.path).items()}
    for problems in problem_sets(stage):
        files |= _data_files(problems)
    # A template of the recipe's own decides prompts and parsing, as the stage's keys do.
    tables = {
        key: table.model_dump(mode="json") for key, table in own_templates(stage, recipe).items()
    }
    template_tables = {"templates": tables} if tables else {}
    return Fingerprint(
        seed=recipe.seed,
        threads=recipe.threads,
        configuration=stage.model_dump(mode="json", exclude=set(MACHINE_KEYS)) | template_tables,
        stages={
            source: record_hash(run.stage(source)) for source in inputs if source in recipe.stages
        },
        files=files,
    )


# Records -----------------------------------------------------------------------------------------


def fingerprint_record(stage: Fingerprint, began: str) -> dict[str, Any]:
    """Return the content of `begun.json`; `began`, a time, tells two runs of one configuration apart."""
    record = {"began": began, **asdict(stage)}
    return {"hash": _hash(record), **record}


def recorded_fingerprint(directory: StageDirectory) -> Fingerprint | None:
    """Return the fingerprint of a stage that is done or interrupted; None if its folder has no complete record."""
    record = _record(directory)
    try:
        return Fingerprint(**{key: record[key] for key in Fingerprint.__dataclass_fields__})
    except KeyError:
        return None


def record_hash(directory: StageDirectory) -> str | None:
    """Return the hash of a stage's record; None if it has none."""
    value: str | None = _record(directory).get("hash")
    return value


def _record(directory: StageDirectory) -> dict[str, Any]:
    file = directory.manifest if directory.done else directory.begun
    try:
        return read_table(file)
    except FileNotFoundError:
        return {}


def _hash(value: object) -> str:
    # Sorted keys: the hash must not depend on the order of keys in the recipe. Surrogates come from file names that are
    # not UTF-8.
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# Files -------------------------------------------------------------------------------------------


def _file(source: str) -> dict[str, str]:
    """Return the content hash of a file; nothing for the name of a built-in problem set."""
    path = Path(source).expanduser()
    return {source: _content(path)} if path.is_file() else {}


def _data_files(problems: str | FileSettings) -> dict[str, str]:
    """Return the files of a folder or a hub name, large ones by size and time; nothing for what is not here."""
    try:
        paths = files_behind(problems)
    except (
        ConfigError
    ):  # a plan goes without these problems; the check of the inputs says what is wrong
        return {}
    itself = Path(path_of(problems)).expanduser()  # `_file` has it already
    return {str(path): _weights(path) for path in paths if path != itself}


def _model_files(stage: str, source: str) -> dict[str, str]:
    """Return the files of a model folder, or the hash of the hub's configuration of the model."""
    shipped = shipped_model(source)
    folder = shipped or Path(source).expanduser()
    if not folder.is_dir():
        return {f"{source}/config.json": _hub_config_hash(stage, source)}
    paths = {path for pattern in _MODEL_FILES for path in folder.glob(pattern)}
    return {
        f"{source.rstrip('/')}/{path.name}": _content(path) if shipped else _weights(path)
        for path in sorted(paths)
        if path.is_file() and not path.name.startswith(".")
    }


@lru_cache(maxsize=256)
def _hub_config_hash(stage: str, source: str) -> str:
    """Hash the hub's configuration once per process: the network may be gone when a long run ends."""
    return f"sha256 {_hash(model_config(f'stages.{stage}', source))}"


def _weights(path: Path) -> str:
    about = path.stat()
    # Copying a large file changes its time and so the fingerprint: rather a stage too many runs again than one too few.
    if about.st_size < LARGE:
        return _content(path)
    return f"{about.st_size} bytes, changed {about.st_mtime_ns}"


def _content(path: Path) -> str:
    about = path.stat()
    return (
        f"{about.st_size} bytes, sha256 {_digest(path.resolve(), about.st_size, about.st_mtime_ns)}"
    )


@lru_cache(maxsize=4096)
def _digest(path: Path, _size: int, _changed: int) -> str:
    """Hash a file once as long as it does not change: size and time of change are part of the cache's key."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Differences -------------------------------------------------------------------------------------


def differences(
    before: Fingerprint, now: Fingerprint, written_keys: Mapping[str, Any]
) -> list[str]:
    """Return every change that counts as a clause; empty if none does.

    `written_keys`: the part of the present table that differs from the defaults.
    """
    reasons = [
        f"the {key} changed ({getattr(before, key)} -> {getattr(now, key)})"
        # The number of threads changes the order of sums and so the last bits of results.
        for key in ("seed", "threads")
        if getattr(before, key) != getattr(now, key)
    ]
    old, new = flatten(before.configuration), flatten(now.configuration)
    changes = list(_changed_keys(old, new, flatten(written_keys)))
    if changes:
        hidden = len(changes) - _SHOWN_CHANGES
        shown = ", ".join(changes[:_SHOWN_CHANGES]) + (f" and {hidden} more" if hidden > 0 else "")
        reasons.append(f"its configuration changed ({shown})")
    for name, source_hash in now.stages.items():
        # A source without a record has not begun: it will run before this stage does.
        if before.stages.get(name) != source_hash or source_hash is None:
            reasons.append(f"{name} {'is' if source_hash is None else 'was'} run again")
    paths = sorted({*before.files, *now.files})
    changed_files = [path for path in paths if before.files.get(path) != now.files.get(path)]
    if changes:  # a path or model that was replaced is among the changed keys already
        changed_files = [
            path for path in changed_files if path in before.files and path in now.files
        ]
    return reasons + [f"the file {path} changed" for path in changed_files]


def _changed_keys(
    old: Mapping[str, Any], new: Mapping[str, Any], written_keys: Mapping[str, Any]
) -> Iterator[str]:
    """Yield `key: old -> new` for every key that changed and counts."""
    for key in dict.fromkeys([*new, *old]):
        cost = _is_cost(key)
        new_default = key not in old and key not in written_keys  # decision 4
        if cost or new_default or old.get(key, ...) == new.get(key, ...):
            continue
        yield f"{key}: {_shown(old, key)} -> {_shown(new, key)}"


def _is_cost(key: str) -> bool:
    """Return True for a dotted key that changes only what a run costs."""
    table, _, rest = key.partition(".")
    if table == "rollouts" and rest.partition(".")[0] in SERVER_KEYS:
        return True
    return key.rpartition(".")[2] in COST_KEYS and ".arguments." not in key


def _shown(table: Mapping[str, Any], key: str) -> str:
    if key not in table:
        return "absent"
    text = json.dumps(table[key], ensure_ascii=False).strip('"')
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return every value of a nested table under its dotted key; elements of a list under their numbers."""
    if not isinstance(value, Mapping | list):
        return {prefix: value}
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    flat: dict[str, Any] = {}
    for key, inner in pairs:
        flat |= flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat
