"""Reads a run directory into records that the sections of the report can rely on.

In: a run directory, finished or not. Out: `Run`, in which every number is finite or None and whatever is
missing is empty. Left out: rollouts, which are large; `rollouts` reads the few files that it shows.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dianoia.base.errors import ConfigError, DamagedFile
from dianoia.base.faults import fault_of
from dianoia.base.files import SUMS, check_folder, read_json, read_table
from dianoia.base.remedies import cure_of
from dianoia.storage.journal import readable_rows
from dianoia.storage.run_directory import RunDirectory, StageDirectory, check_output

LARGE = 64_000_000
"""Bytes above which a report does not read a file only to see whether it is what it was."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval over `n` problems."""

    value: float
    low: float | None
    high: float | None
    n: int | None


Metrics = Mapping[str, Estimate]
"""By name of the metric."""
Domains = Mapping[str, Metrics]
"""By domain."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the recipe and what it has left so far."""

    name: str
    kind: str
    settings: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    """`metrics.jsonl`."""
    diagnoses: tuple[Mapping[str, Any], ...]
    rollout_files: tuple[Path, ...]
    started: bool
    done: bool
    seconds: float | None
    """From the manifest; None until the stage is done."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """`sampling.json` of a sample stage; empty until it is there."""
    preferences: Mapping[str, Any] = field(default_factory=dict)
    """`preferences.json` of a preferences stage; empty until it is there."""
    stale: bool = False
    """It was made from something else than the recipe says now, or from a stage that was run again."""

    @property
    def last_step(self) -> int | None:
        """The last optimizer step that was written down."""
        steps = [step for row in self.rows if (step := number(row.get("step"))) is not None]
        return int(max(steps)) if steps else None


@dataclass(frozen=True, slots=True)
class StageRow:
    """A checkpoint that plays a part of the paper."""

    checkpoint: str
    parts: tuple[str, ...]
    domains: Domains
    """Reasoning, the mean of several, among them."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What one evaluate stage has measured, and how."""

    settings: Mapping[str, Any]
    evaluations: Mapping[str, Domains]
    """By checkpoint."""


@dataclass(frozen=True, slots=True)
class Run:
    """Everything the report says, apart from rollouts."""

    path: Path
    recipe: Mapping[str, Any]
    about: Mapping[str, Any]
    """`run.json`."""
    seconds: float | None
    evaluations: Mapping[str, Domains]
    """By checkpoint, in the order of evaluation: the first is "before", the last is "after"."""
    by_difficulty: Mapping[str, Mapping[str, Mapping[str, Metrics]]]
    """By checkpoint, domain and difficulty."""
    claims: tuple[Mapping[str, Any], ...]
    stages: tuple[Stage, ...]
    stage_table: tuple[StageRow, ...] = ()
    evaluated: tuple[Evaluated, ...] = ()
    """By evaluate stage, of those that are done and up to date; `evaluations` has the last of each checkpoint and domain."""
    damaged: list[str] = field(default_factory=list)
    """A sentence for each file that could not be read; rollouts add theirs as they are read."""

    @property
    def measured(self) -> dict[str, dict[str, Metrics]]:
        """By checkpoint and domain: the evaluations, and what the stage table adds to them."""
        found = {name: dict(domains) for name, domains in self.evaluations.items()}
        for row in self.stage_table:
            found[row.checkpoint] = {**row.domains, **found.get(row.checkpoint, {})}
        return found

    def playing(self, *parts: str) -> str | None:
        """The evaluated checkpoint that plays the first of these parts that is played."""
        played = {part: row.checkpoint for row in self.stage_table for part in row.parts}
        return next((played[p] for p in parts if played.get(p) in self.evaluations), None)

    def of_kind(self, kind: str) -> list[Stage]:
        """The stages of one kind, in the recipe's order."""
        return [stage for stage in self.stages if stage.kind == kind]


def number(value: object) -> float | None:
    """A finite number, or None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def load(directory: RunDirectory) -> Run:
    """Read a run directory; what is damaged is passed over and named. Raises ConfigError for a folder that is none."""
    damaged: list[str] = []
    recipe = _recipe(directory, damaged)
    results = _table(directory.results, damaged)
    states = _dict(results.get("states"))
    stages = tuple(
        _stage(name, _dict(settings), directory.stage(name), states.get(name), damaged)
        for name, settings in _dict(recipe.get("stages")).items()
    )
    return Run(
        damaged=damaged,
        path=directory.path,
        recipe=recipe,
        about=_table(directory.about, damaged),
        seconds=number(results.get("seconds")),
        evaluations=_evaluations(results.get("evaluations")),
        by_difficulty={
            name: {domain: _domains(levels) for domain, levels in _dict(domains).items()}
            for name, domains in _dict(results.get("by_difficulty")).items()
        },
        claims=tuple(c for c in results.get("claims") or () if isinstance(c, dict)),
        stages=stages,
        stage_table=tuple(
            StageRow(
                str(row.get("checkpoint")), _texts(row.get("parts")), _domains(row.get("domains"))
            )
            for row in _list(results.get("stage_table"))
            if isinstance(row, dict)
        ),
        evaluated=tuple(
            Evaluated(stage.settings, _evaluations(_table(path, damaged).get("evaluations")))
            for stage in stages
            if stage.kind == "evaluate" and stage.done and not stage.stale
            for path in [directory.stage(stage.name).evaluation]
        ),
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in _list(value))


def _recipe(directory: RunDirectory, damaged: list[str]) -> Mapping[str, Any]:
    where = f"{directory.path} is not a run directory"
    todo = "give the folder that `dianoia run` wrote, the one with recipe.json and stages/ in it"
    told = "the stages are told from their own files, in the order in which they began"
    try:
        recipe = read_json(directory.recipe)
        if isinstance(recipe, dict) and isinstance(recipe.get("stages"), dict):
            return recipe
        why = "its recipe.json has no stages"
    except (FileNotFoundError, NotADirectoryError):
        why = "it holds no recipe.json"
    except DamagedFile as error:
        why = str(error)
    pieced = _pieced(directory)
    if not pieced["stages"]:
        raise ConfigError(f"{where}: {why}; {todo}")
    damaged.append(f"{directory.recipe}: {why}; {told}")
    return pieced


def _pieced(directory: RunDirectory) -> dict[str, Any]:
    """A recipe from what its stages were made from."""
    begun = {}
    for folder in (directory.path / "stages").glob("[!.]*"):
        begun[folder.name] = _table(StageDirectory(folder).begun, [])
    order = sorted(begun, key=lambda name: str(begun[name].get("began")))
    stages = {name: _dict(begun[name].get("configuration")) for name in order}
    seeds = [table["seed"] for table in begun.values() if "seed" in table]
    return {
        "name": directory.path.resolve().name,
        "seed": seeds[0] if seeds else None,
        "stages": {name: table for name, table in stages.items() if table},
    }


def _stage(
    name: str,
    planned: Mapping[str, Any],
    directory: StageDirectory,
    state: object,
    damaged: list[str],
) -> Stage:
    # What the stage was made from, if it has begun: the recipe may have changed since.
    settings = _dict(_table(directory.begun, damaged).get("configuration")) or planned
    manifest = _table(directory.manifest, damaged)
    _unchanged(directory, manifest, damaged)
    return Stage(
        name=name,
        kind=str(settings.get("kind", "")),
        settings=settings,
        rows=_rows(directory.metrics, damaged),
        diagnoses=_rows(directory.diagnoses, damaged),
        rollout_files=tuple(directory.rollout_files()),
        started=directory.path.exists(),
        done=directory.done,
        seconds=number(manifest.get("seconds")),
        sampling=_output(directory, directory.sampling, damaged),
        preferences=_output(directory, directory.preferences, damaged),
        stale=state == "out of date",
    )


def _output(directory: StageDirectory, path: Path, damaged: list[str]) -> dict[str, Any]:
    """A table that a stage leaves, compared with what its manifest says of it."""
    try:
        check_output(directory, path)
    except (DamagedFile, OSError) as error:
        said = _said(error)
        if said not in damaged and directory.manifest.name not in said.partition(":")[0]:
            damaged.append(said)
            return {}
    return _table(path, damaged)


def _unchanged(directory: StageDirectory, manifest: Mapping[str, Any], damaged: list[str]) -> None:
    """Name what a finished stage left and is not as it was; rollouts are looked at when they are read."""
    rollouts = {file.name for file in directory.rollout_files()}
    for name in _dict(manifest.get("outputs")):
        file = directory.checkpoint / SUMS if name == SUMS else directory.path / name
        if name in rollouts or (file.suffix == ".parquet" and not file.is_file()):
            continue
        try:
            check_output(directory, file)
            if name == SUMS:
                check_folder(directory.checkpoint, cure_of(file), most=LARGE)
        except (DamagedFile, OSError) as error:
            damaged.append(_said(error))


def _table(path: Path, damaged: list[str]) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return read_table(path)
    except (DamagedFile, OSError) as error:
        damaged.append(_said(error))
        return {}


def _rows(path: Path, damaged: list[str]) -> tuple[Mapping[str, Any], ...]:
    """Rows of a journal that can be read; the first of those that cannot is named."""
    errors: list[str] = []
    try:
        rows = tuple(readable_rows(path, errors.append))
    except (DamagedFile, OSError) as error:
        rows, errors = (), [_said(error)]
    if errors:
        more = len(errors) - 1
        damaged.append(errors[0] + (f" (and {more} more lines of it)" if more else ""))
    return rows


def _said(error: Exception) -> str:
    return fault_of(error) or str(error)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _evaluations(value: object) -> dict[str, Domains]:
    return {name: found for name, d in _dict(value).items() if (found := _domains(d))}


def _domains(value: object) -> dict[str, Metrics]:
    """Estimates by a name and a metric; names that have none are left out."""
    return {name: found for name, m in _dict(value).items() if (found := _metrics(m))}


def _metrics(value: object) -> Metrics:
    estimates = {name: _estimate(e) for name, e in _dict(value).items()}
    return {name: estimate for name, estimate in estimates.items() if estimate is not None}


def _estimate(entry: object) -> Estimate | None:
    fields = _dict(entry)
    value, n = number(fields.get("value")), number(fields.get("n"))
    if value is None:
        return None
    low, high = number(fields.get("low")), number(fields.get("high"))
    return Estimate(value, low, high, None if n is None else int(n))


def metric_order(name: str) -> tuple[int, str]:
    """Sorts metrics as a reader asks: right, by vote, at best, well-formed, cut, how long, how."""
    order = ("pass@1", "baseline", r"cons@\d+", "vote_gain", r"pass@\d+", "format", "truncated", "thought_tokens",
             "reflection", "reflecting", "target_language", "one_answer")  # fmt: skip
    places = (place for place, rule in enumerate(order) if re.fullmatch(rule, name))
    return next(places, len(order)), name
