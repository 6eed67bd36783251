"""What a person looks at first in a run: the last metrics of each stage, and a few rollouts.

In: a `Run`. Out: plain values. Not here: printing (`cli.show`), and the report, which shows everything.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.files import read_table
from dianoia.results.run_results import Run
from dianoia.storage.run_directory import RunDirectory

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
        if info.kind == "evaluate" and files and checkpoint in info.settings.get("checkpoints", ()):
            checkpoints = {row["checkpoint"] for row in run.rollouts(name, frame=False)}
            if checkpoint in checkpoints:
                return name, checkpoint
    stage_files = RunDirectory(run.path).stage(checkpoint).rollout_files()
    return (checkpoint, None) if checkpoint in run.stages and stage_files else None
