"""A learner's passes by C functions on a CPU: float32's rounding apart, what PyTorch computes in float64."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, Qwen3ForSequenceClassification

from dianoia.base.records import Sample
from dianoia.learner import logprobs as scoring
from dianoia.learner.batching.batch import Batch, Layout, PreparedSample, collate
from dianoia.learner.kernels.head_cpu import score_tokens
from dianoia.learner.kernels.prepare import prepare_for_cpu, recompute_layers
from dianoia.learner.logprobs import response_logprobs
from dianoia.learner.reward_learner import forward

MakeModel = Callable[..., PreTrainedModel]
pytestmark = pytest.mark.usefixtures("in_c")
WITHIN = 2e-4
"""Gradients of these models are around 1, and summed in float32."""


def batch_of(samples: list[Sample], layout: str) -> Batch:
    rows = [PreparedSample(sample, torch.tensor(sample.logprobs)) for sample in samples]
    return collate(rows, layout=Layout(layout))


def passed(model: PreTrainedModel, batch: Batch) -> list[Tensor]:
    """Log-probabilities, entropies, and the gradient of a sum that weighs every token differently."""
    logprobs_BT, entropies_BT = response_logprobs(model, batch, 0.7, with_entropy=True)
    weights_BT = torch.arange(logprobs_BT.numel()).view(logprobs_BT.shape).sin()
    model.zero_grad()
    (logprobs_BT * weights_BT).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [logprobs_BT.detach(), entropies_BT, *gradients]


def prepared(model: PreTrainedModel) -> PreTrainedModel:
    narrow = deepcopy(model).float()
    prepare_for_cpu(narrow, "none")
    return narrow


def assert_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for first, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(first.double(), other.double(), rtol=WITHIN, atol=WITHIN)


@pytest.mark.parametrize("layout", ["padded", "shared", "tight", "packed"])
@pytest.mark.parametrize("family", ["qwen3", "qwen2", "llama"])
def test_layers_and_head_give_what_transformers_gives(
    make_model: MakeModel, samples: list[Sample], family: str, layout: str
) -> None:
    """Qwen2 has biases, so its layers stay those of transformers and only the head is exchanged."""
    model, batch = make_model(family), batch_of(samples, layout)
    assert_close(passed(prepared(model), batch), passed(model, batch))


@pytest.mark.parametrize("shared", [False, True])
def test_a_reward_model_gives_what_transformers_gives(make_model: MakeModel, shared: bool) -> None:
    config = deepcopy(make_model().config)
    config.num_labels, config.pad_token_id = 1, 0
    model = nn.Module.eval(Qwen3ForSequenceClassification(config).float())
    ours = prepared(model)

    def passed(item: PreTrainedModel) -> list[Tensor]:
        rewards_N = forward(item, [(3, 4, 5, 6), (3, 4), (3, 5, 9)], shared)
        (rewards_N * torch.tensor([1.0, -2.0, 0.5])).sum().backward()
        gradients = [p.grad for p in item.parameters() if p.grad is not None]
        return [rewards_N.detach(), *gradients]

    assert_close(passed(ours), passed(model))


def test_layers_computed_again_give_the_same(make_model: MakeModel, samples: list[Sample]) -> None:
    remaining = prepared(make_model())
    again = prepared(make_model())
    recompute_layers(again)
    batch = batch_of(samples, "shared")
    for first, other in zip(passed(again, batch), passed(remaining, batch), strict=True):
        assert torch.equal(first, other)


def test_chunks_of_logits_change_nothing_but_memory(
    make_model: MakeModel, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = prepared(make_model()), batch_of(samples, "shared")
    whole = passed(model, batch)
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", 3 * 13)
    assert_close(passed(model, batch), whole)


@pytest.mark.parametrize("chunk", [2, 100])
def test_a_head_has_one_gradient_however_often_it_is_asked_for(chunk: int) -> None:
    """Logits become their own gradient in place; a second pass has to make them again."""
    torch.manual_seed(0)
    states, weight = torch.randn(5, 6, requires_grad=True), torch.randn(9, 6)
    logprobs_N, _ = score_tokens(states, (weight, None), torch.arange(5), 1.0, chunk)
    first = torch.autograd.grad(logprobs_N.sum(), states, retain_graph=True)
    assert torch.allclose(*first, *torch.autograd.grad(logprobs_N.sum(), states), atol=1e-6)


def test_states_of_autocast_meet_a_head_in_float32(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    """Autocast rounds states to bfloat16; the head takes them as float32, C or not."""
    model, batch = make_model().float(), batch_of(samples, "padded")
    with torch.autocast("cpu", torch.bfloat16):
        narrow_BT, _ = response_logprobs(model, batch, 1.0)
    exact_BT, _ = response_logprobs(model, batch, 1.0)
    assert narrow_BT.dtype == torch.float32
    assert torch.allclose(narrow_BT, exact_BT, atol=0.2)
