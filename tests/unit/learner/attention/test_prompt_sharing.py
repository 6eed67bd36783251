"""Prompts run once give what prompts run again for every sample give; where they do not, neither."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

import dianoia.learner.attention.prompt_sharing as learner_shared
from dianoia.base.records import Sample
from dianoia.learner.attention.exchange import agrees
from dianoia.learner.attention.prompt_sharing import can_share_prompts, shared_hidden_states
from dianoia.learner.batching.batch import Layout, PreparedSample, collate
from dianoia.learner.logprobs import response_logprobs
from dianoia.learner.policy import PolicyLearner
from dianoia.learner.reference import CopiedReference
from dianoia.learner.step_metrics import UpdateMetrics
from tests.unit.learner.conftest import policy_learner

MakeModel = Callable[..., PreTrainedModel]
SMALL: dict[str, Any] = {
    "vocab_size": 13,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.5,
}
GROUPS = {
    "one group": [((4, 7, 1), (5, 1, 9, 2, 9))],
    "prompts of several lengths": [((4, 7, 1), (5, 1, 9)), ((3,), (2, 30)), ((8, 6, 2, 1), (1, 4))],
    "one-token responses alone": [((4, 7), (1, 1)), ((5,), (1,))],
    "every sample its own prompt": [((4, 7), (3,)), ((5, 1, 2), (6,))],
}
EACH_GROUP = pytest.mark.parametrize("name", GROUPS)


def samples_of(name: str) -> list[Sample]:
    """Off-policy samples with advantages of both signs, groups interleaved."""
    draw = torch.Generator().manual_seed(3)
    made = []
    for prompt, lengths in GROUPS[name]:
        for place, length in enumerate(lengths):
            ids = tuple(torch.randint(13, (length,), generator=draw).tolist())
            logprobs = tuple((-1.0 - 3.0 * torch.rand(length, generator=draw)).tolist())
            made.append((place, Sample(prompt, ids, logprobs, 1.0 - 0.7 * (len(made) % 3))))
    return [sample for _, sample in sorted(made, key=lambda item: item[0])]


def rows_of(samples: Sequence[Sample]) -> list[PreparedSample]:
    return [PreparedSample(sample, torch.tensor(sample.logprobs)) for sample in samples]


def gradients(
    model: PreTrainedModel, samples: Sequence[Sample], layout: Layout
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Log-probabilities, entropies, and gradients of a sum in which every token counts apart."""
    batch = collate(rows_of(samples), layout=layout)
    model.zero_grad()
    logprobs_BT, entropy_BT = response_logprobs(
        model, batch, 0.7, with_entropy=True, plain_head=True
    )
    assert entropy_BT is not None
    weights_BT = torch.arange(1.0, logprobs_BT.numel() + 1).view_as(logprobs_BT)
    (logprobs_BT * weights_BT.cos()).sum().backward()  # type: ignore[no-untyped-call]
    return (
        logprobs_BT.detach(),
        entropy_BT,
        [p.grad.clone() for p in model.parameters() if p.grad is not None],
    )


def step(
    model: PreTrainedModel, samples: Sequence[Sample], **settings: Any
) -> tuple[UpdateMetrics, list[Tensor], PolicyLearner]:
    """One update under a reference that is another model; metrics and gradient of that step."""
    learner = policy_learner(
        model,
        max_tokens=32,
        total_steps=2,
        kl_coefficient=0.1,
        importance_cap=2.0,
        max_grad_norm=1e9,
        **settings,
    )
    assert isinstance(learner.reference, CopiedReference)
    with torch.no_grad():
        for weight in learner.reference.model.parameters():
            weight.mul_(1.1)
    metrics = learner.update(learner.prepare(samples))
    return metrics, [p.grad.clone() for p in model.parameters() if p.grad is not None], learner


def assert_same(first: Sequence[Tensor], second: Sequence[Tensor]) -> None:
    """Up to 1e-6 of the largest value: norms are float32 in a float64 model, too."""
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert float((a - b).abs().max()) <= 1e-6 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("layout", [Layout.SHARED, Layout.TIGHT])
@EACH_GROUP
def test_logprobs_and_gradients(
    make_model: MakeModel, kind: str, tied: bool, name: str, layout: Layout
) -> None:
    model, samples = make_model(kind, tied), samples_of(name)
    assert can_share_prompts(model)
    logprobs_BT, entropy_BT, grads = gradients(model, samples, layout)
    expected_BT, expected_entropy_BT, expected = gradients(model, samples, layout=Layout.PADDED)
    assert_same([logprobs_BT, entropy_BT, *grads], [expected_BT, expected_entropy_BT, *expected])


# 11 positions cut every group, so that the parts of a group run their prompt apart
@pytest.mark.parametrize("budget", [10_000, 24, 11])
@EACH_GROUP
def test_a_whole_step(make_model: MakeModel, name: str, budget: int) -> None:
    samples = samples_of(name)
    shared, grads, one = step(make_model(), samples, tokens_per_micro_batch=budget)
    plain, expected, other = step(make_model(), samples, share_prompts=False)
    assert (one.layout.shares, other.layout.shares) == (True, False)
    assert_same(grads, expected)
    assert_same(list(one.weights().values()), list(other.weights().values()))
    padding = {"padding_share": 0.0}  # which is what the two do not have in common
    assert asdict(replace(shared, **padding)) == pytest.approx(
        asdict(replace(plain, **padding)), abs=1e-6
    )


def test_the_backbone_sees_a_prompt_once(make_model: MakeModel) -> None:
    # 16 samples of 5 tokens after 6: 6 + 16 x 4 positions, since nothing follows a last token
    samples = [Sample((1, 2, 3, 4, 5, 6), (7,) * 5, (-1.0,) * 5, 1.0)] * 16
    model, seen = make_model(), []
    learner = policy_learner(model, learning_rate=0.0)
    model.get_input_embeddings().register_forward_hook(lambda m, i, o: seen.append(o.shape[1]))
    metrics = learner.update(learner.prepare(samples))
    assert seen == [70]
    assert metrics.padding_share == 0.0


def test_nan_weights_stay_visible(make_model: MakeModel) -> None:
    model = make_model()
    with torch.no_grad():
        model.get_input_embeddings().weight[12] = float("nan")
    batch = collate(
        rows_of([Sample((1, 2), (3, 4), (-1.0,) * 2, 1.0)]), pad_id=12, layout=Layout.SHARED
    )
    assert response_logprobs(model, batch, 1.0, plain_head=True)[0].isnan().all()  # a tied head


def test_padding_reaches_nothing(make_model: MakeModel) -> None:
    # the padding id has an embedding of its own, and the prompts and one block are padded with it
    model = make_model(tied=False)
    samples = [s for s in samples_of("prompts of several lengths") if 12 not in s.response_ids]
    results = []
    for value in (0.0, 1e3):
        with torch.no_grad():
            model.get_input_embeddings().weight[12] = value
        batch = collate(rows_of(samples), pad_id=12, layout=Layout.SHARED)
        assert batch.shared is not None
        assert bool((batch.shared.ids_1N == 12).any())
        results.append(response_logprobs(model, batch, 1.0, plain_head=True)[0])
    assert torch.equal(*results)


def test_attention_is_the_models_own_again_afterwards(make_model: MakeModel) -> None:
    model = make_model()
    shared = collate(rows_of(samples_of("one group")), layout=Layout.SHARED).shared
    assert shared is not None
    before = model.config._attn_implementation
    shared_hidden_states(model, shared)
    assert model.config._attn_implementation == before
    with pytest.raises(IndexError):
        shared_hidden_states(model, replace(shared, ids_1N=shared.ids_1N + 99))
    assert model.config._attn_implementation == before


# Architectures for which it would not be exact ----------------------------------------------------


def windowed() -> PreTrainedModel:
    return MistralForCausalLM(MistralConfig(**SMALL, sliding_window=4))


def half_windowed() -> PreTrainedModel:
    config = Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=4, max_window_layers=1)
    return Qwen2ForCausalLM(config)


def recurrent() -> PreTrainedModel:
    return MambaForCausalLM(MambaConfig(vocab_size=13, hidden_size=8, num_hidden_layers=2))


def absolute() -> PreTrainedModel:
    config = GPT2Config(vocab_size=13, n_embd=8, n_layer=2, n_head=2, n_positions=64)
    return GPT2LMHeadModel(config)


@pytest.mark.parametrize(
    ("make", "shares"),
    [(windowed, False), (half_windowed, False), (recurrent, False), (absolute, True)],
)
def test_other_architectures(make: Callable[[], PreTrainedModel], shares: bool) -> None:
    torch.manual_seed(0)
    model = make().double().eval()
    samples = samples_of("prompts of several lengths")
    plain, expected, _ = step(make_like(model), samples, share_prompts=False)
    metrics, grads, learner = step(model, samples)
    assert learner.layout.shares is shares
    assert_same(grads, expected)
    assert metrics.loss == pytest.approx(plain.loss, abs=1e-6)


def make_like(model: PreTrainedModel) -> PreTrainedModel:
    twin = type(model)(model.config).double().eval()
    twin.load_state_dict(model.state_dict())
    return twin


def test_a_window_is_noticed_that_no_configuration_mentions(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    monkeypatch.setattr(model.base_model.layers[0].self_attn, "sliding_window", 4096)
    assert not can_share_prompts(model)


def test_a_difference_is_noticed(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = learner_shared.sdpa

    def scaled(*args: Any) -> Tensor:
        return exact(*args) * 1.001

    monkeypatch.setattr(learner_shared, "sdpa", scaled)
    assert not can_share_prompts(make_model())


@pytest.mark.parametrize(("share", "rounding"), [(0.01, True), (0.2, False)])
def test_products_in_bfloat16_round_more_and_another_attention_is_still_noticed(
    make_model: MakeModel, share: float, rounding: bool
) -> None:
    """Under autocast states are float32 and products are not: a hundredth of the largest state is rounding then.

    Half of the digits: the root of 2^-23 is 0.0003, that of 2^-7 is 0.088.
    """
    reference = torch.arange(-8.0, 9.0)
    states, model = reference + share * 8, make_model()
    assert not agrees(model, lambda: states, lambda: reference)
    assert agrees(model, lambda: states, lambda: reference, torch.bfloat16) is rounding
