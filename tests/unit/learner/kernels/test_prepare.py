"""What a learner exchanges on a GPU, run on a CPU in float64: other kernels, the same numbers."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from dianoia.base.records import Sample
from dianoia.learner.batching.batch import (
    Batch,
    Layout,
    PreparedSample,
    collate,
    micro_batches,
    padding_share,
)
from dianoia.learner.kernels.fused_layers import fuse_layers
from dianoia.learner.kernels.head_gpu import Scoring, scored
from dianoia.learner.kernels.prepare import recompute_layers
from dianoia.learner.logprobs import response_logprobs
from dianoia.learner.policy import PolicyLearner
from tests.unit.learner.conftest import policy_learner
from tests.unit.sampler_models import make

MakeModel = Callable[..., PreTrainedModel]
FAMILIES = ("qwen3", "qwen2", "llama")


def batch_of(samples: list[Sample], layout: Layout = Layout.PADDED) -> Batch:
    rows = [PreparedSample(sample, torch.tensor(sample.logprobs)) for sample in samples]
    return collate(rows, layout=layout)


def gradients(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    """Log-probabilities, and the gradient of a sum of them that weighs every token differently."""
    logprobs_BT, _ = response_logprobs(model, batch, 0.7)
    weights_BT = torch.arange(logprobs_BT.numel()).view(logprobs_BT.shape).sin()
    model.zero_grad()
    (logprobs_BT * weights_BT).sum().backward()
    return logprobs_BT.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def assert_close(
    ours: tuple[Tensor, list[Tensor]], theirs: tuple[Tensor, list[Tensor]], within: float = 1e-9
) -> None:
    assert torch.allclose(ours[0], theirs[0], rtol=0, atol=within)
    for first, other in zip(ours[1], theirs[1], strict=True):
        assert torch.allclose(first, other, rtol=0, atol=within)


FLOAT32 = 1e-4
"""The norms of transformers are float32 whatever comes in."""


def test_a_batch_end_to_end_by_hand() -> None:
    """Two rows, 1 2 | 3 4 and 5 | 6 7 8: the tokens before 3 and 4 lie at 1 and 2; before 6, 7, 8 at 4, 5, 6."""
    samples = [Sample((1, 2), (3, 4), (0.0,) * 2, 1.0), Sample((5,), (6, 7, 8), (0.0,) * 3, 1.0)]
    row = batch_of(samples, Layout.PACKED).packed
    assert row is not None
    assert row.ids_1N.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]
    assert row.positions_1N.tolist() == [[0, 1, 2, 3, 0, 1, 2, 3]]
    assert row.lengths == (4, 4)
    assert row.predicting_M.tolist() == [1, 2, 4, 5, 6]
    assert row.targets_M.tolist() == [3, 4, 6, 7, 8]


def test_micro_batches_end_to_end_are_filled_by_tokens() -> None:
    """Rows of 7, 5, 4 and 3 tokens with at most 10 at a time: 7 + 3, then 5 + 4."""
    samples = [Sample((1,) * 2, (1,) * (n - 2), (0.0,) * (n - 2), 1.0) for n in (4, 7, 3, 5)]
    batches = micro_batches(samples, 10, layout=Layout.PACKED)
    assert sorted(sorted(batch) for batch in batches) == [[0, 3], [1, 2]]
    assert padding_share(samples, batches, layout=Layout.PACKED) == 0.0


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_end_to_end_give_what_padded_rows_give(
    make_model: MakeModel, samples: list[Sample], family: str
) -> None:
    model = make_model(family)
    apart = gradients(model, batch_of(samples))
    assert_close(gradients(model, batch_of(samples, Layout.PACKED)), apart)


@pytest.mark.parametrize("layout", ["padded", "shared", "tight", "packed"])
@pytest.mark.parametrize("family", FAMILIES)
def test_fused_layers_give_what_those_of_transformers_give(
    make_model: MakeModel, samples: list[Sample], family: str, layout: str
) -> None:
    model = make_model(family)
    batch = batch_of(samples, Layout(layout))
    before = gradients(model, batch)
    assert fuse_layers(model, torch.float64)
    assert_close(gradients(model, batch), before, FLOAT32)


def test_fused_layers_have_their_biases(samples: list[Sample]) -> None:
    model = make("llama-rope-bias").double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    before = gradients(model, batch_of(samples))
    assert fuse_layers(model, torch.float64)
    assert_close(gradients(model, batch_of(samples)), before, FLOAT32)


def test_a_copy_of_a_fused_model_uses_its_own_weights(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    model = make_model()
    fuse_layers(model, torch.float64)
    copy = deepcopy(model)
    before = gradients(model, batch_of(samples))
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.zero_()
    assert_close(gradients(model, batch_of(samples)), before)
    uniform_BT, _ = response_logprobs(copy, batch_of(samples), 1.0)
    assert uniform_BT[0, 0].item() == pytest.approx(-(torch.tensor(13.0).log().item()))


def test_fused_layers_are_computed_again_where_asked(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    remaining, again = make_model(), make_model()
    recompute_layers(again)
    for model in (remaining, again):
        fuse_layers(model, torch.float64)
    batch = batch_of(samples, Layout.PACKED)
    assert_close(gradients(again, batch), gradients(remaining, batch))


def test_other_architectures_stay_as_they_are() -> None:
    config = GPT2Config(vocab_size=13, n_embd=8, n_layer=1, n_head=2, n_positions=16)
    assert not fuse_layers(GPT2LMHeadModel(config), torch.float32)


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("remaining", [0, 77])
def test_the_head_in_chunks_gives_what_log_softmax_gives(
    chunk: int, temperature: float, remaining: int
) -> None:
    draw = torch.Generator().manual_seed(0)
    built = [
        torch.randn(size, generator=draw, dtype=torch.float64) for size in ((7, 4), (11, 4), (11,))
    ]
    states, weight, bias = (part.requires_grad_() for part in built)
    ids, factors = torch.tensor([0, 10, 3, 3, 5, 1, 9]), torch.arange(1.0, 8.0).double()
    scoring = Scoring(temperature, torch.float64, chunk, remaining)
    logprobs, entropies, likeliest = scored(states, (weight, bias), ids, scoring)
    all_NV = torch.log_softmax((states @ weight.t() + bias) / temperature, -1)
    expected = all_NV.gather(1, ids[:, None])[:, 0]
    assert torch.allclose(logprobs, expected)
    assert torch.allclose(entropies, -(all_NV.exp() * all_NV).sum(-1))
    assert torch.equal(likeliest, all_NV.argmax(-1) == ids)
    assert not entropies.requires_grad
    ours = torch.autograd.grad((logprobs * factors).sum(), (states, weight, bias))
    theirs = torch.autograd.grad((expected * factors).sum(), (states, weight, bias))
    for first, other in zip(ours, theirs, strict=True):
        assert torch.allclose(first, other)


def test_the_head_by_hand() -> None:
    """Two words with logits 0 and log 3 have probabilities 1/4 and 3/4."""
    states, weight = torch.ones(1, 1), torch.tensor([[0.0], [3.0]]).clamp(min=1.0).log()
    scoring = Scoring(1.0, torch.float32, 8)
    logprobs, entropies, _ = scored(states, (weight, None), torch.tensor([1]), scoring)
    assert logprobs.exp().item() == pytest.approx(0.75)
    assert entropies.item() == pytest.approx(0.5623, abs=1e-4)  # -(1/4 log 1/4 + 3/4 log 3/4)


@pytest.mark.parametrize("expected", [0, 100])
def test_the_gradient_of_a_sure_token_survives_bfloat16(expected: int) -> None:
    """Logits 8 and 0: the slope of the first is 1 - p = 0.000335, where bfloat16 has no number between p and 1."""
    states = torch.tensor([[8.0, 0.0]], requires_grad=True)
    scoring = Scoring(1.0, torch.bfloat16, 8, expected)
    logprobs, _, likeliest = scored(states, (torch.eye(2), None), torch.tensor([0]), scoring)
    (gradient,) = torch.autograd.grad(logprobs.sum(), states)
    assert likeliest.tolist() == [True]
    assert gradient[0].tolist() == pytest.approx([3.353e-4, -3.353e-4], rel=5e-3)


def test_nothing_is_kept_where_nothing_is_learnt() -> None:
    weight = torch.eye(2, requires_grad=True)
    with torch.no_grad():
        scores = scored(
            torch.ones(1, 2), (weight, None), torch.tensor([0]), Scoring(1.0, torch.float32, 8, 9)
        )
    assert scores.logprobs.grad_fn is None


def test_a_word_that_cannot_come_has_no_part_in_the_entropy() -> None:
    states, weight = torch.ones(1, 1), torch.zeros(2, 1)
    bias = torch.tensor([0.0, -torch.inf])
    scoring = Scoring(1.0, torch.float32, 8)
    _, entropies, _ = scored(states, (weight, bias), torch.tensor([0]), scoring)
    assert entropies.item() == 0.0


def learner_of(model: PreTrainedModel, critic: bool = False) -> PolicyLearner:
    return policy_learner(
        model,
        name="ppo" if critic else "grpo",
        kl_coefficient=0.1,
        importance_cap=2.0,
        max_tokens=20,
        total_steps=4,
        tokens_per_micro_batch=20,
        share_prompts=False,
    )


@pytest.mark.parametrize("critic", [False, True])
def test_steps_of_a_learner_that_packs_are_those_of_one_that_pads(
    make_model: MakeModel, samples: list[Sample], critic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    padded = learner_of(make_model(), critic)
    with monkeypatch.context() as patch:
        patch.setattr("dianoia.learner.kernels.prepare.packs_on_gpu", lambda *_: True)
        patch.setattr("dianoia.learner.policy.prepare_for_gpu", lambda *_: None)
        packed = learner_of(make_model(), critic)
    assert (packed.layout, padded.layout) == (Layout.PACKED, Layout.PADDED)
    for _ in range(2):
        ours, theirs = (first.update(first.prepare(samples)) for first in (packed, padded))
        assert ours.loss == pytest.approx(theirs.loss, abs=1e-8)
        assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-6)
        assert ours.padding_share == 0.0
    for first, other in zip(packed.model.parameters(), padded.model.parameters(), strict=True):
        assert torch.allclose(first, other, rtol=0, atol=1e-6)
