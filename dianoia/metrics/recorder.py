"""Writes down what an RL stage does: metrics, diagnoses, rollouts to read, the held-out curve."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from dianoia.base.disk_space import retry_when_full
from dianoia.base.records import Group, Problem, Rollout, SamplingParams
from dianoia.base.streams import Stream, stream_key
from dianoia.config import ProgressSettings
from dianoia.judge.diagnosis import Diagnosis
from dianoia.judge.hacking import Point
from dianoia.judge.judge import evaluation_rubric, judge
from dianoia.judge.problem_sets import Scenario
from dianoia.judge.verdict_counts import counted
from dianoia.metrics.group_metrics import measures, right_PG
from dianoia.metrics.history import Watch
from dianoia.metrics.training_metrics import Row, Weights, rollout_row, verdict_row
from dianoia.sampler.rollouts import Roller
from dianoia.storage.context import Context
from dianoia.storage.rollout_table import write_rollouts
from dianoia.storage.run_directory import Journal

_SHOWN = {
    "accuracy": "rewards/accuracy/mean",
    "format": "rewards/format/mean",
    "thought": "thought_tokens",
    "held-out": "heldout/pass@1",
}
_CURVE = ("pass@1", "baseline", "one_answer", "thought_tokens", "reflection")
"""Metrics of the held-out curve, beside the majority vote."""
Grader = Callable[[Sequence[Sequence[Rollout]]], list[Group]]
"""Scores rollouts for accuracy and format."""


def _graded(rollouts_PG: Sequence[Sequence[Rollout]]) -> list[Group]:
    return judge(evaluation_rubric(), rollouts_PG)


class Recorder:
    """Gathers one row of metrics an optimizer step and keeps the evidence around it."""

    def __init__(
        self,
        context: Context,
        roller: Roller,
        settings: ProgressSettings,
        watch: Watch | None = None,
        weights: Weights | None = None,
        grade: Grader = _graded,
    ) -> None:
        """`weights` of the parts of the reward are given where reward models take part, as `rollout_row` asks.

        `grade` scores held-out rollouts for accuracy and format.
        """
        self.context, self.roller, self.settings = context, roller, settings
        self.watch, self.weights, self.grade = watch or Watch(), weights, grade
        self.row: Row = {}

    def open(self, step: int, state: Mapping[str, Any] | None = None) -> None:
        """Begin at `step` with what `state()` gave there; rows of later steps are dropped."""
        if state is not None:
            self.watch.load_state(state)
        # Row s describes the update that led to step s; a diagnosis at s precedes that update.
        self.metrics = Journal(self.context.directory.metrics, resume_at=step + 1 if step else 0)
        self.diagnoses = Journal(self.context.directory.diagnoses, resume_at=step)

    def state(self) -> dict[str, Any]:
        """What `open` needs to go on."""
        return self.watch.state()

    @contextmanager
    def spending(self, name: str) -> Iterator[None]:
        """Adds the block's seconds to a phase of the row in hand."""
        start = time.perf_counter()
        yield
        self.row[name] = float(self.row.get(name) or 0.0) + time.perf_counter() - start

    @contextmanager
    def judging(self, problems: Sequence[Problem]) -> Iterator[None]:
        """Counts the verdicts on the answers that the block judges, if any of its problems has such."""
        with counted(problems) as found:
            yield
        for name, count in verdict_row(found).items():
            self.row[name] = int(self.row.get(name) or 0) + int(count or 0)

    def rollout(
        self, step: int, groups: Sequence[Group], figures: Mapping[str, float] | None = None
    ) -> None:
        """Metrics and diagnosis of everything that was drawn for a rollout; `figures` are further metrics."""
        row = rollout_row(groups, self.roller.count_tokens, self.weights) | dict(figures or {})
        tokens = row["thought_tokens"]
        assert tokens is None or isinstance(tokens, float), "a mean"
        self.row |= row
        self.tell(step, self.watch.rollout(step, groups, tokens))

    def tell(self, step: int, diagnoses: Sequence[Diagnosis]) -> None:
        """Say and write down diagnoses of what came before the update that follows `step`."""
        for found in diagnoses:
            self.context.progress.print_line(
                f"{self.context.name}: {found.code}: {found.message}. {found.advice}"
            )
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
        kept = [tuple(advantages_G) for advantages_G in advantages_PG]
        retry_when_full(lambda: write_rollouts(path, groups, step=step, advantages_PG=kept), path)
        return path

    def curve(
        self,
        step: int,
        problems: Sequence[Problem],
        params: SamplingParams,
        general: Sequence[Scenario] = (),
    ) -> None:
        """A point of the held-out curves into the row in hand; of every general set one too."""
        key, k = stream_key(self.context.seed, Stream.HELDOUT_CURVE), self.settings.samples
        with self.spending("evaluate_seconds"):
            groups = self.grade(self.roller(problems, k, params, key))
            found = measures(groups, self.roller.count_tokens)
            learned = {one.name: self._learned(one, params, key) for one in general}
        for name in (*_CURVE, f"cons@{k}"):
            if name in found:
                self.row[f"heldout/{name}"] = found[name].value
        for name, values_P in learned.items():
            self.row[f"heldout/rewards/{name}/mean"] = fmean(values_P) if values_P else None
        if general:
            accuracy_P = tuple(map(fmean, right_PG(groups)))
            known = {name: tuple(values_P) for name, values_P in learned.items() if values_P}
            # Its row is that of the update before, and so is its diagnosis: going on keeps both.
            self.tell(step - 1, self.watch.point(Point(step, accuracy_P, known)))

    def _learned(
        self, scenario: Scenario, params: SamplingParams, key: tuple[int, ...]
    ) -> list[float] | None:
        """A reward model's mean score of each held-out prompt of its set."""
        assert scenario.preferred is not None, "a general set has a model"
        prompts = scenario.source.heldout(self.settings.problems)
        key = (*key, scenario.stream.value)
        return scenario.preferred.measure(self.roller(prompts, self.settings.samples, params, key))

    def write(self, step: int, row: Row) -> None:
        """One line of metrics; what is about the rollout goes with its first step."""
        row = {"step": step, **self.row, **row}
        self.metrics.append(row)
        figures = {short: row.get(name) for short, name in _SHOWN.items()}
        self.context.progress.update(
            step, {k: v for k, v in figures.items() if isinstance(v, float | int)}
        )
        self.row = {}
