"""Scores of an evaluation with their uncertainty: pass@1, pass@k, cons@k, and differences of two models.

In: for every problem, how each of its k samples was graded (1 right, 0 wrong) and the class of its answer.
Out: an `Estimate`, a mean over problems with a 95 % interval. Left out: sampling and grading.

Shapes: `_P` problems, `_G` samples per problem.

The interval answers "what if other problems of this kind had been drawn". A problem's samples are
averaged first, since they are not independent of one another; what their sampling adds to the
spread of the problems is then part of it. Two problems valued 1 and two valued 0 are added before
the Student t interval is taken. For values of 0 and 1 that is the adjusted Wald interval of Agresti
and Coull (1998, The American Statistician 52), and it keeps a perfect score from claiming [1, 1]:
30 problems out of 30 give [0.86, 1]. It is conservative: narrow spreads and few problems get a
wider interval.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, section D.1) is silent:
1. A problem with few samples weighs as much as one with many.
2. cons@k: malformed and truncated samples do not vote. Tied answers share the vote: the value is
   the mean over them, the expectation of a fair draw. A problem without a vote is wrong.
3. Votes are classes of answers (`metrics.votes`). Where a class holds answers that were graded differently,
   their mean grade counts.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

_Z = 1.959963984540054  # standard normal quantile of 0.975
_PSEUDO = 2  # problems added on either side

Votes = Sequence[Sequence[Hashable | None]]
"""Class of every sample's answer, per problem: equal for answers that mean the same, None for no vote."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over problems."""

    value: float
    low: float
    high: float
    """`low` and `high` bound the 95 % interval; `low <= value <= high` always."""
    n: int
    """Number of problems."""


def pass_at_1(correct_PG: Sequence[Sequence[float]]) -> Estimate:
    """Return the mean over problems of the share of right samples (section D.1).

    Raises ValueError without problems, or for a problem without samples.
    """
    return estimate([_mean(correct_G) for correct_G in correct_PG])


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return the probability that k samples, drawn from n of which c are right, hold a right one.

    1 - C(n-c, k) / C(n, k), unbiased over the drawing of the n (Chen et al., arXiv 2107.03374), as
    a product so that no binomial overflows. Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(
            f"pass@{k} of {c} right out of {n}: it needs 0 <= right <= samples and "
            "1 <= k <= samples; draw more samples per problem or lower k"
        )
    if n - c < k:  # fewer wrong samples than k: one of any k is right
        return 1.0
    # C(n - c, k) / C(n, k) is the product of (i - k) / i over i from n - c + 1 to n.
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def mean_pass_at_k(correct_PG: Sequence[Sequence[float]], k: int) -> Estimate:
    """Return the mean over problems of `pass_at_k`; a sample is right when its grade is 1.

    Raises ValueError without problems, or for a problem with fewer than k samples.
    """
    return estimate(
        [
            pass_at_k(len(correct_G), sum(grade == 1.0 for grade in correct_G), k)
            for correct_G in correct_PG
        ]
    )


def cons_at_k(correct_PG: Sequence[Sequence[float]], votes_PG: Votes) -> Estimate:
    """Return the mean over problems of the majority answer's grade; decisions 2 and 3 above."""
    return estimate(majority_P(correct_PG, votes_PG))


def vote_gain(correct_PG: Sequence[Sequence[float]], votes_PG: Votes) -> Estimate:
    """Return cons@k minus pass@1, paired: for each problem, the majority's grade less the mean grade.

    Both come from the same samples, so that the interval of their difference is far narrower than two
    intervals suggest. It lies in [-1, 1].
    """
    gains_P = [
        majority - _mean(correct_G)
        for correct_G, majority in zip(correct_PG, majority_P(correct_PG, votes_PG), strict=True)
    ]
    return estimate_within(gains_P, -1.0, 1.0)


def majority_P(correct_PG: Sequence[Sequence[float]], votes_PG: Votes) -> list[float]:
    """Return the grade of each problem's majority answer: the values of which `cons_at_k` is the mean."""
    return [
        _majority(correct_G, votes_G)
        for correct_G, votes_G in zip(correct_PG, votes_PG, strict=True)
    ]


def paired_difference(a_P: Sequence[float], b_P: Sequence[float]) -> Estimate:
    """Return the mean of a - b over problems that both were measured on, each value in [0, 1].

    What makes a problem hard for both cancels out, so that the interval is narrower than two separate ones suggest. Half
    a problem is added to each of won, lost, both right and both wrong before the Student t interval is taken. For
    values of 0 and 1 that is the interval of Agresti and Min (2005, Statistics in Medicine 24) for matched pairs, and it
    keeps two models of the same answers from claiming [0, 0]. Raises ValueError without problems, for other numbers of
    them, and for a value outside [0, 1].
    """
    for value in (*a_P, *b_P):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"value {value!r} of a problem is not in [0, 1]; grades are 0 to 1")
    differences = [a - b for a, b in zip(a_P, b_P, strict=True)]
    mean, n = _mean(differences), len(differences)
    # Won and lost cancel out, and the two halves of no difference count in the number of problems alone.
    total = n + 2
    center = math.fsum(differences) / total
    squares = math.fsum([*((d - center) ** 2 for d in differences), 0.5 * (1 - center) ** 2,
                         0.5 * (1 + center) ** 2, center**2])  # fmt: skip
    radius = _student_t(total - 1) * math.sqrt(squares / (total - 1) / total)
    # The value is the plain mean, which a center nearer to 0 must not leave outside.
    low, high = min(mean, center - radius), max(mean, center + radius)
    return Estimate(mean, max(-1.0, low), min(1.0, high), n)


def paired_correlation(
    a_P: Sequence[float | None], b_P: Sequence[float | None], *, shares: bool
) -> float:
    """Return the correlation of the means of a and of b over the same problems, from -1 to 1; 0 where either does not vary.

    None: the problem is left out of that mean, as one without a thought is; such a mean is a ratio of two sums, to whose
    linearisation the problem adds 0 (Cochran 1977, Sampling Techniques, section 6.3). `shares`: the values are in [0, 1],
    and half a problem is added in each of the four corners, as in `paired_difference`, so that few problems with equal
    values do not make two means one. Raises ValueError for other numbers of problems.
    """
    weights = [1.0] * len(a_P) + ([0.5] * 4 if shares else [])
    a_deviations = _deviations([*a_P, 1.0, 1.0, 0.0, 0.0] if shares else a_P, weights)
    b_deviations = _deviations([*b_P, 1.0, 0.0, 1.0, 0.0] if shares else b_P, weights)
    together, a_alone, b_alone = (
        math.fsum(w * x * y for w, x, y in zip(weights, first, second, strict=True))
        for first, second in (
            (a_deviations, b_deviations),
            (a_deviations, a_deviations),
            (b_deviations, b_deviations),
        )
    )
    size = math.sqrt(a_alone) * math.sqrt(b_alone)
    return max(-1.0, min(1.0, together / size)) if size else 0.0


def _deviations(values: Sequence[float | None], weights: Sequence[float]) -> list[float]:
    """Return the values less their weighted mean; 0 for those that are left out of it."""
    pairs = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    total = math.fsum(w for _, w in pairs)
    mean = math.fsum(v * w for v, w in pairs) / total if pairs else 0.0
    return [0.0 if value is None else value - mean for value in values]


def _majority(correct_G: Sequence[float], votes_G: Sequence[Hashable | None]) -> float:
    """Return the grade of a problem's majority answer; 0 without a vote."""
    grades: defaultdict[Hashable, list[float]] = defaultdict(list)
    for grade, vote in zip(correct_G, votes_G, strict=True):
        if vote is not None:
            grades[vote].append(grade)
    if not grades:
        return 0.0
    most = max(len(votes) for votes in grades.values())
    # Tied classes share the vote; a class may hold answers that were graded differently.
    return _mean([_mean(votes) for votes in grades.values() if len(votes) == most])


def estimate(values_P: Sequence[float]) -> Estimate:
    """Return the mean of one value per problem, each in [0, 1], with the interval described above.

    Raises ValueError without values or for one outside [0, 1].
    """
    for value in values_P:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"value {value!r} of a problem is not in [0, 1]; grades are 0 to 1")
    mean = _mean(values_P)
    # The value is the plain mean; the interval is of the values with the pseudo-problems.
    padded = [*values_P, *[0.0, 1.0] * _PSEUDO]
    center = _mean(padded)
    freedom = len(padded) - 1
    variance = math.fsum((value - center) ** 2 for value in padded) / freedom
    radius = _student_t(freedom) * math.sqrt(variance / len(padded))
    # Around the center of the padded values, not around the mean.
    low, high = max(0.0, center - radius), min(1.0, center + radius)
    return Estimate(mean, low, high, len(values_P))


def estimate_unbounded(values_P: Sequence[float]) -> Estimate:
    """Return the mean of one value per problem of any size (lengths, counts), with Student's t interval.

    One problem has no spread to judge by, so its interval is the value itself. Raises ValueError
    without values.
    """
    mean, n = _mean(values_P), len(values_P)
    if n == 1:
        return Estimate(mean, mean, mean, 1)
    # Divided by n - 1: the problems are a sample of those that could have been drawn.
    variance = math.fsum((value - mean) ** 2 for value in values_P) / (n - 1)
    radius = _student_t(n - 1) * math.sqrt(variance / n)
    return Estimate(mean, mean - radius, mean + radius, n)


def estimate_within(values_P: Sequence[float], lowest: float, highest: float) -> Estimate:
    """Return `estimate_unbounded` of values in [`lowest`, `highest`], with an interval that stays there too.

    For shares that are not graded right and wrong, such as the words in a language: their spread is their own, so no
    problem is added. Raises ValueError without values or for one outside the bounds.
    """
    for value in values_P:
        if not lowest <= value <= highest:
            raise ValueError(f"value {value!r} of a problem is not in [{lowest:g}, {highest:g}]")
    mean = estimate_unbounded(values_P)
    low, high = max(lowest, mean.low), min(highest, mean.high)
    return Estimate(mean.value, low, high, mean.n)


def _mean(values: Sequence[float]) -> float:
    if not values:
        raise ValueError(
            "no values to average; an evaluation needs problems, and samples per problem"
        )
    return math.fsum(values) / len(values)


def _student_t(freedom: int) -> float:
    """Return quantile 0.975 of Student's t by its expansion in 1/freedom; within 0.3 % from 4 on.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z, v = _Z, float(freedom)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
