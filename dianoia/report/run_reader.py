"""Read a run directory into records that the sections of the report can rely on.

In: a run directory, finished or not. Out: `Run`. Every number in it is finite or None, and whatever is
missing is empty. Not here: rollouts, which are large; `sections/rollout_examples.py` reads the few files
that it shows.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dianoia.base.errors import DamagedFile
from dianoia.base.faults import fault_message
from dianoia.base.files import SUMS, check_folder, read_json, read_table
from dianoia.base.run_files import cure_of
from dianoia.claims import claims_of
from dianoia.storage.estimate import Estimate, Metrics
from dianoia.storage.journal import readable_rows
from dianoia.storage.run_directory import (
    RunDirectory,
    StageDirectory,
    check_output,
    no_run_directory,
)

_MAX_CHECKED_BYTES = 64_000_000
"""A larger file is not read only to compare its checksum: the report would take minutes."""


Domains = Mapping[str, Metrics]
"""Metrics by domain."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the recipe, and what it has written so far."""

    name: str
    kind: str
    settings: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    """Rows of `metrics.jsonl`."""
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
    """True if it was made from other settings than the recipe has now, or from a stage that was run again."""
    failure: str | None = None
    """The error that ended it, several lines perhaps; None if it is done, was begun again since, or has not failed."""
    began: float | None = None
    """When it was begun from scratch, in seconds since 1970; None if unknown."""

    @property
    def last_step(self) -> int | None:
        """The last optimizer step in `metrics.jsonl`; None if there is none."""
        steps = [step for row in self.rows if (step := number(row.get("step"))) is not None]
        return int(max(steps)) if steps else None


@dataclass(frozen=True, slots=True)
class StageRow:
    """A row of the stage table: a checkpoint and the models of the paper that it stands for."""

    checkpoint: str
    parts: tuple[str, ...]
    """Models of the paper, such as "base" or "dev1"."""
    domains: Domains
    """Includes "reasoning", the mean of several domains."""


@dataclass(frozen=True, slots=True)
class EvaluateStage:
    """The settings of one evaluate stage and its results."""

    settings: Mapping[str, Any]
    evaluations: Mapping[str, Domains]
    """Results by checkpoint."""


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that the report shows, apart from rollouts."""

    path: Path
    recipe: Mapping[str, Any]
    about: Mapping[str, Any]
    """`run.json`: command, seed and versions."""
    seconds: float | None
    evaluations: Mapping[str, Domains]
    """Results by checkpoint, in the order of evaluation: the first is "before", the last is "after"."""
    by_difficulty: Mapping[str, Mapping[str, Mapping[str, Metrics]]]
    """Results by checkpoint, domain and difficulty."""
    claims: tuple[Mapping[str, Any], ...]
    stages: tuple[Stage, ...]
    stage_table: tuple[StageRow, ...] = ()
    evaluate_stages: tuple[EvaluateStage, ...] = ()
    """Evaluate stages that are done and up to date. `evaluations` has the last result per checkpoint and domain."""
    damaged: list[str] = field(default_factory=list)
    """A sentence per file that could not be read. Reading the rollouts appends to it later."""

    @property
    def all_metrics(self) -> dict[str, dict[str, Metrics]]:
        """Metrics by checkpoint and domain: the evaluations, and the domains that only the stage table has."""
        metrics = {name: dict(domains) for name, domains in self.evaluations.items()}
        for row in self.stage_table:
            metrics[row.checkpoint] = {**row.domains, **metrics.get(row.checkpoint, {})}
        return metrics

    def checkpoint_for(self, *parts: str) -> str | None:
        """Return the evaluated checkpoint of the first of these models of the paper that has one."""
        checkpoints = {part: row.checkpoint for row in self.stage_table for part in row.parts}
        return next((checkpoints[p] for p in parts if checkpoints.get(p) in self.evaluations), None)

    def of_kind(self, kind: str) -> list[Stage]:
        """Return the stages of one kind, in the recipe's order."""
        return [stage for stage in self.stages if stage.kind == kind]


def number(value: object) -> float | None:
    """Return a finite number as a float, and None for everything else."""
    # In Python a bool is an int.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def load(directory: RunDirectory) -> Run:
    """Read a run directory. A damaged file is skipped and named in `Run.damaged`.

    Raises ConfigError if the folder is no run directory.
    """
    damaged: list[str] = []
    recipe = _recipe(directory, damaged)
    results = _table(directory.results, damaged)
    # Whether a stage is out of date was found by the last run; a report cannot know it better.
    states = _dict(results.get("states"))
    paper = _claims(directory, damaged) if results else {}
    stages = tuple(
        _stage(name, _dict(settings), directory.stage(name), states.get(name), damaged)
        for name, settings in _dict(recipe.get("stages")).items()
    )
    return Run(
        damaged=damaged,
        # Everything below tolerates missing keys and wrong types: results may come from an older version.
        path=directory.path,
        recipe=recipe,
        about=_table(directory.about, damaged),
        seconds=number(results.get("seconds")),
        # The results hold what the last run knew; the files of the stages may be newer.
        evaluations=_evaluations(results.get("evaluations")),
        by_difficulty={
            # The levels of difficulty take the place of domains here: both are names with metrics.
            name: {domain: _domains(levels) for domain, levels in _dict(domains).items()}
            for name, domains in _dict(results.get("by_difficulty")).items()
        },
        claims=tuple(paper.get("claims", ())),
        stages=stages,
        stage_table=tuple(
            StageRow(
                str(row.get("checkpoint")), _texts(row.get("parts")), _domains(row.get("domains"))
            )
            for row in paper.get("stage_table", ())
        ),
        evaluate_stages=tuple(
            EvaluateStage(stage.settings, _evaluations(_table(path, damaged).get("evaluations")))
            for stage in stages
            if stage.kind == "evaluate" and stage.done and not stage.stale
            for path in [directory.stage(stage.name).evaluation]
        ),
    )


def _claims(directory: RunDirectory, damaged: list[str]) -> dict[str, Any]:
    """Return the stage table and the claims; empty if what they are computed from cannot be read."""
    try:
        return claims_of(directory)
    except FileNotFoundError:
        return {}
    except (DamagedFile, OSError) as error:
        message = _message(error)
        if message not in damaged:
            damaged.append(message)
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        damaged.append(f"{directory.recipe}: the claims cannot be computed from it ({reason})")
    return {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(text) for text in _list(value))


def _recipe(directory: RunDirectory, damaged: list[str]) -> Mapping[str, Any]:
    """Read recipe.json; if it is damaged, put the recipe together from the stages' own files.

    Raises ConfigError if neither is possible.
    """
    try:
        recipe = read_json(directory.recipe)
        if isinstance(recipe, dict) and isinstance(recipe.get("stages"), dict):
            return recipe
        reason = "its recipe.json has no stages"
    except (FileNotFoundError, NotADirectoryError):
        reason = "it holds no recipe.json"
    except DamagedFile as error:
        reason = str(error)
    recovered = _recovered_recipe(directory)
    if not recovered["stages"]:
        raise no_run_directory(directory.path, reason)
    damaged.append(
        f"{directory.recipe}: {reason}; the report takes the stages from their own files, in the order in "
        "which they began"
    )
    return recovered


def _recovered_recipe(directory: RunDirectory) -> dict[str, Any]:
    """Put a recipe together from the settings that each stage wrote down when it began."""
    begun = {}
    # Hidden folders are temporary ones of stages that are being written.
    for folder in (directory.path / "stages").glob("[!.]*"):
        begun[folder.name] = _table(StageDirectory(folder).begun, [])
    # Begin times are ISO 8601 texts, so they sort as texts.
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
    recipe_settings: Mapping[str, Any],
    directory: StageDirectory,
    state: object,
    damaged: list[str],
) -> Stage:
    # A stage that has begun shows the settings it was made with: the recipe may have changed since.
    # `begun.json` is written before the first step, `manifest.json` after the last.
    settings = _dict(_table(directory.begun, damaged).get("configuration")) or recipe_settings
    manifest = _table(directory.manifest, damaged)
    _check_outputs(directory, manifest, damaged)
    error = None if directory.done else _table(directory.failure, damaged).get("error")
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
        began=_timestamp(_table(directory.begun, []).get("began")),
        sampling=_output(directory, directory.sampling, damaged),
        preferences=_output(directory, directory.preferences, damaged),
        stale=state == "out of date",
        failure=None if error is None else str(error),
    )


def _timestamp(value: object) -> float | None:
    """Read a time in ISO 8601 as seconds since 1970; None for anything else."""
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None


def _output(directory: StageDirectory, path: Path, damaged: list[str]) -> dict[str, Any]:
    """Read a JSON table that a stage wrote; empty if it differs from what the manifest says of it."""
    try:
        check_output(directory, path)
    except (DamagedFile, OSError) as error:
        message = _message(error)
        # A damaged manifest has its own sentence already and says nothing about this file.
        if message not in damaged and directory.manifest.name not in message.partition(":")[0]:
            damaged.append(message)
            return {}
    return _table(path, damaged)


def _check_outputs(
    directory: StageDirectory, manifest: Mapping[str, Any], damaged: list[str]
) -> None:
    """Name the outputs of a finished stage that have changed since. Rollouts are checked when they are read."""
    rollouts = {file.name for file in directory.rollout_files()}
    # The sums of a checkpoint are an output themselves; they are checked first, then the files they list.
    for name in _dict(manifest.get("outputs")):
        file = directory.checkpoint / SUMS if name == SUMS else directory.path / name
        # A data set that was deleted is no damage here: the report shows none of it.
        if name in rollouts or (file.suffix == ".parquet" and not file.is_file()):
            continue
        try:
            check_output(directory, file)
            if name == SUMS:
                check_folder(directory.checkpoint, cure_of(file), max_bytes=_MAX_CHECKED_BYTES)
        except (DamagedFile, OSError) as error:
            damaged.append(_message(error))


def _table(path: Path, damaged: list[str]) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return read_table(path)
    except (DamagedFile, OSError) as error:
        damaged.append(_message(error))
        return {}


def _rows(path: Path, damaged: list[str]) -> tuple[Mapping[str, Any], ...]:
    """Read the rows of a journal that can be read, and name the first line that cannot."""
    # A journal may end in half a line if the machine went down: the lines before it are good.
    errors: list[str] = []
    try:
        rows = tuple(readable_rows(path, errors.append))
    except (DamagedFile, OSError) as error:
        rows, errors = (), [_message(error)]
    if errors:
        count = len(errors) - 1
        damaged.append(errors[0] + (f" (and {count} more lines of it)" if count else ""))
    return rows


def _message(error: Exception) -> str:
    return fault_message(error) or str(error)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _evaluations(value: object) -> dict[str, Domains]:
    evaluations = {name: _domains(domains) for name, domains in _dict(value).items()}
    return {name: domains for name, domains in evaluations.items() if domains}


def _domains(value: object) -> dict[str, Metrics]:
    """Read estimates by name and metric; a name without any estimate is left out."""
    # Empty names would be empty columns and charts.
    domains = {name: _metrics(metrics) for name, metrics in _dict(value).items()}
    return {name: metrics for name, metrics in domains.items() if metrics}


def _metrics(value: object) -> Metrics:
    estimates = {name: _estimate(entry) for name, entry in _dict(value).items()}
    return {name: estimate for name, estimate in estimates.items() if estimate is not None}


def _estimate(entry: object) -> Estimate | None:
    fields = _dict(entry)
    value, n = number(fields.get("value")), number(fields.get("n"))
    # An estimate without a value is left out; one without an interval is not.
    if value is None:
        return None
    low, high = number(fields.get("low")), number(fields.get("high"))
    return Estimate(value, low, high, None if n is None else int(n))


def metric_order(name: str) -> tuple[int, str]:
    """Return the sort key of a metric: accuracy first, then voting, format, length and style."""
    order = ("pass@1", "baseline", r"cons@\d+", "vote_gain", r"pass@\d+", "format", "truncated", "thought_tokens",
             "reflection", "reflecting", "target_language", "one_answer")  # fmt: skip
    positions = (index for index, pattern in enumerate(order) if re.fullmatch(pattern, name))
    return next(positions, len(order)), name
