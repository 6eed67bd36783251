"""Reads a run directory into records that the sections of the report can rely on.

In: a run directory, finished or not. Out: `Run`, in which every number is finite or None and whatever is
missing is empty. Left out: rollouts, which are large; `rollouts` reads the few files that it shows.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dianoia.base.errors import ConfigError
from dianoia.base.files import read_json
from dianoia.base.run import RunDirectory, StageDirectory, read_journal


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
    """Read a run directory. Raises ConfigError for a folder that is none."""
    recipe = _recipe(directory)
    results = _table(directory.results)
    states = _dict(results.get("states"))
    stages = tuple(
        _stage(name, _dict(settings), directory.stage(name), states.get(name))
        for name, settings in _dict(recipe.get("stages")).items()
    )
    return Run(
        path=directory.path,
        recipe=recipe,
        about=_table(directory.about),
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
            Evaluated(stage.settings, _evaluations(_table(path).get("evaluations")))
            for stage in stages
            if stage.kind == "evaluate" and stage.done and not stage.stale
            for path in [directory.stage(stage.name).evaluation]
        ),
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in _list(value))


def _recipe(directory: RunDirectory) -> Mapping[str, Any]:
    where = f"{directory.path} is not a run directory"
    todo = "give the folder that `dianoia run` wrote, the one with recipe.json and stages/ in it"
    try:
        recipe = read_json(directory.recipe)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{where}: it holds no recipe.json; {todo}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: its recipe.json is not JSON ({error}); {todo}") from None
    if not isinstance(recipe, dict) or not isinstance(recipe.get("stages"), dict):
        raise ConfigError(f"{where}: its recipe.json has no stages; {todo}")
    return recipe


def _stage(
    name: str, planned: Mapping[str, Any], directory: StageDirectory, state: object
) -> Stage:
    # What the stage was made from, if it has begun: the recipe may have changed since.
    settings = _dict(_table(directory.begun).get("configuration")) or planned
    return Stage(
        name=name,
        kind=str(settings.get("kind", "")),
        settings=settings,
        rows=tuple(read_journal(directory.metrics)),
        diagnoses=tuple(read_journal(directory.diagnoses)),
        rollout_files=tuple(directory.rollout_files()),
        started=directory.path.exists(),
        done=directory.done,
        seconds=number(_table(directory.manifest).get("seconds")),
        sampling=_table(directory.sampling),
        preferences=_table(directory.preferences),
        stale=state == "out of date",
    )


def _table(path: Path) -> dict[str, Any]:
    return _dict(read_json(path)) if path.exists() else {}


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
