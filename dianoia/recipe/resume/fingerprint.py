"""What a stage is made from, so that a stage is run again exactly when that has changed.

In: a recipe and its run directory. Out: a `Fingerprint`, which is written to `begun.json` when a stage begins and
to `manifest.json` when it is done, and the differences of two of them in words. No torch.

Decisions:
 1. An earlier stage counts by the hash of its own record, which holds when it began: a stage that was run again
    is another one, even where its table is the same.
 2. Files count by their content. Weights of a model folder and files of a data folder above LARGE count by size and time of change, since
    reading them would take longer than a plan may. Shipped models always count by content, hub names by their
    `config.json`.
 3. Keys that decide what a run costs, and nothing else, do not count: COSTS.
 4. A key that was not there before, with its default, does not count, so that a newer version goes on with what
    an older one began.
 5. `threads` counts as the recipe writes it: 0 stays 0 on another machine.
 6. Of a reward function the files count in which it is written (`judge.function_files`), also where nothing in them that
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
from dianoia.judge.function_files import source_files
from dianoia.models.hub_config import model_config
from dianoia.recipe.graph import Recipe, functions, problems_of, reads, reward_models, sources
from dianoia.storage.run_directory import RunDirectory, StageDirectory
from dianoia.tasks.catalog import files_behind

LARGE = 64_000_000
"""Bytes above which a weight file counts by size and time of change."""
COSTS = frozenset(
    {"checkpoint_every", "budget_requests", "budget_tokens", "concurrency", "retries", "timeout", "key_env"}
)  # fmt: skip
"""Last parts of keys that change what a run costs and never what it finds."""
_MODEL_FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja")
_SHOWN_CHANGES = 3
_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Everything that decides what a stage finds."""

    seed: int
    threads: int
    configuration: Mapping[str, Any]
    """The stage's table with every default."""
    stages: Mapping[str, str | None]
    """The hash of each earlier stage that is read; None where it is not there."""
    files: Mapping[str, str]
    """Files that are read, by path: size, and a hash or a time of change."""


def fingerprint(name: str, recipe: Recipe, run: RunDirectory) -> Fingerprint:
    """What the stage would be made from if it began now."""
    stage = recipe.stages[name]
    named = dict.fromkeys(reads(stage))
    outside = [source for source in named if source not in recipe.stages]
    models = {*sources(stage), *reward_models(stage).values()}
    files: dict[str, str] = {}
    for source in outside:
        files |= _model(name, source) if source in models else _file(source)
    for function in functions(stage):
        files |= {known: _content(file) for known, file in source_files(function.path).items()}
    for problems in problems_of(stage):
        files |= _data(problems)
    return Fingerprint(
        seed=recipe.seed,
        threads=recipe.threads,
        configuration=stage.model_dump(mode="json"),
        stages={source: hash_of(run.stage(source)) for source in named if source in recipe.stages},
        files=files,
    )


# Records -----------------------------------------------------------------------------------------


def record_of(made: Fingerprint, began: str) -> dict[str, Any]:
    """What `begun.json` holds; `began` tells two runs of one configuration apart."""
    found = {"began": began, **asdict(made)}
    return {"hash": _hash(found), **found}


def recorded(directory: StageDirectory) -> Fingerprint | None:
    """What a stage that is done or interrupted was made from; None where nothing says so."""
    found = _read(directory)
    try:
        return Fingerprint(**{key: found[key] for key in Fingerprint.__dataclass_fields__})
    except KeyError:
        return None


def hash_of(directory: StageDirectory) -> str | None:
    """The hash of a stage's record."""
    found: str | None = _read(directory).get("hash")
    return found


def _read(directory: StageDirectory) -> dict[str, Any]:
    file = directory.manifest if directory.done else directory.begun
    try:
        return read_table(file)
    except FileNotFoundError:
        return {}


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# Files -------------------------------------------------------------------------------------------


def _file(source: str) -> dict[str, str]:
    """A file; nothing for the name of a built-in set of problems."""
    path = Path(source).expanduser()
    return {source: _content(path)} if path.is_file() else {}


def _data(problems: str | FileSettings) -> dict[str, str]:
    """The files of a folder or of a hub name; nothing for what is not here. Large ones count as weights do."""
    try:
        found = files_behind(problems)
    except ConfigError:  # a plan goes without it, and a run says what is wrong
        return {}
    named = Path(path_of(problems)).expanduser()
    return {str(path): _weights(path) for path in found if path != named}


def _model(stage: str, source: str) -> dict[str, str]:
    """The files of a model folder, or what the hub says of a model."""
    shipped = shipped_model(source)
    folder = shipped or Path(source).expanduser()
    if not folder.is_dir():
        return {f"{source}/config.json": _from_hub(stage, source)}
    found = {path for pattern in _MODEL_FILES for path in folder.glob(pattern)}
    return {
        f"{source.rstrip('/')}/{path.name}": _content(path) if shipped else _weights(path)
        for path in sorted(found)
        if path.is_file() and not path.name.startswith(".")
    }


@lru_cache(maxsize=256)
def _from_hub(stage: str, source: str) -> str:
    """Asked once a process: the network may be gone when a long run ends."""
    return f"sha256 {_hash(model_config(f'stages.{stage}', source))}"


def _weights(path: Path) -> str:
    about = path.stat()
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
    """A file is read once while it does not change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Differences -------------------------------------------------------------------------------------


def differences(before: Fingerprint, now: Fingerprint, chosen: Mapping[str, Any]) -> list[str]:
    """What has changed, in words; empty where nothing has that counts.

    `chosen` is the part of the present table that differs from the defaults.
    """
    reasons = [
        f"the {key} changed ({getattr(before, key)} -> {getattr(now, key)})"
        for key in ("seed", "threads")
        if getattr(before, key) != getattr(now, key)
    ]
    changes = list(_changes(flat(before.configuration), flat(now.configuration), flat(chosen)))
    if changes:
        more = len(changes) - _SHOWN_CHANGES
        told = ", ".join(changes[:_SHOWN_CHANGES]) + (f" and {more} more" if more > 0 else "")
        reasons.append(f"its configuration changed ({told})")
    for name, value in now.stages.items():
        if before.stages.get(name) != value or value is None:
            reasons.append(f"{name} {'is' if value is None else 'was'} run again")
    paths = sorted({*before.files, *now.files})
    changed = [path for path in paths if before.files.get(path) != now.files.get(path)]
    if changes:  # another path or model stands there already
        changed = [path for path in changed if path in before.files and path in now.files]
    return reasons + [f"the file {path} changed" for path in changed]


def _changes(
    before: Mapping[str, Any], now: Mapping[str, Any], chosen: Mapping[str, Any]
) -> Iterator[str]:
    for key in dict.fromkeys([*now, *before]):
        new_default = key not in before and key not in chosen
        if (
            (key.rpartition(".")[2] in COSTS and ".arguments." not in key)
            or new_default
            or before.get(key, ...) == now.get(key, ...)
        ):
            continue
        yield f"{key}: {_shown(before, key)} -> {_shown(now, key)}"


def _shown(table: Mapping[str, Any], key: str) -> str:
    if key not in table:
        return "absent"
    text = json.dumps(table[key], ensure_ascii=False).strip('"')
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Every value of a table under its dotted key; the elements of a list under their numbers."""
    if not isinstance(value, Mapping | list):
        return {prefix: value}
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    found: dict[str, Any] = {}
    for key, inner in pairs:
        found |= flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return found
