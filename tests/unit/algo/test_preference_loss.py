"""Losses and grades of reward models: numbers worked out by hand, and laws."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dianoia.algo.preference_loss import (
    bradley_terry_loss,
    pair_grade,
    pointwise_grade,
    pointwise_loss,
)

rewards = st.floats(-30, 30)


def pair_loss(chosen: float, rejected: float) -> float:
    double = torch.float64
    return float(
        bradley_terry_loss(torch.tensor(chosen, dtype=double), torch.tensor(rejected, dtype=double))
    )


def label_loss(reward: float, good: bool) -> float:
    return float(pointwise_loss(torch.tensor([reward], dtype=torch.float64), torch.tensor([good])))


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        (0.7, 0.7, math.log(2)),  # sigmoid(0) = 1/2
        (math.log(3), 0.0, math.log(4 / 3)),  # sigmoid(log 3) = 3/4
        (0.0, math.log(3), math.log(4)),  # sigmoid(-log 3) = 1/4
    ],
)
def test_bradley_terry_by_hand(chosen: float, rejected: float, expected: float) -> None:
    assert pair_loss(chosen, rejected) == pytest.approx(expected, abs=1e-12)


def test_the_gradient_by_hand() -> None:
    """d/dc softplus(r - c) = -sigmoid(r - c) = -1/4 where c - r = log 3, and the opposite for r."""
    chosen, rejected = torch.tensor([math.log(3)]), torch.tensor([0.0])
    chosen.requires_grad_(), rejected.requires_grad_()
    bradley_terry_loss(chosen, rejected).sum().backward()
    assert chosen.grad.item() == pytest.approx(-0.25, abs=1e-6)
    assert rejected.grad.item() == pytest.approx(0.25, abs=1e-6)


def test_large_differences_stay_finite() -> None:
    """-log sigmoid(-1000) = 1000 up to rounding; a plain log of a sigmoid would be infinite."""
    assert pair_loss(-500.0, 500.0) == pytest.approx(1000)
    assert 0 <= pair_loss(500.0, -500.0) < 1e-12
    half = bradley_terry_loss(torch.tensor([1.0]).half(), torch.tensor([0.0]).half())
    assert half.dtype == torch.float32


@given(rewards, rewards, st.floats(-100, 100))
def test_only_the_difference_of_a_pair_counts(chosen: float, rejected: float, by: float) -> None:
    moved = pair_loss(chosen + by, rejected + by)
    assert moved == pytest.approx(pair_loss(chosen, rejected), abs=1e-9)


@given(rewards, rewards)
def test_a_pair_and_its_mirror(chosen: float, rejected: float) -> None:
    """log sigmoid(d) - log sigmoid(-d) = d: losses of both orders differ by the difference of rewards."""
    gap = pair_loss(rejected, chosen) - pair_loss(chosen, rejected)
    assert gap == pytest.approx(chosen - rejected, abs=1e-9)
    assert pair_grade(chosen, rejected) + pair_grade(rejected, chosen) == 1


@pytest.mark.parametrize(
    ("reward", "good", "expected"),
    [
        (0.0, True, math.log(2)),
        (0.0, False, math.log(2)),
        (math.log(3), True, math.log(4 / 3)),
        (math.log(3), False, math.log(4)),  # -log(1 - 3/4)
    ],
)
def test_pointwise_by_hand(reward: float, good: bool, expected: float) -> None:
    assert label_loss(reward, good) == pytest.approx(expected, abs=1e-12)


@given(rewards)
def test_labels_are_mirrors_and_rewards_are_pairs_with_zero(reward: float) -> None:
    assert label_loss(reward, True) == pytest.approx(label_loss(-reward, False), abs=1e-9)
    assert label_loss(reward, True) == pytest.approx(pair_loss(reward, 0.0), abs=1e-9)


def test_grades() -> None:
    assert [pair_grade(2, 1), pair_grade(1, 2), pair_grade(1, 1)] == [1.0, 0.0, 0.5]
    assert [pointwise_grade(r, True) for r in (0.1, -0.1, 0.0)] == [1.0, 0.0, 0.5]
    assert [pointwise_grade(r, False) for r in (0.1, -0.1, 0.0)] == [0.0, 1.0, 0.5]
