"""The decoder of a CPU in C: what it promises beyond the one in PyTorch, and models of odd sizes."""

import random
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from dianoia.base.records import Request, SamplingParams
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native.cpu import cpu_decoder, packed_model
from dianoia.sampler.native.cpu.cpu_decoder import PromptShare, memory_sizes, split_requests
from dianoia.sampler.native.engine import CpuDecoders, NativeSampler
from tests.unit.sampler_models import SIZES, make, requests, worst_difference

pytestmark = pytest.mark.usefixtures("in_c")

PARAMS = SamplingParams(max_tokens=24, stop_ids=frozenset({3, 5}))
DTYPES = [torch.float32, torch.bfloat16]


def sampler(model: PreTrainedModel, dtype: torch.dtype, slots: int = 8) -> NativeSampler:
    """With the model's weights; decoded in C."""
    native = NativeSampler(model.config, slots=slots, dtype=dtype)
    assert isinstance(native._decoders, CpuDecoders)
    native.load(WeightUpdate(0, model.state_dict()))
    return native


@pytest.fixture
def threads() -> Any:
    """Sets the number of threads; it is put back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", [{}, {"temperature": 0.7, "top_p": 0.9}, {"top_k": 6}])
def test_a_completion_is_the_same_bits_in_any_company(
    dtype: torch.dtype, law: dict[str, Any], threads: Any
) -> None:
    """Tokens and log-probabilities: other slots, other cores, other requests beside it, another order."""
    model, batch = make("qwen3"), requests(9, samples=20)
    params = SamplingParams(24, frozenset({3, 5}), **law)
    first = sampler(model, dtype, slots=256).generate(batch, params)
    for slots, count in ((1, 1), (7, 2), (70, 3), (256, 1)):
        threads(count)
        assert sampler(model, dtype, slots).generate(batch, params) == first
    order = random.Random(0).sample(range(len(batch)), len(batch) - 3)
    fewer = sampler(model, dtype).generate([batch[i] for i in order], params)
    assert fewer == [first[i] for i in order]


def test_a_longer_prompt_than_is_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = make("llama"), requests(6, longest=60)
    whole = sampler(model, torch.float32).generate(batch, PARAMS)
    monkeypatch.setattr(cpu_decoder, "PREFILL_TOKENS", 11)
    assert sampler(model, torch.float32).generate(batch, PARAMS) == whole
    assert worst_difference(model, batch, whole) < 1e-4


def test_looks_between_steps_change_nothing(monkeypatch: pytest.MonkeyPatch, threads: Any) -> None:
    threads(1)  # two cores share the requests out as it comes, and then steps differ
    model, batch = make("qwen3"), requests(6)
    native = sampler(model, torch.float32)
    whole, steps = native.generate(batch, PARAMS), native.stats.steps
    monkeypatch.setattr(cpu_decoder, "STEPS", 1)
    assert native.generate(batch, PARAMS) == whole and native.stats.steps == steps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "sizes",
    [
        {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 20},
        {"num_attention_heads": 5, "num_key_value_heads": 1, "head_dim": 8},
        {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 80},
        {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 128},
        {"hidden_size": 36, "intermediate_size": 50, "head_dim": 12, "vocab_size": 97},
        {"hidden_size": 36, "intermediate_size": 50, "head_dim": 12, "tie_word_embeddings": True},
    ],
)
def test_models_whose_sizes_fill_no_vector(sizes: dict[str, Any], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(**{**SIZES, **sizes})).eval()
    batch = requests(7, samples=5, longest=40)
    answered = sampler(model, dtype).generate(batch, SamplingParams(40, frozenset({3})))
    assert worst_difference(model, batch, answered) < (1e-4 if dtype == torch.float32 else 0.02)


def test_one_request_is_cut_for_the_cores(threads: Any) -> None:
    batch = [Request((4, 9, 7), 11, (0,))]
    first, second = split_requests(batch, PARAMS, 2)
    assert first == PromptShare(0, batch[0], PARAMS, 0, 6)
    assert second == PromptShare(0, batch[0], PARAMS, 6, 5)
    model, result = make("qwen3"), []
    for count in (1, 2, 3):
        threads(count)
        result.append(sampler(model, torch.float32).generate(batch, PARAMS))
    assert result[0] == result[1] == result[2]


def test_a_core_decodes_as_many_at_a_time_as_its_cache_holds(
    monkeypatch: pytest.MonkeyPatch, threads: Any
) -> None:
    """2 layers x 2 heads x 64 positions x 16 numbers: 16 KiB of keys, and of values as much or half."""
    threads(1)
    model, batch = make("qwen3"), [Request((4, 9, 7), 100, (0,))]
    native = sampler(model, torch.float32, slots=256)
    packed = native._decoders._model  # type: ignore[attr-defined]
    narrow = sampler(model, torch.bfloat16)._decoders._model  # type: ignore[attr-defined]
    assert packed_model.slots_in_core_cache(packed, 64) == 2**22 // 2**15
    assert packed_model.slots_in_core_cache(narrow, 64) == 2**22 // (3 * 2**13)
    assert packed_model.slots_in_core_cache(packed, 2**13) == 16  # never fewer
    whole = native.generate(batch, PARAMS)
    monkeypatch.setattr(packed_model, "CORE_CACHE", packed.bytes)
    assert memory_sizes(packed, 3, 24, 1, 100).slots == 16
    assert native.generate(batch, PARAMS) == whole and native.stats.occupancy > 0.5
    monkeypatch.setattr(packed_model, "CORE_CACHE", packed.bytes // 2 - 1)  # weights do not fit
    assert memory_sizes(packed, 3, 24, 1, 100).slots == 100


def test_odd_sizes_are_not_multiplied_in_pairs() -> None:
    config = Qwen3Config(**{**SIZES, "intermediate_size": 33}, head_dim=8)
    assert isinstance(NativeSampler(config)._decoders, CpuDecoders)
    assert not isinstance(NativeSampler(config, dtype=torch.bfloat16)._decoders, CpuDecoders)


def test_a_request_without_samples_gets_none() -> None:
    batch = [Request((4,), 0, (0,)), Request((4, 9), 2, (1,)), Request((4,), 0, (2,))]
    answered = sampler(make("qwen3"), torch.float32).generate(batch, PARAMS)
    assert [len(group) for group in answered] == [0, 2, 0]
    assert sampler(make("qwen3"), torch.float32).generate(batch[:1], PARAMS) == [[]]


def test_weights_taken_are_the_samplers_own() -> None:
    """A learner goes on changing its own in place."""
    model, batch = make("qwen3-tied"), requests(3)
    native = sampler(model, torch.float32)
    before = native.generate(batch, PARAMS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    assert native.generate(batch, PARAMS) == before
