"""Intervals of combinations, with numbers worked out by hand, and Monte Carlo for what they promise."""

import math
import random

import pytest

from dianoia.claims.intervals import Interval, difference, mean, rank_correlation, ratio


def test_difference_adds_distances_as_squares() -> None:
    # down: 0.90 - 0.87 = 0.03 and 0.64 - 0.60 = 0.04, together 0.05; up: 0.06 and 0.08, together 0.10.
    result = difference(Interval(0.90, 0.87, 0.96), Interval(0.60, 0.52, 0.64))
    assert result.value == pytest.approx(0.30)
    assert result.low == pytest.approx(0.25) and result.high == pytest.approx(0.40)


def test_mean_of_four() -> None:
    # Distances 0.03, 0.04, 0 and 0.12 are 0.13 together, a quarter of it is 0.0325.
    parts = [
        Interval(v, v - d, v + d) for v, d in ((0.9, 0.03), (0.8, 0.04), (0.7, 0.0), (0.6, 0.12))
    ]
    result = mean(parts)
    assert result.value == pytest.approx(0.75)
    assert result.low == pytest.approx(0.7175) and result.high == pytest.approx(0.7825)


def test_ratio_on_the_scale_of_logarithms() -> None:
    # Distances ln 1.5 above and ln 2 below, on either part: hypot(ln 2, ln 1.5) both ways.
    result = ratio(Interval(0.8, 0.4, 1.2), Interval(0.2, 0.1, 0.3))
    away = math.exp(math.hypot(math.log(2), math.log(1.5)))
    assert result.value == pytest.approx(4.0)
    assert result.low == pytest.approx(4 / away) and result.high == pytest.approx(4 * away)
    exact = ratio(Interval(0.9, 0.9, 0.9), Interval(0.2, 0.2, 0.225))
    assert (exact.low, exact.high) == (pytest.approx(4.0), pytest.approx(4.5))


def test_a_ratio_of_correlated_parts_by_hand() -> None:
    # Distances ln 2 and ln 1.5 on either side of both parts, as above.
    parts = Interval(0.8, 0.4, 1.2), Interval(0.2, 0.1, 0.3)
    far, near = math.log(2), math.log(1.5)
    half = ratio(*parts, correlation=0.5)
    away = math.exp(math.sqrt(far**2 + near**2 - far * near))
    assert (half.value, half.low, half.high) == pytest.approx((4.0, 4 / away, 4 * away))
    # Fully correlated parts differ by the difference of their distances, opposed ones by the sum.
    assert ratio(*parts, correlation=1.0).low == pytest.approx(4 / 2 * 1.5)
    assert ratio(*parts, correlation=-1.0).low == pytest.approx(4 / 2 / 1.5)
    # A part that may be 0 leaves the ratio without a bound, however correlated.
    assert ratio(Interval(0.5, 0.4, 0.6), Interval(0.1, 0.0, 0.2), 1.0).high == math.inf


def test_ratios_near_nothing() -> None:
    assert ratio(Interval(0.5, 0.0, 0.6), Interval(0.1, 0.1, 0.1)).low == 0.0
    assert ratio(Interval(0.5, 0.4, 0.6), Interval(0.1, 0.0, 0.2)).high == math.inf
    nothing = ratio(Interval(0.0, 0.0, 0.1), Interval(0.2, 0.1, 0.3))
    assert (nothing.value, nothing.low, nothing.high) == (0.0, 0.0, pytest.approx(1.0))
    with pytest.raises(ZeroDivisionError):
        ratio(Interval(0.5, 0.4, 0.6), Interval(0.0, 0.0, 0.1))


def test_the_intervals_cover_what_they_should() -> None:
    generator, covered = random.Random(1), [0, 0]
    for _ in range(2000):
        a, b = (generator.gauss(truth, truth / 20) for truth in (6.0, 2.0))
        parts = [Interval(v, v - 1.96 * s, v + 1.96 * s) for v, s in ((a, 0.3), (b, 0.1))]
        for index, result, truth in ((0, difference(*parts), 4.0), (1, ratio(*parts), 3.0)):
            covered[index] += result.low <= truth <= result.high
    assert all(0.93 <= count / 2000 <= 0.97 for count in covered)


@pytest.mark.parametrize(
    ("xs", "ys", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [40, 30, 20, 10], -1.0),
        ([2, 3, 4, 5], [10, 30, 20, 40], 0.8),  # 1 - 6 * 2 / (4 * 15)
        (
            [1, 2, 3],
            [5, 5, 7],
            math.sqrt(0.75),
        ),  # ranks -0.5, -0.5, 1 against -1, 0, 1: 1.5 / sqrt(2 * 1.5)
        ([1, 2, 3], [7, 7, 7], 0.0),
        ([1], [1], 0.0),
    ],
)
def test_rank_correlation(xs: list[float], ys: list[float], expected: float) -> None:
    assert rank_correlation(xs, ys) == pytest.approx(expected)
