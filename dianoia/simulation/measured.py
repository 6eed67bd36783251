"""Lengths and times of a finished rl stage, and the rates that they show. No torch.

In: the directory of a stage: its rollouts and `metrics.jsonl`. Out: lengths of groups, times per rollout, and the factors by
which sampling, judging and updating took longer than predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray

from dianoia.base.errors import ConfigError
from dianoia.simulation.lengths import LogNormal, Observed, fit
from dianoia.simulation.prediction import RolloutTimes
from dianoia.storage.journal import read_journal


@dataclass(frozen=True, slots=True)
class MeasuredRollout:
    """Seconds of a rollout, from a row of metrics."""

    mean_length: float
    """Tokens of a response."""
    sampling: float
    judging: float
    updating: float
    """Of all steps that learnt from it."""

    @property
    def total(self) -> float:
        """Seconds of all three; the held-out curve and states are left out."""
        return self.sampling + self.judging + self.updating


def observed_lengths(stage: Path) -> Observed:
    """Return the lengths of the groups that a stage has kept.

    Raises:
        ConfigError: it has kept none.
    """
    groups: list[NDArray[np.int64]] = []
    for file in sorted((stage / "rollouts").glob("*.parquet")):
        table = pq.read_table(file, columns=["problem", "tokens"])
        problems, tokens = (np.asarray(table[name].to_pylist()) for name in ("problem", "tokens"))
        # By problem within a file: each file is one rollout, in which a problem stands once.
        groups += [tokens[problems == problem].astype(np.int64) for problem in np.unique(problems)]
    if not groups:
        raise ConfigError(
            f"--lengths {stage}: it has no rollouts/*.parquet, from which the lengths of responses would come; name the "
            "directory of an rl stage that has run, such as runs/miniature-zero/stages/zero"
        )
    return Observed(groups)


def fitted_lengths(stage: Path, limit: int) -> LogNormal:
    """Return the log-normal distribution of the lengths that a stage has kept."""
    return fit(observed_lengths(stage).groups, limit)


def measured_rollouts(stage: Path) -> list[MeasuredRollout]:
    """Return the times of each rollout of an rl stage; the first one, which warms up, is left out.

    Raises:
        ConfigError: there are no metrics, or fewer than two rollouts.
        DamagedFile: a line of the metrics is damaged.
    """
    file = stage / "metrics.jsonl"
    if not file.is_file():
        raise ConfigError(
            f"--measured {stage}: there is no metrics.jsonl, from which times would come; name the directory of an rl "
            "stage that has run, such as runs/miniature-zero/stages/zero"
        )
    rollouts: list[MeasuredRollout] = []
    # As a journal: a stage that was killed, or that is at work, may have left a part of a line.
    for row in read_journal(file):
        if "generate_seconds" in row:
            times = (row[f"{verb}_seconds"] for verb in ("generate", "score", "update"))
            rollouts.append(MeasuredRollout(row["completions/mean_length"], *times))
        elif rollouts and "update_seconds" in row:  # a further minibatch of the same rollout
            last = rollouts[-1]
            rollouts[-1] = MeasuredRollout(
                last.mean_length,
                last.sampling,
                last.judging,
                last.updating + row["update_seconds"],
            )
    if len(rollouts) < 2:
        raise ConfigError(
            f"--measured {stage}: its metrics have {len(rollouts)} rollouts, and the first one only warms up; name a stage "
            "with more"
        )
    return rollouts[1:]


@dataclass(frozen=True, slots=True)
class Factors:
    """How many times as long each part takes as predicted."""

    sampling: float
    judging: float
    updating: float


def factors(measured: Sequence[MeasuredRollout], predicted: Sequence[RolloutTimes]) -> Factors:
    """Return the factors that make the predicted sums equal the measured ones."""
    # Of sums and not means of ratios: a short rollout would count as much as a long one.
    return Factors(
        sum(m.sampling for m in measured) / sum(p.sampling for p in predicted),
        sum(m.judging for m in measured) / sum(p.judging for p in predicted),
        sum(m.updating for m in measured) / sum(p.updating for p in predicted),
    )
