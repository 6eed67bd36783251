"""The loss of a token, worked out by hand."""

import math

import pytest
import torch

from dianoia.algo.likelihood import token_losses


def test_two_tokens_by_hand() -> None:
    # e^logit is (1, 3, 4) and (2, 1, 1): the targets' probabilities are 3/8 and 2/4
    logits = torch.tensor([[1.0, 3.0, 4.0], [2.0, 1.0, 1.0]], dtype=torch.float64).log()
    losses, right = token_losses(logits, torch.tensor([1, 0]))
    assert losses.tolist() == pytest.approx([math.log(8 / 3), math.log(2)], abs=1e-12)
    assert right.tolist() == [False, True]


def test_the_gradient_by_hand() -> None:
    # d(-log p_t)/dz = p - one_hot(t)
    logits = torch.tensor([[1.0, 3.0, 4.0]], dtype=torch.float64).log().requires_grad_()
    token_losses(logits, torch.tensor([1]))[0].sum().backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([1 / 8, 3 / 8 - 1, 4 / 8], abs=1e-12)


def test_half_precision_is_summed_in_float32() -> None:
    losses, _ = token_losses(torch.zeros(2, 9, dtype=torch.bfloat16), torch.tensor([0, 1]))
    assert losses.dtype == torch.float32
    assert losses.tolist() == pytest.approx([math.log(9)] * 2, abs=1e-6)
