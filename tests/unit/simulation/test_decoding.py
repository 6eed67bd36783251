"""Decoding steps by hand."""

from dataclasses import replace

import pytest

from dianoia.recipe.plan.model_sizes import Size
from dianoia.simulation.decoding import Decoder, decoder_of
from dianoia.simulation.rates import Rates

GPU = Decoder(
    token_flops=10,
    attention_flops=2,
    weight_bytes=100,
    cache_bytes=4,
    rate=100,
    bandwidth=50,
    overhead=0.5,
    slots=8,
)


def test_a_step_reads_weights_and_cache_or_computes() -> None:
    # 5 tokens of cache: (100 + 20) / 50 + 0.5 = 2.9 s against (10 + 10) / 100 = 0.2 s
    assert GPU.step(1, 5) == pytest.approx(2.9)
    # 100 responses of 1 token: (1000 + 200) / 100 = 12 s against (100 + 400) / 50 + 0.5 = 10.5 s
    assert GPU.step(100, 100) == pytest.approx(12.0)
    # without a bandwidth arithmetic alone counts
    assert replace(GPU, bandwidth=None).step(1, 5) == pytest.approx(0.7)


def test_a_prompt_and_a_response_alone() -> None:
    # 4 tokens, each attending to 2 in the mean: 4 x (10 + 4) / 100
    assert GPU.prefill(4) == pytest.approx(0.56)
    # 6 steps at a context of 4 + 3 tokens: (100 + 28) / 50 + 0.5 = 3.06 s each
    assert GPU.alone(6, 4) == pytest.approx(0.56 + 6 * 3.06)
    twice = replace(GPU, tokens_per_step=2.0)
    assert twice.alone(6, 4) == pytest.approx(0.56 + 3 * 3.06)


def test_the_decoder_of_a_model() -> None:
    """2 layers of 30 parameters, 8 wide queries, 12 parameters of the embedding."""
    size = Size(72, 6, "model", 2, 4, 8, 4, 16, 3)
    rates = Rates(1000.0, 800.0, None, workers=2, layer_seconds=0.1)
    decoder = decoder_of(size, rates, slots=16, bfloat16=True)
    assert decoder.token_flops == 2 * 60 + 2 * 12 and decoder.attention_flops == 4 * 8 * 2
    assert (decoder.weight_bytes, decoder.cache_bytes) == (144, 12)
    # one of two threads
    assert (decoder.rate, decoder.slots, decoder.overhead) == (400, 8, pytest.approx(0.2))
