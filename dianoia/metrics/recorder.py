"""The recorder of an RL stage: metrics, diagnoses, samples of rollouts, points of the held-out curve.

In: scored groups and optimizer steps as they happen. Out: `metrics.jsonl`, `diagnoses.jsonl`, Parquet files of rollouts in
the stage's folder. Not here: how a metric is computed (`metrics.training_metrics`, `metrics.group_metrics`).
"""

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
from dianoia.metrics.history import History
from dianoia.metrics.training_metrics import Row, Weights, rollout_row, verdict_row
from dianoia.sampler.rollouts import RolloutSampler
from dianoia.storage.rollout_table import write_rollouts
from dianoia.storage.stage_inputs import Context

_PROGRESS_METRICS = {
    "accuracy": "rewards/accuracy/mean",
    "format": "rewards/format/mean",
    "thought": "thought_tokens",
    "held-out": "heldout/pass@1",
}
_CURVE = ("pass@1", "baseline", "one_answer", "thought_tokens", "reflection")
"""Metrics of the held-out curve; the majority vote joins them."""


class Recorder:
    """Gathers one row of metrics per optimizer step. The row in hand is `row` until `write` writes it."""

    def __init__(
        self,
        context: Context,
        roller: RolloutSampler,
        settings: ProgressSettings,
        history: History | None = None,
        weights: Weights | None = None,
        judge: Judge | None = None,
        heldout_judge: Judge | None = None,
        with_versions: bool = False,
    ) -> None:
        """Write into the stage's folder of `context`.

        `weights` of the parts of the reward are given where reward models take part, as `rollout_row` asks. `judge` has
        these models; `heldout_judge` scores held-out rollouts for accuracy and format. `with_versions` records the weights that
        drew each rollout.
        """
        self.context, self.roller, self.settings = context, roller, settings
        self.history, self.weights = history or History(), weights
        self.judge, self.heldout_judge = judge, heldout_judge or evaluation_judge()
        self.with_versions = with_versions
        self.row: Row = {}

    def open(self, step: int, state: Mapping[str, Any] | None = None) -> None:
        """Open the files at `step`, with the `state()` of that step; rows of later steps are dropped."""
        if state is not None:
            self.history.load_state(state)
        # Row s describes the update that led to step s; a diagnosis at s precedes that update.
        # A resumed stage writes the rows after `step` again.
        folder = self.context.directory
        self.metrics = self.context.journal(folder.metrics, resume_at=step + 1 if step else 0)
        self.diagnoses = self.context.journal(folder.diagnoses, resume_at=step)

    def state(self) -> dict[str, Any]:
        """Return the state that `open` resumes from."""
        return self.history.state()

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes to a metric of the row in hand."""
        start = time.perf_counter()
        # No `finally`: a phase that fails ends the stage, and its row is never written.
        yield
        # Added up: under dynamic sampling a phase runs several times per rollout.
        self.row[name] = float(self.row.get(name) or 0.0) + time.perf_counter() - start

    def rollout(
        self, step: int, groups: Sequence[Group], figures: Mapping[str, float] | None = None
    ) -> None:
        """Add the metrics of everything that was drawn for a rollout, and diagnose it.

        `figures` are metrics that the judge gives.
        """
        row = rollout_row(groups, self.roller.count_tokens, self.weights) | dict(figures or {})
        # Verdicts of all groups drawn, those that dynamic sampling leaves out of the update too.
        row |= verdict_row(count_verdicts((g.problem, s.verdict) for g in groups for s in g.scores))
        tokens = row["thought_tokens"]
        assert tokens is None or isinstance(tokens, float), "a mean"
        self.row |= row
        self.report(step, self.history.rollout(step, groups, tokens))

    def report(self, step: int, diagnoses: Sequence[Diagnosis]) -> None:
        """Print and write diagnoses of the state before the update that follows `step`."""
        for diagnosis in diagnoses:
            self.context.progress.print_line(
                f"{self.context.name}: {diagnosis.code}: {diagnosis.message}. {diagnosis.advice}"
            )
            self.diagnoses.append({"step": step, **asdict(diagnosis)})

    def save_rollouts(
        self,
        name: str,
        step: int,
        groups: Sequence[Group],
        advantages_PG: Sequence[Sequence[float]],
    ) -> Path:
        """Write the rollouts of a step and return the path of the file."""
        path = self.context.directory.rollouts(name)
        # PPO has no advantages per group; its tuples are empty.
        advantages = [tuple(advantages_G) for advantages_G in advantages_PG]
        if self.context.writes:
            retry_when_full(
                lambda: write_rollouts(
                    path,
                    groups,
                    step=step,
                    advantages_PG=advantages,
                    with_versions=self.with_versions,
                ),
                path,
            )
        return path

    def curve(
        self,
        step: int,
        problems: Sequence[Problem],
        params: SamplingParams,
        general: Sequence[ProblemSet] = (),
    ) -> None:
        """Sample held-out problems and add a point of the held-out curve, and one of every general set, to the row in hand."""
        # Its own stream: the curve uses the same random numbers at every point, and none of training's.
        key, k = stream_key(self.context.seed, Stream.HELDOUT_CURVE), self.settings.samples
        with self.timing("evaluate_seconds"):
            groups = self.heldout_judge.score_rollouts(self.roller(problems, k, params, key))
            estimates = measures(groups, self.roller.count_tokens)
            scores = {
                prompts.purpose.value: self._mean_scores(prompts, params, key)
                for prompts in general
            }
        # A metric may be missing, such as thought lengths where no rollout has finished.
        for name in (*_CURVE, f"cons@{k}"):
            if name in estimates:
                self.row[f"heldout/{name}"] = estimates[name].value
        for name, values_P in scores.items():
            self.row[f"heldout/rewards/{name}/mean"] = fmean(values_P) if values_P else None
        # Hacking is looked for only where a reward model takes part.
        if general:
            accuracy_P = tuple(map(fmean, right_PG(groups)))
            learned = {name: tuple(values_P) for name, values_P in scores.items() if values_P}
            # The point is in the row of the update before it, and so is its diagnosis: a resumed stage keeps both.
            self.report(step - 1, self.history.point(Point(step, accuracy_P, learned)))

    def _mean_scores(
        self, prompts: ProblemSet, params: SamplingParams, key: tuple[int, ...]
    ) -> list[float] | None:
        """Return a reward model's mean score of each held-out prompt of its set."""
        assert self.judge is not None, "a stage with general prompts has a judge with their models"
        problems = prompts.source.heldout(self.settings.problems)
        # Longer than the key of the problems with verifiers, so that no two sets share random numbers.
        key = (*key, prompts.stream.value)
        rollouts_PG = self.roller(problems, self.settings.samples, params, key)
        return self.judge.mean_scores(prompts.purpose, rollouts_PG)

    def write(self, step: int, row: Row) -> None:
        """Write the row in hand with `row` on top; metrics of the rollout are so in the row of its first step."""
        row = {"step": step, **self.row, **row}
        self.metrics.append(row)
        # The progress line shows a few metrics under short names.
        figures = {short: row.get(name) for short, name in _PROGRESS_METRICS.items()}
        self.context.progress.update(
            step, {k: v for k, v in figures.items() if isinstance(v, float | int)}
        )
        # Filled by `timing`, `rollout` and `curve`, until `write` empties it.
        self.row = {}
