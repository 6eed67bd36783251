"""Token advantages against numbers worked out on paper, and the laws they keep."""

import math

import pytest
import torch
from torch import Tensor

from dianoia.algo.gae import (
    explained_variance,
    gae,
    gae_batch,
    kl_rewards,
    outcome_rewards,
    value_loss,
    whiten,
)

REWARDS = [0.0, 0.0, 0.0, 1.0]
VALUES = [0.5, 0.4, 0.6, 0.8]
# gamma 1: deltas are 0 + .4 - .5 = -.1;  0 + .6 - .4 = .2;  0 + .8 - .6 = .2;  1 + 0 - .8 = .2
# gamma .9: .36 - .5 = -.14;  .54 - .4 = .14;  .72 - .6 = .12;  1 - .8 = .2
BY_HAND = [
    (1.0, 0.0, [-0.1, 0.2, 0.2, 0.2]),
    # return 1 at every token, minus the value
    (1.0, 1.0, [0.5, 0.6, 0.4, 0.2]),
    # .2;  .2 + .95 x .2 = .39;  .2 + .95 x .39 = .5705;  -.1 + .95 x .5705 = .441975
    (1.0, 0.95, [0.441975, 0.5705, 0.39, 0.2]),
    (0.9, 0.0, [-0.14, 0.14, 0.12, 0.2]),
    # returns .729, .81, .9, 1, minus the values
    (0.9, 1.0, [0.229, 0.41, 0.3, 0.2]),
    # weight .855: .2;  .12 + .171 = .291;  .14 + .248805 = .388805;  -.14 + .332428275 = .192428275
    (0.9, 0.95, [0.192428275, 0.388805, 0.291, 0.2]),
]


def tensor(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def ragged() -> tuple[Tensor, Tensor, Tensor]:
    """Rewards, values and mask of three responses of 5, 1 and 3 tokens."""
    draw = torch.Generator().manual_seed(3)
    rewards_BT, values_BT = (torch.randn(3, 5, generator=draw).double() for _ in range(2))
    mask_BT = torch.arange(5) < torch.tensor([[5], [1], [3]])
    return rewards_BT, values_BT, mask_BT


def spoiled(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    return values_BT.masked_fill(~mask_BT, math.nan)


@pytest.mark.parametrize(("gamma", "lam", "expected"), BY_HAND)
def test_four_tokens_on_paper(gamma: float, lam: float, expected: list[float]) -> None:
    got_T = gae(tensor(*REWARDS), tensor(*VALUES), gamma, lam)
    assert got_T.tolist() == pytest.approx(expected, abs=1e-12)


def test_lambda_one_is_the_return_minus_the_value() -> None:
    rewards_BT, values_BT, mask_BT = ragged()
    got_BT = gae_batch(rewards_BT, values_BT, mask_BT, 1.0, 1.0)
    rewards_BT = rewards_BT * mask_BT
    returns_BT = rewards_BT.flip(1).cumsum(1).flip(1)
    assert torch.allclose(got_BT, (returns_BT - values_BT) * mask_BT, atol=1e-12)


def test_zero_values_give_every_token_the_outcome() -> None:
    mask_BT = torch.tensor([[True, True, True], [True, False, False]])
    rewards_BT = outcome_rewards(tensor(2.0, -1.0), mask_BT)
    got_BT = gae_batch(rewards_BT, torch.zeros_like(rewards_BT), mask_BT, 1.0, 1.0)
    assert got_BT.tolist() == [[2.0, 2.0, 2.0], [-1.0, 0.0, 0.0]]


def test_a_batch_is_its_rows() -> None:
    rewards_BT, values_BT, mask_BT = ragged()
    got_BT = gae_batch(rewards_BT, values_BT, mask_BT, 0.9, 0.95)
    for row, length in enumerate((5, 1, 3)):
        alone_T = gae(rewards_BT[row, :length], values_BT[row, :length], 0.9, 0.95)
        assert torch.equal(got_BT[row, :length], alone_T)
        assert not got_BT[row, length:].any()


def test_values_that_foresee_everything_leave_no_advantage() -> None:
    got_T = gae(tensor(*REWARDS), tensor(1.0, 1.0, 1.0, 1.0), 1.0, 0.95)
    assert got_T.tolist() == [0.0] * 4


def test_the_outcome_stands_at_the_last_token() -> None:
    mask_BT = torch.tensor([[True, True, True], [True, True, False], [False] * 3])
    got_BT = outcome_rewards(tensor(2.0, 1.0, 5.0), mask_BT)
    assert got_BT.tolist() == [[0.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]


def test_the_penalty_by_hand_and_why_it_punishes_length() -> None:
    # log-ratios .5 and -.25, coefficient .1
    old_BT, ref_BT = tensor(-1.0, -2.0)[None], tensor(-1.5, -1.75)[None]
    mask_BT = torch.ones(1, 2, dtype=torch.bool)
    assert kl_rewards(old_BT, ref_BT, mask_BT, 0.1)[0].tolist() == pytest.approx([-0.05, 0.025])
    assert not kl_rewards(old_BT, old_BT, mask_BT, 0.1).any()
    # one and the same divergence a token costs the first token of ten five times what it costs that of two
    costs = []
    for length in (2, 10):
        mask_BT = torch.ones(1, length, dtype=torch.bool)
        per_token_BT = torch.full((1, length), 0.2)
        rewards_BT = kl_rewards(per_token_BT, 0 * per_token_BT, mask_BT, 1.0)
        costs.append(float(gae_batch(rewards_BT, 0 * rewards_BT, mask_BT, 1.0, 1.0)[0, 0]))
    assert costs == pytest.approx([-0.4, -2.0])


def test_whitening_by_hand() -> None:
    # of 1, 2, 3, 6: mean 3, deviations -2, -1, 0, 3, std sqrt(14 / 4)
    advantages_BT = tensor(1.0, 2.0, 3.0, 6.0, math.nan, math.nan).view(2, 3)
    mask_BT = torch.tensor([[True] * 3, [True, False, False]])
    std = math.sqrt(3.5)
    expected = [-2 / std, -1 / std, 0.0, 3 / std, 0.0, 0.0]
    assert whiten(advantages_BT, mask_BT).flatten().tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("value", [0.0, 0.1, 7.3])
def test_whitening_equal_advantages_gives_exactly_nothing(value: float) -> None:
    mask_BT = torch.ones(2, 3, dtype=torch.bool)
    assert not whiten(torch.full((2, 3), value), mask_BT).any()
    assert not whiten(torch.full((2, 3), value), torch.zeros_like(mask_BT)).any()


def test_the_value_loss_by_hand() -> None:
    # errors 1 - 0 = 1 and 0 - 2 = -2: (1 + 4) / 2
    values_BT, returns_BT = tensor(1.0, 0.0)[None], tensor(0.0, 2.0)[None]
    mask_BT = torch.ones(1, 2, dtype=torch.bool)
    numerator, clipped = value_loss(values_BT, values_BT, returns_BT, mask_BT)
    assert (float(numerator), int(clipped)) == (2.5, 0)


@pytest.mark.parametrize(
    ("value", "loss", "gradient", "expected_count"),
    [
        # old value 0, return 2, clip .5
        (0.4, 0.5 * 1.6**2, -1.6, 0),  # within the bound
        (1.0, 0.5 * 1.5**2, 0.0, 1),  # beyond it, towards the return: kept at .5, no gradient
        (-1.0, 0.5 * 3.0**2, -3.0, 0),  # beyond it, away from the return: the whole error
    ],
)
def test_a_clipped_value_loss_by_hand(
    value: float, loss: float, gradient: float, expected_count: int
) -> None:
    values_BT = tensor(value)[None].requires_grad_()
    mask_BT = torch.ones(1, 1, dtype=torch.bool)
    numerator, clipped = value_loss(
        values_BT, tensor(0.0)[None], tensor(2.0)[None], mask_BT, clip=0.5
    )
    numerator.backward()
    assert float(numerator.detach()) == pytest.approx(loss)
    assert values_BT.grad is not None
    assert float(values_BT.grad) == pytest.approx(gradient)
    assert int(clipped) == expected_count


def test_clipping_the_values_holds_nothing_at_the_old_values() -> None:
    _, values_BT, mask_BT = ragged()
    free, _ = value_loss(values_BT, values_BT, values_BT + 3.0, mask_BT)
    remaining, clipped = value_loss(values_BT, values_BT, values_BT + 3.0, mask_BT, clip=0.2)
    assert (float(remaining), int(clipped)) == (float(free), 0)


def test_nan_at_masked_positions_changes_nothing() -> None:
    rewards_BT, values_BT, mask_BT = ragged()
    bad_rewards_BT, bad_values_BT = spoiled(rewards_BT, mask_BT), spoiled(values_BT, mask_BT)
    clean_BT = gae_batch(rewards_BT, values_BT, mask_BT, 0.9, 0.95)
    assert torch.equal(gae_batch(bad_rewards_BT, bad_values_BT, mask_BT, 0.9, 0.95), clean_BT)
    assert torch.equal(whiten(spoiled(clean_BT, mask_BT), mask_BT), whiten(clean_BT, mask_BT))
    assert torch.equal(
        kl_rewards(bad_rewards_BT, bad_values_BT, mask_BT, 0.1),
        kl_rewards(rewards_BT, values_BT, mask_BT, 0.1) * mask_BT,
    )
    grads = []
    for given_BT in (values_BT, bad_values_BT):
        learnt_BT = given_BT.clone().requires_grad_()
        old_BT, returns_BT = given_BT + 0.3, given_BT - 1.0
        numerator, clipped = value_loss(learnt_BT, old_BT, returns_BT, mask_BT, clip=0.2)
        numerator.backward()
        assert learnt_BT.grad is not None
        grads.append((float(numerator.detach()), int(clipped), learnt_BT.grad))
    assert grads[0][:2] == grads[1][:2] and grads[0][1] == 9
    assert torch.equal(grads[0][2], grads[1][2])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # returns 0, 1, 2: variance 2/3
        ([0.0, 1.0, 2.0], 1.0),
        ([5.0, 5.0, 5.0], 0.0),
        # errors 0, -1, -2 have the variance of the returns, errors 0, 2, 4 four times that
        ([0.0, 2.0, 4.0], 0.0),
        ([0.0, -1.0, -2.0], -3.0),
    ],
)
def test_explained_variance(values: list[float], expected: float) -> None:
    returns_M = tensor(0.0, 1.0, 2.0)
    assert explained_variance(tensor(*values), returns_M) == pytest.approx(expected)


def test_nothing_to_foresee() -> None:
    assert explained_variance(tensor(0.0, 1.0), tensor(2.0, 2.0)) is None
    assert explained_variance(tensor(), tensor()) is None
