"""What an evaluation has measured, read from its run directory: estimates, and the difference of two models.

In: the rollouts that an `evaluate` stage has written, all of them. Out: `Scores` with the grades, votes and lengths of every
problem, and estimates over them. Not here: how an answer is graded or votes are counted (`metrics`), and text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

from dianoia.algo.estimates import (
    Estimate,
    cons_at_k,
    estimate,
    estimate_unbounded,
    majority_P,
    mean_pass_at_k,
    paired_difference,
    pass_at_1,
)
from dianoia.base.errors import DamagedFile
from dianoia.base.records import RolloutStatus

_COLUMNS = ("problem", "domain", "accuracy", "vote", "status", "tokens")


@dataclass(frozen=True, slots=True)
class Scores:
    """One model on one set of problems, in the order of the problems."""

    problems: tuple[str, ...]
    """Ids."""
    domains: tuple[str, ...]
    grades_PG: tuple[tuple[float, ...], ...]
    votes_PG: tuple[tuple[int | None, ...], ...]
    finished_P: tuple[float, ...]
    truncated_P: tuple[float, ...]
    tokens_P: tuple[float, ...]

    @property
    def samples(self) -> int:
        """Samples per problem."""
        return len(self.grades_PG[0])

    def estimates(self) -> dict[str, Estimate]:
        """Return pass@1, cons@k, pass@k for powers of two and for all samples, and how the samples ended."""
        k = self.samples
        powers = [2**n for n in range(1, k.bit_length()) if 2**n < k]
        pass_at_powers = {
            f"pass@{power}": mean_pass_at_k(self.grades_PG, power) for power in powers
        }
        several = {
            f"cons@{k}": cons_at_k(self.grades_PG, self.votes_PG),
            **pass_at_powers,
            f"pass@{k}": mean_pass_at_k(self.grades_PG, k),
        }
        return {
            "pass@1": pass_at_1(self.grades_PG),
            **(several if k > 1 else {}),
            "format": estimate(self.finished_P),
            "truncated": estimate(self.truncated_P),
            "tokens": estimate_unbounded(self.tokens_P),
        }

    def by_domain(self) -> Mapping[str, "Scores"]:
        """Split by the domain of the problems, in order of first appearance."""
        return {
            domain: self._part([n for n, other in enumerate(self.domains) if other == domain])
            for domain in dict.fromkeys(self.domains)
        }

    def _part(self, numbers: Sequence[int]) -> "Scores":
        return Scores(
            tuple(self.problems[n] for n in numbers),
            tuple(self.domains[n] for n in numbers),
            tuple(self.grades_PG[n] for n in numbers),
            tuple(self.votes_PG[n] for n in numbers),
            tuple(self.finished_P[n] for n in numbers),
            tuple(self.truncated_P[n] for n in numbers),
            tuple(self.tokens_P[n] for n in numbers),
        )


def read_scores(path: Path) -> Scores:
    """Return the scores in a file of rollouts. Raises DamagedFile for one that is empty or cannot be read."""
    try:
        rows = pq.read_table(path, columns=list(_COLUMNS)).to_pylist()
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise DamagedFile(
            f"{path}: the rollouts cannot be read ({error}); evaluate again with another --out"
        ) from error
    # By id, in the order of the file: dictionaries keep the order in which problems first came.
    groups: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        groups.setdefault(row["problem"], []).append(row)
    if not groups:
        raise DamagedFile(f"{path}: it holds no rollouts; evaluate again with another --out")
    members = list(groups.values())
    return Scores(
        tuple(groups),
        tuple(str(rows_G[0]["domain"]) for rows_G in members),
        tuple(tuple(_number(row["accuracy"]) for row in rows_G) for rows_G in members),
        tuple(tuple(_vote(row["vote"]) for row in rows_G) for rows_G in members),
        tuple(_share(rows_G, RolloutStatus.FINISHED) for rows_G in members),
        tuple(_share(rows_G, RolloutStatus.TRUNCATED) for rows_G in members),
        tuple(fmean(_number(row["tokens"]) for row in rows_G) for rows_G in members),
    )


def differences(model: Scores, other: Scores) -> dict[str, Estimate]:
    """Return pass@1 and cons@k of a model less those of another one, problem by problem, over problems that both have."""
    mine = {problem: n for n, problem in enumerate(model.problems)}
    pairs = [(mine[problem], n) for n, problem in enumerate(other.problems) if problem in mine]
    # Means per problem first: samples of one problem are not independent, so the interval counts problems.
    means = [[fmean(grades_G) for grades_G in scores.grades_PG] for scores in (model, other)]
    estimates = {"pass@1": _paired(means[0], means[1], pairs)}
    # A majority of 4 and one of 64 are different measures, so only equal numbers are compared.
    if model.samples == other.samples > 1:
        votes = [majority_P(scores.grades_PG, scores.votes_PG) for scores in (model, other)]
        estimates[f"cons@{model.samples}"] = _paired(votes[0], votes[1], pairs)
    return estimates


def _paired(
    a_P: Sequence[float], b_P: Sequence[float], pairs: Sequence[tuple[int, int]]
) -> Estimate:
    # Paired: both models met the same problems, so that the problems' own difficulty cancels out.
    return paired_difference([a_P[a] for a, _ in pairs], [b_P[b] for _, b in pairs])


def _number(value: object) -> float:
    # An unreadable gold answer has no grade, and counts as wrong everywhere.
    return float(value) if isinstance(value, int | float) else 0.0


def _vote(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _share(rows_G: Sequence[Mapping[str, object]], status: RolloutStatus) -> float:
    return fmean(row["status"] == status.value for row in rows_G)
