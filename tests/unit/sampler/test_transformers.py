"""The transformers sampler and the choice between the two."""

from collections.abc import Callable

import pytest
import torch
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from dianoia.base.errors import ConfigError, ModelError
from dianoia.base.records import SamplingParams
from dianoia.sampler.factory import make_sampler
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native.engine import NativeSampler
from dianoia.sampler.transformers import TransformersSampler
from tests.unit.sampler_models import SIZES, make, requests, worst_difference

PARAMS = SamplingParams(max_tokens=16, stop_ids=frozenset({3, 5}))


def test_unknown_architecture_falls_back_and_says_so(logged: Callable[[], str]) -> None:
    sampler = make_sampler(make("gpt2"), slots=4)
    assert isinstance(sampler, TransformersSampler)
    assert "GPT2LMHeadModel" in logged() and "slower" in logged()


def test_sliding_windows_fall_back() -> None:
    config = Qwen3Config(**SIZES, use_sliding_window=True, sliding_window=8, max_window_layers=1)
    model = Qwen3ForCausalLM(config).eval()
    assert isinstance(make_sampler(model), TransformersSampler)
    with pytest.raises(ConfigError, match="sliding window"):
        NativeSampler(config)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_fallback_logprobs_agree_with_a_plain_forward(temperature: float) -> None:
    model, batch = make("gpt2"), requests(5)
    params = SamplingParams(16, frozenset({3, 5}), temperature)
    sampler = make_sampler(model, slots=4)
    answered = sampler.generate(batch, params)
    assert worst_difference(model, batch, answered, temperature) < 1e-4
    assert [len(group) for group in answered] == [request.samples for request in batch]
    assert sampler.stats.tokens == sum(len(c.ids) for group in answered for c in group)


def test_both_samplers_draw_the_same() -> None:
    model, batch = make("qwen3-tied"), requests(8)
    # defaults of a checkpoint must not leak into what is recorded as the policy
    model.generation_config = GenerationConfig(repetition_penalty=2.0, temperature=0.3, top_k=2)
    for params in (PARAMS, SamplingParams(16, frozenset({3}), 0.8, top_p=0.9, top_k=20)):
        native = make_sampler(model, slots=4)
        assert isinstance(native, NativeSampler)
        ours, theirs = native.generate(batch, params), None
        reports: dict[tuple[int, int], object] = {}
        theirs = TransformersSampler(model, slots=3).generate(
            batch, params, lambda i, j, c, reports=reports: reports.update({(i, j): c})
        )
        assert [[c.ids for c in g] for g in ours] == [[c.ids for c in g] for g in theirs]
        assert [[c.stopped for c in g] for g in ours] == [[c.stopped for c in g] for g in theirs]
        assert reports == {(i, j): c for i, g in enumerate(theirs) for j, c in enumerate(g)}


def test_fallback_holds_its_own_copy_until_loaded() -> None:
    model, batch = make("gpt2"), requests(3)
    sampler = make_sampler(model, slots=8)
    before = sampler.generate(batch, PARAMS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    assert sampler.generate(batch, PARAMS) == before
    sampler.load(WeightUpdate(1, model.state_dict()))
    after = sampler.generate(batch, PARAMS)
    assert after != before
    assert worst_difference(model, batch, after) < 1e-4
    with pytest.raises(ModelError, match="missing in all"):
        sampler.load(WeightUpdate(2, {}))
