"""Log-probabilities against a plain full forward."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import dianoia.learner.logprobs as learner_model
from dianoia.base.records import Sample
from dianoia.learner.batching.batch import Batch, PreparedSample, collate
from dianoia.learner.logprobs import active_dropout, has_plain_head, response_logprobs

MakeModel = Callable[..., PreTrainedModel]
SMALL = {
    "vocab_size": 13,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "initializer_range": 0.5,
    "pad_token_id": 0,
}


def batch_of(samples: list[Sample]) -> Batch:
    return collate([PreparedSample(sample, torch.tensor(sample.logprobs)) for sample in samples])


def one_by_one(model: PreTrainedModel, sample: Sample, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of one sample, without padding, the long way."""
    ids_L = torch.tensor(sample.prompt_ids + sample.response_ids)
    logits_LV = model(input_ids=ids_L[None]).logits[0].detach() / temperature
    all_LV = logits_LV.log_softmax(-1)[len(sample.prompt_ids) - 1 : -1]
    logprobs_T = all_LV.gather(1, torch.tensor(sample.response_ids)[:, None])[:, 0]
    return logprobs_T, -(all_LV.exp() * all_LV).sum(-1)


def assert_like_full_forward(
    model: PreTrainedModel, samples: list[Sample], temperature: float = 0.7
) -> None:
    batch = batch_of(samples)
    logprobs_BT, entropy_BT = response_logprobs(model, batch, temperature, with_entropy=True)
    assert entropy_BT is not None
    assert not entropy_BT.requires_grad
    for index, sample in enumerate(samples):
        expected_T, entropy_T = one_by_one(model, sample, temperature)
        length = len(sample.response_ids)
        assert torch.allclose(logprobs_BT[index, :length], expected_T, atol=1e-6)
        assert torch.allclose(entropy_BT[index, :length], entropy_T, atol=1e-6)
        assert not logprobs_BT[index, length:].any()


@pytest.mark.parametrize("family", ["qwen3", "qwen2", "llama"])
@pytest.mark.parametrize("tied", [True, False])
def test_equal_to_a_full_forward_over_padding(
    make_model: MakeModel, samples: list[Sample], family: str, tied: bool
) -> None:
    model = make_model(family, tied)
    assert has_plain_head(model)
    assert_like_full_forward(model, samples)


def granite() -> PreTrainedModel:
    return GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=4.0)).eval()


def gemma2() -> PreTrainedModel:
    return Gemma2ForCausalLM(Gemma2Config(**SMALL, final_logit_softcapping=2.0)).eval()


class Doubled(Qwen3ForCausalLM):
    """An architecture that scales its logits and says so nowhere in its configuration."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The parent's forward with twice its logits."""
        output = super().forward(*args, **kwargs)
        output.logits = 2 * output.logits
        return output


def doubled() -> PreTrainedModel:
    return Doubled(Qwen3Config(**SMALL)).eval()


@pytest.mark.parametrize("make", [granite, gemma2, doubled])
def test_heads_that_do_more_use_the_models_own_logits(
    make: Callable[[], PreTrainedModel], samples: list[Sample]
) -> None:
    torch.manual_seed(0)
    model = make()
    assert not has_plain_head(model)
    assert_like_full_forward(model, samples)


def test_chunks_change_neither_values_nor_gradients(
    make_model: MakeModel, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for at_once in (2**20, 13 * 4):  # all 43 tokens at once, then four at a time with recomputation
        monkeypatch.setattr(learner_model, "LOGITS_AT_ONCE", at_once)
        model = make_model()
        logprobs_BT, entropy_BT = response_logprobs(
            model, batch_of(samples), 1.0, with_entropy=True
        )
        (logprobs_BT * logprobs_BT).sum().backward()  # type: ignore[no-untyped-call]
        assert entropy_BT is not None
        results.append([logprobs_BT, entropy_BT, *(p.grad for p in model.parameters())])
    for whole, chunked in zip(*results, strict=True):
        assert torch.allclose(whole, chunked, atol=1e-12)


def test_the_head_sees_response_positions_only_and_in_chunks(
    make_model: MakeModel, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_model, "LOGITS_AT_ONCE", 13 * 20)
    model, shapes = make_model(), []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shapes.append(tuple(output.shape))

    model.get_output_embeddings().register_forward_hook(note)
    response_logprobs(model, batch_of(samples), 1.0, plain_head=True)
    assert sum(len(sample.response_ids) for sample in samples) == 43
    assert shapes == [(20, 13), (20, 13), (3, 13)]


def test_padding_id_does_not_matter(make_model: MakeModel, samples: list[Sample]) -> None:
    model = make_model()
    rows = [PreparedSample(sample, torch.tensor(sample.logprobs)) for sample in samples]
    first, second = (response_logprobs(model, collate(rows, pad), 1.0)[0] for pad in (0, 7))
    assert torch.equal(first, second)


def test_float32_at_least_under_bfloat16(make_model: MakeModel, samples: list[Sample]) -> None:
    model = make_model().float()
    exact_BT, _ = response_logprobs(model, batch_of(samples), 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        rounded_BT, _ = response_logprobs(model, batch_of(samples), 1.0, plain_head=True)
    assert exact_BT.dtype == rounded_BT.dtype == torch.float32
    assert torch.allclose(exact_BT, rounded_BT, atol=0.5)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_greedy_temperature_is_refused(
    make_model: MakeModel, samples: list[Sample], temperature: float
) -> None:
    with pytest.raises(ValueError, match="above 0"):
        response_logprobs(make_model(), batch_of(samples), temperature)


def test_dropout_is_noticed() -> None:
    model = Qwen3ForCausalLM(Qwen3Config(**SMALL, attention_dropout=0.1))
    assert active_dropout(model.train()) == ["attention_dropout"]
    assert active_dropout(model.eval()) == []
    module = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.0))
    assert active_dropout(module) == ["0"]
