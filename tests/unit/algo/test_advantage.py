"""Advantages: literal numbers and the laws that any group-relative advantage keeps."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianoia.algo.advantage import (
    centred,
    group_normalised,
    informative,
    soft_overlong,
)

REWARDS = st.lists(st.integers(-8, 8).map(lambda n: n / 4), min_size=2, max_size=16)
ADVANTAGES = {"group_normalised": group_normalised, "centred": centred}
NAMES = pytest.mark.parametrize("name", sorted(ADVANTAGES))


def test_group_normalised_numbers() -> None:
    # mean 1/4; population variance (0.75^2 + 3 * 0.25^2) / 4 = 0.1875, std 0.4330127
    # 0.75 / 0.4330127 = 1.7320508 and -0.25 / 0.4330127 = -0.5773503
    expected = (1.7320508, -0.5773503, -0.5773503, -0.5773503)
    assert group_normalised((1.0, 0.0, 0.0, 0.0), epsilon=0.0) == pytest.approx(expected)


def test_two_samples_are_one_above_and_one_below() -> None:
    assert group_normalised((2.0, 0.0)) == pytest.approx((1.0, -1.0), abs=2e-6)


def test_epsilon_bounds_small_differences() -> None:
    # std 1e-6, so each is 1e-6 / (1e-6 + 1e-6) = 1/2 of a standard deviation
    assert group_normalised((2e-6, 0.0)) == pytest.approx((0.5, -0.5))


def test_centred_numbers() -> None:
    assert centred((1.0, 0.0, 0.0, 0.0)) == (0.75, -0.25, -0.25, -0.25)


@NAMES
@pytest.mark.parametrize("reward", [0.0, 0.1, -0.3, 1e9])
def test_uniform_group_is_exactly_zero(name: str, reward: float) -> None:
    assert ADVANTAGES[name]((reward,) * 7) == (0.0,) * 7


@NAMES
@pytest.mark.parametrize("rewards", [(), (1.0,)])
def test_group_of_one_is_refused(name: str, rewards: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="at least 2 samples"):
        ADVANTAGES[name](rewards)


@NAMES
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_rewards_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    with pytest.raises(ValueError, match="sample 1"):
        ADVANTAGES[name]((0.0, bad))


@NAMES
@given(rewards=REWARDS, shift=st.integers(-100, 100))
def test_shift_invariance_and_zero_mean(name: str, rewards: list[float], shift: int) -> None:
    original = ADVANTAGES[name](rewards)
    assert ADVANTAGES[name]([r + shift for r in rewards]) == pytest.approx(original, abs=1e-9)
    assert math.fsum(original) == pytest.approx(0.0, abs=1e-9)


@given(rewards=REWARDS, scale=st.sampled_from([0.25, 2.0, 64.0]))
def test_positive_scale_invariance(rewards: list[float], scale: float) -> None:
    scaled = group_normalised([r * scale for r in rewards], epsilon=0.0 + 1e-12)
    assert scaled == pytest.approx(group_normalised(rewards, epsilon=1e-12), abs=1e-8)


@NAMES
@given(rewards=REWARDS, seed=st.integers(0, 99))
def test_permutation_of_samples(name: str, rewards: list[float], seed: int) -> None:
    order = list(range(len(rewards)))
    random.Random(seed).shuffle(order)
    permuted = ADVANTAGES[name]([rewards[i] for i in order])
    original = ADVANTAGES[name](rewards)
    assert permuted == pytest.approx([original[i] for i in order])


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [((1, 1, 1), False), ((0, 0), False), ((1, 0, 0), True), ((1.0, 1.1), True)],
)
def test_informative(rewards: tuple[float, ...], expected: bool) -> None:
    assert informative(rewards) is expected


@pytest.mark.parametrize(
    ("length", "expected"),
    # DAPO's setting: free up to 20,480 - 4,096 = 16,384; half-way at 18,432
    [(1, 0.0), (16_384, 0.0), (18_432, -0.5), (20_480, -1.0), (30_000, -1.0)],
)
def test_soft_overlong(length: int, expected: float) -> None:
    assert soft_overlong(length, max_tokens=20_480, cache=4_096) == expected


@pytest.mark.parametrize("cache", [0, -1, 11])
def test_soft_overlong_refuses_a_cache_that_does_not_fit(cache: int) -> None:
    with pytest.raises(ValueError, match="from 1 to max_tokens"):
        soft_overlong(5, max_tokens=10, cache=cache)
