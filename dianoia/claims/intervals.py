"""Intervals of differences, means and ratios, from the intervals of their parts.

In: values with 95 % intervals, and for ratios how far the two are correlated. Out: the same of a combination, by the method
of variance estimates recovery (MOVER; Newcombe 1998; Zou and Donner 2008, Statistics in Medicine 27): the distance from a
value to its own bound takes the place of its standard error on that side. Distances of independent parts add as squares;
of two correlated parts twice the correlation times their product is taken off, since what two checkpoints share on the same
problems cancels out (Newcombe 1998, Statistics in Medicine 17, paired data). Ratios are taken on the logarithmic scale. Not
here: the paired interval of a difference of shares (`algo.estimates.paired_difference`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol


class Bounded(Protocol):
    """A value with a lower and an upper bound."""

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float
    """Infinite for a ratio whose denominator may be 0."""


def difference(a: Bounded, b: Bounded) -> Interval:
    """Return a - b."""
    value = a.value - b.value
    # The difference is smallest if a is at its lower and b at its upper bound.
    down = math.hypot(a.value - a.low, b.high - b.value)
    up = math.hypot(a.high - a.value, b.value - b.low)
    return Interval(value, value - down, value + up)


def mean(parts: Sequence[Bounded]) -> Interval:
    """Return the mean of values with equal weights."""
    n = len(parts)
    value = math.fsum(part.value for part in parts) / n
    # Variances of independent parts add, and the mean divides by n.
    down = math.hypot(*(part.value - part.low for part in parts)) / n
    up = math.hypot(*(part.high - part.value for part in parts)) / n
    return Interval(value, value - down, value + up)


def ratio(a: Bounded, b: Bounded, correlation: float = 0.0) -> Interval:
    """Return a / b; neither may be negative. Raises ZeroDivisionError if b is 0."""
    value = a.value / b.value
    # The logarithm of 0 does not exist; only an upper bound can be given.
    if a.value == 0:
        return Interval(0.0, 0.0, _divide(a.high, b.low))
    down = _distance(_log(a.value, a.low), _log(b.high, b.value), correlation)
    up = _distance(_log(a.high, a.value), _log(b.value, b.low), correlation)
    return Interval(value, value * math.exp(-down), _times_exp(value, up))


def _distance(x: float, y: float, correlation: float) -> float:
    """Return the distance that those of two parts make, such as the third side of a triangle."""
    if math.isinf(x) or math.isinf(y):
        return math.inf
    # Never negative but for rounding.
    return math.sqrt(max(0.0, x * x + y * y - 2 * correlation * x * y))


def _log(high: float, low: float) -> float:
    """Return log(high / low); infinite unless `low` is positive."""
    return math.log(high / low) if low > 0 else math.inf


def _divide(a: float, b: float) -> float:
    return a / b if b > 0 else math.inf


def _times_exp(value: float, logarithm: float) -> float:
    # exp overflows above about 709
    return math.inf if logarithm > 700 else value * math.exp(logarithm)


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return Spearman's coefficient: Pearson's of the ranks, with ties at their mean rank; 0 if all are tied."""
    a, b = _centred(xs), _centred(ys)
    size = math.hypot(*a) * math.hypot(*b)
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / size if size else 0.0


def _centred(values: Sequence[float]) -> list[float]:
    """Return the ranks of the values minus their mean."""
    # Indices of the values from small to large; equal values are neighbours.
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks, first = [0.0] * len(values), 0
    for _, group in groupby(order, key=values.__getitem__):
        tied = list(group)
        for index in tied:
            ranks[index] = first + (len(tied) - 1) / 2
        first += len(tied)
    mean_rank = (len(values) - 1) / 2
    return [rank - mean_rank for rank in ranks]
