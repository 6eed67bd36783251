"""Writes down what an RL stage does: metrics, diagnoses, rollouts to read, the held-out curve."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dianoia.base.config import ProgressSettings
from dianoia.base.records import Group, Problem, SamplingParams
from dianoia.base.run import Journal
from dianoia.rewards.diagnosis import diagnose
from dianoia.rewards.summary import BatchSummary, summarize
from dianoia.roles.curve import Row, rollout_row
from dianoia.roles.judge import evaluation_rubric, judge
from dianoia.roles.measure import measures
from dianoia.roles.rollout import Roller
from dianoia.runtime.context import Context
from dianoia.runtime.tables import write_rollouts

_CURVE_KEY = 104_729
"""Keeps the held-out curve's random draws apart from those of training."""
_HISTORY = 64
"""Batches that the diagnosis looks back on."""
_SHOWN = {
    "accuracy": "rewards/accuracy/mean",
    "format": "rewards/format/mean",
    "thought": "thought_tokens",
    "held-out": "heldout/pass@1",
}


class Recorder:
    """Gathers one row of metrics an optimizer step and keeps the evidence around it."""

    def __init__(
        self, context: Context, roller: Roller, settings: ProgressSettings, relative: bool = True
    ) -> None:
        """`relative`: whether a group of equal rewards teaches nothing, as `summarize` asks."""
        self.context, self.roller, self.settings = context, roller, settings
        self.relative = relative
        self.history: list[BatchSummary] = []
        self.row: Row = {}

    def open(self, step: int, history: Sequence[dict[str, Any]]) -> None:
        """Begin at `step` with the summaries of `state()`; rows of later steps are dropped."""
        self.history = [
            BatchSummary(**{**one, "unparseable_ids": tuple(one["unparseable_ids"])})
            for one in history
        ]
        # Row s describes the update that led to step s; a diagnosis at s precedes that update.
        self.metrics = Journal(self.context.directory.metrics, resume_at=step + 1 if step else 0)
        self.diagnoses = Journal(self.context.directory.diagnoses, resume_at=step)

    def state(self) -> list[dict[str, Any]]:
        """What `open` needs to go on."""
        return [asdict(summary) for summary in self.history]

    @contextmanager
    def spending(self, name: str) -> Iterator[None]:
        """Adds the block's seconds to a phase of the row in hand."""
        start = time.perf_counter()
        yield
        self.row[name] = float(self.row.get(name) or 0.0) + time.perf_counter() - start

    def rollout(self, step: int, groups: Sequence[Group]) -> None:
        """Metrics and diagnosis of everything that was drawn for a rollout."""
        row = rollout_row(groups, self.roller.count_tokens)
        tokens = row["thought_tokens"]
        assert tokens is None or isinstance(tokens, float), "a mean"
        self.row |= row
        summary = summarize(step, groups, tokens, self.relative)
        self.history = [*self.history, summary][-_HISTORY:]
        for found in diagnose(self.history):
            self.context.progress.say(f"{found.code}: {found.message} {found.advice}")
            self.diagnoses.append({"step": step, **asdict(found)})

    def keep(
        self,
        name: str,
        step: int,
        groups: Sequence[Group],
        advantages_PG: Sequence[Sequence[float]],
    ) -> Path:
        """Write the rollouts of a step and return where they are."""
        path = self.context.directory.rollouts(name)
        write_rollouts(path, groups, step=step, advantages_PG=advantages_PG)
        return path

    def curve(self, problems: Sequence[Problem], params: SamplingParams) -> None:
        """A point of the held-out curve into the row in hand."""
        key, k = (self.context.seed, _CURVE_KEY), self.settings.samples
        with self.spending("evaluate_seconds"):
            groups = judge(evaluation_rubric(), self.roller(problems, k, params, key))
            found = measures(groups, self.roller.count_tokens)
        for name in ("pass@1", f"cons@{k}", "thought_tokens", "reflection"):
            if name in found:
                self.row[f"heldout/{name}"] = found[name].value

    def write(self, step: int, row: Row) -> None:
        """One line of metrics; what is about the rollout goes with its first step."""
        row = {"step": step, **self.row, **row}
        self.metrics.append(row)
        figures = {short: row.get(name) for short, name in _SHOWN.items()}
        self.context.progress.show(
            step, {k: v for k, v in figures.items() if isinstance(v, float | int)}
        )
        self.row = {}
