"""Intervals of differences, means and ratios from the intervals of their parts.

In: values with 95 % intervals. Out: the same of a combination, by the method of variance estimates
recovery (Newcombe 1998; Zou and Donner 2008, Statistics in Medicine 27): the distance from a value to its
own bound stands for its standard error on that side, and distances of independent parts add as squares.
Ratios are taken on the scale of logarithms. Assumption: the parts are independent. Two checkpoints that
are measured on the same problems are not: what they share cancels out of a difference, so that the interval
here is wider than it need be, and a claim that holds by it would hold by a paired one too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol


class Bounded(Protocol):
    """A value between bounds."""

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
    """May be infinite, for a ratio over a number that may be 0."""


def difference(a: Bounded, b: Bounded) -> Interval:
    """a - b."""
    value = a.value - b.value
    down = math.hypot(a.value - a.low, b.high - b.value)
    up = math.hypot(a.high - a.value, b.value - b.low)
    return Interval(value, value - down, value + up)


def mean(parts: Sequence[Bounded]) -> Interval:
    """The mean of several, each with the same weight."""
    n = len(parts)
    value = math.fsum(part.value for part in parts) / n
    down = math.hypot(*(part.value - part.low for part in parts)) / n
    up = math.hypot(*(part.high - part.value for part in parts)) / n
    return Interval(value, value - down, value + up)


def ratio(a: Bounded, b: Bounded) -> Interval:
    """a / b, both at least 0. Raises ZeroDivisionError where b is 0."""
    value = a.value / b.value
    if a.value == 0:
        return Interval(0.0, 0.0, _over(a.high, b.low))
    down = math.hypot(_log(a.value, a.low), _log(b.high, b.value))
    up = math.hypot(_log(a.high, a.value), _log(b.value, b.low))
    return Interval(value, value * math.exp(-down), _stretched(value, up))


def _log(high: float, low: float) -> float:
    """log(high / low); infinite where `low` is not above 0."""
    return math.log(high / low) if low > 0 else math.inf


def _over(a: float, b: float) -> float:
    return a / b if b > 0 else math.inf


def _stretched(value: float, logarithm: float) -> float:
    return math.inf if logarithm > 700 else value * math.exp(logarithm)


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Spearman's coefficient: Pearson's of the ranks, ties sharing their mean rank. 0 where all are tied."""
    a, b = _centred(xs), _centred(ys)
    size = math.hypot(*a) * math.hypot(*b)
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / size if size else 0.0


def _centred(values: Sequence[float]) -> list[float]:
    """Ranks less their mean."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks, begun = [0.0] * len(values), 0
    for _, tied in groupby(order, key=values.__getitem__):
        places = list(tied)
        for place in places:
            ranks[place] = begun + (len(places) - 1) / 2
        begun += len(places)
    middle = (len(values) - 1) / 2
    return [rank - middle for rank in ranks]
