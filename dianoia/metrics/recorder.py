"""Writes down what an RL stage does: metrics, diagnoses, rollouts to read, the held-out curve."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from dianoia.base.disk_space import retry_when_full
from dianoia.base.records import Group, Problem, SamplingParams
from dianoia.base.streams import Stream, stream_key
from dianoia.config import ProgressSettings
from dianoia.judge.diagnosis import Diagnosis
from dianoia.judge.hacking import Point
from dianoia.judge.judge import Judge, evaluation_judge
from dianoia.judge.problem_sets import ProblemSet
from dianoia.judge.verification import count_verdicts
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


class Recorder:
    """Gathers one row of metrics an optimizer step and keeps the evidence around it."""

    def __init__(
        self,
        context: Context,
        roller: Roller,
        settings: ProgressSettings,
        watch: Watch | None = None,
        weights: Weights | None = None,
        judge: Judge | None = None,
        heldout_judge: Judge | None = None,
    ) -> None:
        """Write into the stage's folder of `context`.

        `weights` of the parts of the reward are given where reward models take part, as `rollout_row` asks. `judge` has
        these models; `heldout_judge` scores held-out rollouts for accuracy and format.
        """
        self.context, self.roller, self.settings = context, roller, settings
        self.watch, self.weights = watch or Watch(), weights
        self.judge, self.heldout_judge = judge, heldout_judge or evaluation_judge()
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

    def rollout(
        self, step: int, groups: Sequence[Group], figures: Mapping[str, float] | None = None
    ) -> None:
        """Metrics and diagnosis of everything that was drawn for a rollout; `figures` are further metrics."""
        row = rollout_row(groups, self.roller.count_tokens, self.weights) | dict(figures or {})
        row |= verdict_row(count_verdicts((g.problem, s.verdict) for g in groups for s in g.scores))
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
        general: Sequence[ProblemSet] = (),
    ) -> None:
        """A point of the held-out curves into the row in hand; of every general set one too."""
        key, k = stream_key(self.context.seed, Stream.HELDOUT_CURVE), self.settings.samples
        with self.spending("evaluate_seconds"):
            groups = self.heldout_judge.score_rollouts(self.roller(problems, k, params, key))
            found = measures(groups, self.roller.count_tokens)
            learned = {one.purpose.value: self._learned(one, params, key) for one in general}
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
        self, prompts: ProblemSet, params: SamplingParams, key: tuple[int, ...]
    ) -> list[float] | None:
        """A reward model's mean score of each held-out prompt of its set."""
        assert self.judge is not None, "a stage with general prompts has a judge with their models"
        problems = prompts.source.heldout(self.settings.problems)
        key = (*key, prompts.stream.value)
        rollouts_PG = self.roller(problems, self.settings.samples, params, key)
        return self.judge.mean_scores(prompts.purpose, rollouts_PG)

    def write(self, step: int, row: Row) -> None:
        """One line of metrics; what is about the rollout goes with its first step."""
        row = {"step": step, **self.row, **row}
        self.metrics.append(row)
        figures = {short: row.get(name) for short, name in _SHOWN.items()}
        self.context.progress.update(
            step, {k: v for k, v in figures.items() if isinstance(v, float | int)}
        )
        self.row = {}
