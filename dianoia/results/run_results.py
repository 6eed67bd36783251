"""A run as its directory tells it: results, stages, metrics, rollouts, checkpoints.

In: a run directory, finished or not. Out: `Run`. Its results and states are those of the moment when it was loaded; metrics and
rollouts are read when they are asked for.
"""

import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.files import read_table
from dianoia.inference.checkpoints import (
    Checkpoint,
    checkpoints_of,
    find_checkpoint,
    main_checkpoint,
)
from dianoia.storage.estimate import Estimate, Metrics
from dianoia.storage.journal import read_journal
from dianoia.storage.lock import Holder, holder_of
from dianoia.storage.rollout_table import read_rollouts
from dianoia.storage.run_directory import RunDirectory, StageDirectory, no_run_directory

if TYPE_CHECKING:
    from dianoia.inference.loaded_model import Model

DONE, RUNNING, INTERRUPTED, FAILED = "done", "running", "interrupted", "failed"
OUT_OF_DATE, NOT_RUN = "out of date", "not run"
"""States of stages and runs. `results.json` has those of `recipe.resume.stage_status`, which know nothing of failures."""


Evaluations = Mapping[str, Mapping[str, Metrics]]
"""Estimates by checkpoint, domain and metric."""


@dataclass(frozen=True, slots=True)
class StageInfo:
    """A stage of a run."""

    name: str
    kind: str
    """`rl`, `sft`, `sample`, `evaluate`, ..."""
    status: str
    """`done`, `running`, `interrupted`, `failed`, `out of date` or `not run`."""
    seconds: float | None
    """Work on it; None until it is done."""
    settings: Mapping[str, Any] = field(repr=False)
    """Its table in the recipe, with every default."""
    failure: str | None = None
    """The message of the error that ended it; None unless it failed."""


@dataclass(frozen=True)
class Run:
    """A run, read from its directory; `load_run` makes one."""

    path: Path
    name: str
    """Of the recipe."""
    seed: int | None
    recipe: Mapping[str, Any] = field(repr=False)
    """The recipe with every default and override, as in recipe.json."""
    about: Mapping[str, Any] = field(repr=False)
    """Who ran what: command, versions, machine, as in run.json."""
    stages: Mapping[str, StageInfo] = field(repr=False)
    """Stages by name, in the order of the recipe."""
    evaluations: Evaluations = field(repr=False)
    """`evaluations["zero"]["math"]["pass@1"].value`: results of the evaluate stages, by checkpoint, domain and metric."""
    by_difficulty: Mapping[str, Mapping[str, Mapping[str, Metrics]]] = field(repr=False)
    """The same by checkpoint, domain, difficulty and metric."""
    reward_models: Mapping[str, Metrics] = field(repr=False)
    """Results of the reward models by stage and metric."""
    holder: Holder | None = None
    """The process that was at work in the directory, or that is on another machine and was when it was last heard of."""

    @property
    def is_running(self) -> bool:
        """Return True if a process is at work in the directory, as far as this machine can tell."""
        return self.holder is not None

    def holder_as_json(self) -> dict[str, Any] | None:
        """Return what is known of the process at work as a JSON object; None if there is none."""
        if self.holder is None:
            return None
        last = RunDirectory(self.path).last_change()
        return {
            "pid": self.holder.pid,
            "host": self.holder.host,
            "is_here": self.holder.is_here,
            "since": self.holder.since.isoformat(),
            "last_change": None if last is None else last.isoformat(),
        }

    @property
    def state(self) -> str:
        """`done`, `running`, `failed` or `interrupted`: the first that fits, where one stage decides for all."""
        states = [stage.status for stage in self.stages.values()]
        if self.is_running:
            return RUNNING
        if states and all(state == DONE for state in states):
            return DONE
        return FAILED if FAILED in states else INTERRUPTED

    @property
    def seconds(self) -> float:
        """Work on all stages that are done, summed."""
        return sum(stage.seconds or 0.0 for stage in self.stages.values())

    # Models ----------------------------------------------------------------------------------------

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The language models that can be asked now: the bases, then the stages that have written one."""
        return checkpoints_of(self.path)

    def load(self, name: str | None = None, **options: Any) -> "Model":
        """Load a checkpoint by its name, such as `zero` or `base`; None: the model that the run was made for.

        `options` are those of `dianoia.load`. Raises ConfigError, with the names that there are, for another name.
        """
        # Here, since it imports PyTorch.
        from dianoia.inference.loaded_model import load

        checkpoint = main_checkpoint(self.path) if name is None else find_checkpoint(f"{self.path}:{name}")  # fmt: skip
        return load(checkpoint, **options)

    # Tables ----------------------------------------------------------------------------------------

    def results(self, metric: str | None = None, *, frame: bool | None = None) -> Any:
        """Return the evaluations as a table: checkpoint, domain, metric, value, low, high, n.

        Args:
            metric: only this one, such as `pass@1`.
            frame: True: a DataFrame; False: a list of dictionaries; None: a DataFrame where pandas is installed.
        """
        rows = [
            {"checkpoint": checkpoint, "domain": domain, "metric": name, "value": e.value, "low": e.low, "high": e.high, "n": e.n}
            for checkpoint, domains in self.evaluations.items()
            for domain, metrics in domains.items()
            for name, e in metrics.items()
            if metric in (None, name)
        ]  # fmt: skip
        return _as_table(rows, frame)

    def metrics(self, stage: str, *, frame: bool | None = None) -> Any:
        """Return the training metrics of a stage, one row per step, under the names of `docs/reference/metrics.md`.

        A metric that a row lacks is missing there, or NaN in a DataFrame. See `results` for `frame`. Raises ConfigError for a
        stage that there is not, DamagedFile for a file with a damaged line.
        """
        directory = self._directory(stage)
        return _as_table([dict(row) for row in read_journal(directory.metrics)], frame)

    def rollouts(
        self,
        stage: str,
        *,
        step: int | None = None,
        checkpoint: str | None = None,
        frame: bool | None = None,
    ) -> Any:
        """Return the rollouts that a stage has kept, one row each: question, text, thought, answer, reward, its parts, ...

        Args:
            step: only those of this optimizer step (an `rl` stage).
            checkpoint: only those of this model (an `evaluate` stage).
            frame: see `results`.

        Raises:
            ConfigError: there is no such stage.
            DamagedFile: a file cannot be read.
        """
        rows: list[dict[str, Any]] = []
        for file in self._directory(stage).rollout_files():
            rows += _with_parts(read_rollouts(file))
        matching = [
            row
            for row in rows
            if step in (None, row["step"]) and checkpoint in (None, row["checkpoint"])
        ]
        return _as_table(matching, frame)

    def _directory(self, stage: str) -> StageDirectory:
        if stage not in self.stages:
            raise ConfigError(
                f"{self.path}: the run has no stage {stage!r}{nearest(stage, self.stages)}; its stages: "
                f"{', '.join(self.stages)}"
            )
        return RunDirectory(self.path).stage(stage)


def load_run(path: str | Path) -> Run:
    """Read a run directory, finished or not.

        run = dianoia.load_run("runs/miniature-r1")
        run.evaluations["zero"]["math"]["pass@1"]      # value, low, high, n
        run.metrics("zero")                            # one row per step
        run.load("zero").ask("2+3?")

    Raises:
        ConfigError: the folder is no run directory.
        DamagedFile: recipe.json, run.json or results.json cannot be read.
    """
    directory = RunDirectory(Path(path).expanduser())
    if not directory.recipe.is_file():
        inside = sorted(str(folder.parent) for folder in directory.path.glob("*/recipe.json"))
        hint = f"it holds the runs {', '.join(inside)}" if inside else "it holds no recipe.json"
        raise no_run_directory(directory.path, hint)
    recipe = read_table(directory.recipe)
    results = read_table(directory.results) if directory.results.is_file() else {}
    holder = holder_of(directory.path)
    states = results.get("states", {})
    stages = {
        name: _stage(name, table, directory.stage(name), states.get(name), holder is not None)
        for name, table in recipe.get("stages", {}).items()
    }
    return Run(
        path=directory.path,
        name=str(recipe.get("name", "")),
        seed=recipe.get("seed"),
        recipe=recipe,
        about=read_table(directory.about) if directory.about.is_file() else {},
        stages=stages,
        evaluations={
            name: _estimates_by_name(domains)
            for name, domains in results.get("evaluations", {}).items()
        },
        by_difficulty={
            name: {domain: _estimates_by_name(levels) for domain, levels in domains.items()}
            for name, domains in results.get("by_difficulty", {}).items()
        },
        reward_models=_estimates_by_name(results.get("reward_models", {})),
        holder=holder,
    )


def _stage(
    name: str, settings: Mapping[str, Any], directory: StageDirectory, state: object, running: bool
) -> StageInfo:
    done = directory.done
    failure = None if done else _failure(directory)
    if state is None:  # results.json is missing, or of another recipe
        state = DONE if done else NOT_RUN if directory.is_empty else INTERRUPTED
    # results.json knows nothing of processes: an interrupted stage is at work if one holds the run's lock.
    if state == INTERRUPTED:
        state = RUNNING if running else FAILED if failure else INTERRUPTED
    return StageInfo(
        name=name,
        kind=str(settings.get("kind", "")),
        status=str(state),
        # From the manifest, which is written last: until then the seconds are those of a part.
        seconds=read_table(directory.manifest).get("seconds") if done else None,
        settings=settings,
        failure=failure if state == FAILED else None,
    )


def _failure(directory: StageDirectory) -> str | None:
    return str(read_table(directory.failure).get("error")) if directory.failure.is_file() else None


def _estimates_by_name(tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Metrics]:
    return {name: dict(_estimates(metrics)) for name, metrics in tables.items()}


def _estimates(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Estimate]]:
    for metric, fields in metrics.items():
        if fields.get("value") is not None:
            yield metric, Estimate(*(fields.get(key) for key in ("value", "low", "high", "n")))  # type: ignore[arg-type]


def _with_parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield rollouts with the parts of their reward, and what reward functions logged, as tables."""
    for row in rows:
        texts = {key: row.get(key) for key in ("parts", "notes")}
        yield {**row, **{key: json.loads(text) if text else {} for key, text in texts.items()}}


def _as_table(rows: Sequence[dict[str, Any]], frame: bool | None) -> Any:
    """Return rows as a DataFrame or as they are. Raises ConfigError where one is asked for and pandas is missing."""
    has_pandas = importlib.util.find_spec("pandas") is not None
    if frame and not has_pandas:
        raise ConfigError(
            "frame = True: pandas is not installed; pip install pandas, or take the rows as they are with frame=False"
        )
    if not has_pandas or frame is False:
        return list(rows)
    pandas = importlib.import_module("pandas")
    return pandas.DataFrame(rows)


# What a person looks at first ----------------------------------------------------------------------

_HEADLINES = {
    "rl": ("heldout/pass@1", "reward", "completions/mean_length", "heldout/rewards/helpful/mean"),
    "sft": ("eval_loss", "loss", "eval_mean_token_accuracy"),
    "reward_model": ("eval_accuracy", "accuracy", "loss"),
    "pretrain": ("eval_loss", "loss"),
}
"""Metrics by kind of stage, the most telling first; see docs/reference/metrics.md."""
_COUNTS = ("sampled", "kept", "rows", "pairs", "labels", "written")
"""Counts of stages that make data, in their files of counts."""


def last_metrics(run: Run, stage: str) -> dict[str, float]:
    """Return the last value of every metric of a stage, and its last step. Raises as `Run.metrics`."""
    last: dict[str, float] = {}
    # Not the last row alone: evaluations and lengths stand in some rows only.
    for row in run.metrics(stage, frame=False):
        last |= {name: value for name, value in row.items() if isinstance(value, int | float)}
    return last


def headline(run: Run, stage: str) -> dict[str, float]:
    """Return the few figures that say how a stage stands: its step and metrics, or the counts of its data."""
    info = run.stages[stage]
    last = last_metrics(run, stage)
    names = ["step", *_HEADLINES.get(info.kind, ())]
    figures = {name: last[name] for name in names if name in last}
    directory = RunDirectory(run.path).stage(stage)
    for file in (directory.sampling, directory.demonstrations, directory.preferences):
        counts = read_table(file) if file.is_file() else {}
        figures |= {
            name: counts[name] for name in _COUNTS if isinstance(counts.get(name), int | float)
        }
    return figures


def example_rollouts(
    run: Run,
    stage: str,
    count: int,
    *,
    step: int | None = None,
    checkpoint: str | None = None,
) -> list[dict[str, Any]]:
    """Return one rollout of each of the first `count` problems that a stage kept, of its last step unless another is given.

    Of an evaluate stage those of one checkpoint, the last unless another is given. Raises ConfigError for a step or checkpoint
    without rollouts.
    """
    rows: Sequence[Mapping[str, Any]] = run.rollouts(stage, frame=False)
    for column, requested in (("step", step), ("checkpoint", checkpoint)):
        values = list(dict.fromkeys(row[column] for row in rows if row[column] not in (None, "")))
        if requested is not None and requested not in values:
            names = [str(value) for value in values]
            raise ConfigError(
                f"{stage} kept no rollouts of {column} {requested}{nearest(str(requested), names)}; it has those of "
                f"{', '.join(names) or 'none'}"
            )
        # The last in the order of the files, whose names sort by step.
        selected = requested if requested is not None else values[-1] if values else None
        rows = [row for row in rows if selected is None or row[column] == selected]
    # A question may come again in a later file; a problem's samples follow one another.
    first_of: dict[str, dict[str, Any]] = {}
    for row in rows:
        first_of.setdefault(row["problem"], dict(row))
    return list(first_of.values())[:count]


def stage_with_rollouts(run: Run, checkpoint: str) -> tuple[str, str | None] | None:
    """Return the last evaluate stage that kept rollouts of a checkpoint, with its name; else the stage itself, if it kept any."""
    for name, info in reversed(list(run.stages.items())):
        files = RunDirectory(run.path).stage(name).rollout_files()
        if info.kind == "evaluate" and checkpoint in info.settings.get("checkpoints", ()):
            rows = (row for file in files for row in read_rollouts(file, ["checkpoint"]))
            if any(row["checkpoint"] == checkpoint for row in rows):
                return name, checkpoint
    stage_files = RunDirectory(run.path).stage(checkpoint).rollout_files()
    return (checkpoint, None) if checkpoint in run.stages and stage_files else None
