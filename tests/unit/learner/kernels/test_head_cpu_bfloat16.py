"""A head with bfloat16 factors in C: rounded factors in float64 give the same, logits included."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dianoia.base.records import Sample
from dianoia.learner import logprobs as scoring
from dianoia.learner.batching.batch import PreparedSample, collate
from dianoia.learner.kernels.head_cpu import score_tokens

MakeModel = Callable[..., PreTrainedModel]
pytestmark = pytest.mark.usefixtures("in_c")
Head = tuple[Tensor, Tensor | None]
TEMPERATURE = 0.7


def parts(rows: int, vocabulary: int, *, biased: bool = False) -> tuple[Tensor, Head, Tensor]:
    """States, a head whose logits are some units apart, and ids."""
    torch.manual_seed(0)
    states = torch.randn(rows, 24, requires_grad=True)
    weight = (torch.randn(vocabulary, 24) * 0.5).requires_grad_()
    bias = torch.randn(vocabulary).requires_grad_() if biased else None
    return states, (weight, bias), torch.randint(0, vocabulary, (rows,))


def exact(states: Tensor, head: Head, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of factors rounded to bfloat16, everything else in float64."""
    weight, bias = head
    logits = states.bfloat16().double() @ weight.bfloat16().double().t()
    if bias is not None:
        logits = logits + bias.double()
    logprobs = torch.log_softmax(logits / TEMPERATURE, dim=1)
    return logprobs.gather(1, ids[:, None])[:, 0], -(logprobs.exp() * logprobs).sum(1)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("vocabulary", [16, 45])
@pytest.mark.parametrize("rows, chunk", [(5, 100), (200, 300), (200, 70)])
def test_logits_of_rounded_factors_are_float32(
    rows: int, chunk: int, vocabulary: int, biased: bool
) -> None:
    """Bfloat16 logits of this size would be apart by up to 0.02."""
    states, head, ids = parts(rows, vocabulary, biased=biased)
    theirs = exact(states, head, ids)
    ours = score_tokens(states, head, ids, TEMPERATURE, chunk, torch.bfloat16)
    with torch.no_grad():
        alone = score_tokens(states, head, ids, TEMPERATURE, chunk, torch.bfloat16)
    for completion, same, other in zip(ours, alone, theirs, strict=True):
        torch.testing.assert_close(completion.double(), other, rtol=0, atol=2e-5)
        assert torch.equal(completion, same), "the same without a gradient"
    weights = torch.arange(rows).double().sin()
    inputs = [states, *(part for part in head if part is not None)]
    gradients = torch.autograd.grad((ours[0] * weights).sum(), inputs)
    for completion, other in zip(
        gradients, torch.autograd.grad((theirs[0] * weights).sum(), inputs), strict=True
    ):
        assert (completion - other).norm() < 0.01 * other.norm(), "gradients of logits have 8 bits"
    assert not ours[1].requires_grad


@pytest.mark.parametrize("chunk", [2, 100])
def test_one_gradient_however_often_it_is_asked_for(chunk: int) -> None:
    states, head, ids = parts(5, 9)
    logprobs, _ = score_tokens(states, head, ids, 1.0, chunk, torch.bfloat16)
    first = torch.autograd.grad(logprobs.sum(), states, retain_graph=True)
    assert torch.equal(*first, *torch.autograd.grad(logprobs.sum(), states))


def test_the_gradient_of_a_sure_token_survives() -> None:
    """Logits 8 and 0: the slope of the first is 1 - p = 0.000335, where bfloat16 has no number between p and 1."""
    states = torch.tensor([[1.0, 0.0]], requires_grad=True)
    weight = torch.tensor([[8.0, 0.0], [0.0, 0.0]])
    logprobs, _ = score_tokens(states, (weight, None), torch.tensor([0]), 1.0, 9, torch.bfloat16)
    logprobs.sum().backward()
    assert states.grad is not None
    assert states.grad[0, 0].item() == pytest.approx(8 * 0.000335, rel=0.01)


def test_an_odd_hidden_size_is_multiplied_in_float32() -> None:
    torch.manual_seed(0)
    states, weight, ids = torch.randn(2, 3), torch.randn(4, 3), torch.tensor([0, 1])
    logprobs, _ = score_tokens(states, (weight, None), ids, 1.0, 9, torch.bfloat16)
    expected, _ = score_tokens(states, (weight, None), ids, 1.0, 9, torch.float32)
    assert torch.equal(logprobs, expected)


def test_autocast_chooses_the_head(
    make_model: MakeModel, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model().float()
    batch = collate([PreparedSample(sample, torch.tensor(sample.logprobs)) for sample in samples])
    dtypes: list[torch.dtype] = []

    def watched(*arguments: Any) -> Any:
        dtypes.append(arguments[-1])
        return score_tokens(*arguments)

    monkeypatch.setattr(scoring, "score_tokens", watched)
    for enabled in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            scoring.response_logprobs(model, batch, 1.0)
    assert dtypes == [torch.bfloat16, torch.float32]
