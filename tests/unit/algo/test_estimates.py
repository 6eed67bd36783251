"""pass@1, pass@k, cons@k and their intervals, with numbers worked out by hand."""

import math
import random
from collections.abc import Callable
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianoia.algo.estimates import (
    cons_at_k,
    estimate,
    estimate_unbounded,
    estimate_within,
    mean_pass_at_k,
    paired_correlation,
    paired_difference,
    pass_at_1,
    pass_at_k,
    vote_gain,
)


def test_pass_at_1_is_the_mean_of_the_problems_means() -> None:
    result = pass_at_1([[1, 0, 0, 0], [1, 1]])
    assert result.value == pytest.approx((0.25 + 1.0) / 2)
    assert result.n == 2


def test_pass_at_k_by_hand() -> None:
    # Of 10 samples 3 are right; 5 drawn: 1 - C(7,5)/C(10,5) = 1 - 21/252.
    assert pass_at_k(10, 3, 5) == pytest.approx(1 - 21 / 252)
    assert pass_at_k(10, 0, 5) == 0.0
    assert pass_at_k(10, 6, 5) == 1.0
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)


@given(st.integers(1, 200), st.data())
def test_pass_at_k_equals_the_binomial_form(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    exactly = 1 - Fraction(comb(n - c, k), comb(n, k))
    assert pass_at_k(n, c, k) == pytest.approx(float(exactly), abs=1e-12)


def test_pass_at_k_is_stable_for_many_samples() -> None:
    assert pass_at_k(100_000, 1, 50_000) == pytest.approx(0.5)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_pass_at_k_refuses_the_impossible(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="draw more samples"):
        pass_at_k(n, c, k)


def test_mean_pass_at_k() -> None:
    # Two of four right: 1 - C(2,2)/C(4,2) = 5/6. None right: 0.
    assert mean_pass_at_k([[1, 1, 0, 0], [0, 0, 0, 0]], 2).value == pytest.approx(5 / 12)


@pytest.mark.parametrize(
    ("correct", "votes", "value"),
    [
        ([1, 1, 0], ["5", "5", "6"], 1.0),
        ([1, 0, 0], ["5", "6", "6"], 0.0),
        ([1, 0], ["5", "6"], 0.5),  # a tie: either with probability 1/2
        ([1, 0, 0], ["5", "6", "7"], 1 / 3),
        ([1, 1, 0, 0], ["5", "5", "6", "6"], 0.5),
        ([1, 1, 0, 0, 0], [0, 0, 1, 2, 3], 1.0),  # any class that can be told from others
        ([1, 0.5, 0, 0], [4, 4, 4, 7], 0.5),  # a class of different grades counts their mean
        ([1, 0, 0, 0], ["5", None, None, None], 1.0),  # malformed samples do not vote
        ([0, 0], [None, None], 0.0),
    ],
)
def test_cons_at_k(correct: list[float], votes: list[str | int | None], value: float) -> None:
    assert cons_at_k([correct], [votes]).value == pytest.approx(value)


def test_vote_gain_is_paired() -> None:
    # Problem by problem, majority less mean: 1 - 3/4, 1 - 1, 0 - 1/4, and a tie of 1 and 0: 1/2 - 1/2.
    correct = [[1, 1, 1, 0], [1, 1], [1, 0, 0, 0], [1, 0]]
    answers = [["5", "5", "5", "6"], ["7", "7"], ["2", "3", "3", "3"], ["1", "4"]]
    gain = vote_gain(correct, answers)
    assert gain.value == 0.0 and gain.n == 4
    # Mean 0, sum of squares 2 * 0.0625, sample variance 0.125 / 3; t(3) is 3.182 (expansion: within 1 %).
    half = 3.182 * math.sqrt(0.125 / 3 / 4)
    assert gain.high == pytest.approx(half, rel=0.01) and gain.low == pytest.approx(-half, rel=0.01)
    whole = vote_gain(correct[:1] * 9, answers[:1] * 9)  # all alike: no doubt left
    assert (whole.low, whole.value, whole.high) == (0.25, 0.25, 0.25)


def test_the_difference_of_two_models_is_paired() -> None:
    # Differences 1, 1, -1, 0: mean 0.25. With half a problem won, lost, both right and both wrong: center 1/6 of 6,
    # squares 3 + 1 - 6/36 = 23/6, variance 23/30, radius t(5) * sqrt(23/30 / 6) = 2.571 * 0.3575.
    difference = paired_difference([1, 1, 0, 1], [0, 0, 1, 1])
    assert (difference.value, difference.n) == (0.25, 4)
    assert difference.low == pytest.approx(1 / 6 - 2.571 * math.sqrt(23 / 180), abs=5e-3)
    assert difference.high == 1.0, "cut at the end of its range"
    back = paired_difference([0, 0, 1, 1], [1, 1, 0, 1])
    assert (back.low, back.value) == (-1.0, -0.25)
    # What both find hard or easy cancels out: the same 40 problems, all 10 % better.
    hard = [0.1 * (n % 9) for n in range(40)]
    shifted = paired_difference([value + 0.1 for value in hard], hard)
    assert shifted.value == pytest.approx(0.1) and 0.0 < shifted.low < shifted.high < 0.2


def test_equal_answers_do_not_prove_two_models_equal() -> None:
    same = paired_difference([1, 0] * 15, [1, 0] * 15)
    # 30 differences of 0: variance 1 / 31 over 32 problems, t(31) = 2.0395.
    assert same.value == 0.0
    assert same.high == -same.low == pytest.approx(2.0395 * math.sqrt(1 / 31 / 32), rel=1e-3)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_the_interval_of_a_difference_holds_it(pairs: list[tuple[float, float]]) -> None:
    a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert -1.0 <= there.low <= there.value <= there.high <= 1.0
    assert (back.value, back.low) == (pytest.approx(-there.value), pytest.approx(-there.high))


def test_a_difference_refuses_other_problems_and_other_values() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        paired_difference([1, 0], [1])
    with pytest.raises(ValueError, match="0 to 1"):
        paired_difference([1.5], [1])
    with pytest.raises(ValueError, match="no values"):
        paired_difference([], [])


@pytest.mark.parametrize("n", [12, 40])
def test_the_interval_of_a_difference_covers_the_truth(n: int) -> None:
    generator = random.Random(0)
    covered = 0
    for _ in range(600):
        hard = [generator.random() < 0.5 for _ in range(n)]
        a = [float(generator.random() < (0.2 if h else 0.9)) for h in hard]
        b = [float(generator.random() < (0.1 if h else 0.8)) for h in hard]
        difference = paired_difference(a, b)
        covered += difference.low <= 0.1 <= difference.high
    assert covered / 600 >= 0.93


def test_a_perfect_score_leaves_room_for_doubt() -> None:
    perfect, hopeless = estimate([1.0] * 30), estimate([0.0] * 30)
    # 32 ones and 2 zeros: mean 32/34, variance 34/33 * 32/34 * 2/34 = 0.05704, t(33) = 2.0345, so
    # 0.9412 - 2.0345 * sqrt(0.05704 / 34) = 0.8579.
    assert perfect.low == pytest.approx(0.8579, abs=5e-4)
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert hopeless.high == pytest.approx(1 - perfect.low)
    assert (hopeless.value, hopeless.low) == (0.0, 0.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_the_interval_holds_the_mean(values: list[float]) -> None:
    result = estimate(values)
    assert 0.0 <= result.low <= result.value <= result.high <= 1.0
    assert result.low < result.high


@pytest.mark.parametrize("values", [[], [1.5], [-0.1], [float("nan")]])
def test_estimate_refuses_what_is_no_grade(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"0 to 1|no values"):
        estimate(values)


def test_no_samples_is_an_error_not_a_zero() -> None:
    with pytest.raises(ValueError, match="samples per problem"):
        pass_at_1([[1.0], []])


def coverage(draw: Callable[[random.Random], float], truth: float, n: int) -> float:
    generator = random.Random(0)
    results = [estimate([draw(generator) for _ in range(n)]) for _ in range(600)]
    return sum(result.low <= truth <= result.high for result in results) / len(results)


@pytest.mark.parametrize("n", [10, 40])
@pytest.mark.parametrize("truth", [0.02, 0.3, 0.5, 0.9, 0.99])
def test_the_interval_covers_the_truth_one_sample_a_problem(truth: float, n: int) -> None:
    assert coverage(lambda generator: float(generator.random() < truth), truth, n) >= 0.93


@pytest.mark.parametrize("n", [10, 40])
def test_the_interval_covers_the_truth_many_samples_a_problem(n: int) -> None:
    """Problems differ in difficulty, uniform on [0, 1], and each is sampled 8 times."""

    def draw(generator: random.Random) -> float:
        difficulty = generator.random()
        return sum(generator.random() < difficulty for _ in range(8)) / 8

    assert coverage(draw, 0.5, n) >= 0.93


def test_the_interval_of_a_share_ends_at_its_bounds() -> None:
    # Mean 0.95 and standard deviation 0.1: 0.95 +- 3.18 x 0.1 / 2 (Student's t, 3 degrees of freedom) would reach 1.11.
    shares_P = [1.0, 1.0, 1.0, 0.8]
    plain, within = estimate_unbounded(shares_P), estimate_within(shares_P, 0.0, 1.0)
    assert plain.high == pytest.approx(0.95 + 3.182 * 0.1 / 2, abs=2e-3)
    assert (within.value, within.low, within.high) == (plain.value, plain.low, 1.0)
    with pytest.raises(ValueError, match=r"1\.5 of a problem is not in \[0, 1\]"):
        estimate_within([0.5, 1.5], 0.0, 1.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2)), min_size=1, max_size=8))
def test_every_share_has_an_interval_around_it_and_within_its_range(
    samples: list[tuple[float, int]],
) -> None:
    grades_PG, votes_PG = [[grade] for grade, _ in samples], [[vote] for _, vote in samples]
    doubled_PG, twice_PG = [[*g, 1.0] for g in grades_PG], [[*v, 3] for v in votes_PG]
    for lowest, result in (
        (0.0, pass_at_1(grades_PG)),
        (0.0, cons_at_k(doubled_PG, twice_PG)),
        (0.0, estimate_within([grade for grade, _ in samples], 0.0, 1.0)),
        (-1.0, vote_gain(doubled_PG, twice_PG)),
    ):
        assert lowest <= result.low <= result.value <= result.high <= 1.0


def test_a_correlation_of_two_means_by_hand() -> None:
    # Deviations 1, -1, 0 and 3, -1, -2: 4 / sqrt(2 * 14).
    assert paired_correlation([3, 1, 2], [6, 2, 1], shares=False) == pytest.approx(4 / 28**0.5)
    # Left out of one mean: deviations 1, -1, 0, 0 of mean 2, and 1/3, -11/3, 10/3, 0 of mean 17/3.
    left_out = paired_correlation([3, 1, None, 2], [6, 2, 9, None], shares=False)
    assert left_out == pytest.approx(4 / (2 * 222 / 9) ** 0.5)
    # Two equal problems of shares, and half a problem in each corner: 1/2 of 1.
    assert paired_correlation([1, 0], [1, 0], shares=True) == pytest.approx(0.5)
    assert paired_correlation([1, 0], [0, 1], shares=True) == pytest.approx(-0.5)


def test_what_does_not_vary_is_not_correlated() -> None:
    assert paired_correlation([2, 2, 2], [1, 2, 3], shares=False) == 0.0
    assert paired_correlation([None, None], [1, 2], shares=False) == 0.0
    assert paired_correlation([], [], shares=False) == 0.0
    assert paired_correlation([1, 2, 4], [2, 4, 8], shares=False) == pytest.approx(1.0)
    with pytest.raises(ValueError):
        paired_correlation([1, 2], [1], shares=False)
