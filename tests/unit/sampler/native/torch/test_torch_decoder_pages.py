"""Pages, preemption and pieces of prompts change no bit of a completion."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.sampler.completion_exchange import all_completions
from dianoia.sampler.native.torch import decode_loop
from dianoia.sampler.native.torch.decode_steps import DecodeSteps
from dianoia.sampler.native.torch.model import TorchModel
from dianoia.sampler.native.torch.page_pool import PAGE, pages_for
from dianoia.sampler.native.torch.torch_decoder import CacheLimits, TorchDecoder
from tests.unit.sampler_models import make

PARAMS = SamplingParams(70, frozenset({3}), temperature=0.9)
"""Responses of up to two pages."""
LENGTHS = (1, 64, 65, 90)


def model_of(dtype: torch.dtype = torch.float32) -> TorchModel:
    ready = TorchModel(make("qwen3").config, dtype, torch.device("cpu"))
    ready.weights.load(make("qwen3").state_dict())
    ready.reserve(400)
    return ready


def completions(
    decoder: TorchDecoder, requests: list[Request], params: SamplingParams = PARAMS
) -> list[list[Completion]]:
    """Return the completions of each request, in order."""
    return all_completions(requests, decoder.generate(requests, params, None).completions)


def batch(lengths: tuple[int, ...], samples: int) -> list[Request]:
    return [
        Request(tuple((7 * i + k) % 50 for k in range(n)), samples, (i,))
        for i, n in enumerate(lengths)
    ]


@pytest.fixture(scope="module")
def model() -> TorchModel:
    return model_of()


@pytest.fixture(scope="module")
def expected(model: TorchModel) -> list[list[Completion]]:
    """Completions with room for all."""
    return completions(TorchDecoder(model, 32), batch(LENGTHS, 2))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@settings(deadline=None, max_examples=3)
@given(st.integers(0, 5), st.integers(2, 20), st.integers(20, 150))
def test_few_pages_equal_many_to_the_bit(
    model: TorchModel, expected: list[list[Completion]], spare: int, slots: int, piece: int
) -> None:
    pages = pages_for(90 + PARAMS.max_tokens) + spare
    decoder = TorchDecoder(model, slots, CacheLimits(pages=pages))
    with patch.dict(decode_loop.PIECE, {"cpu": piece}):
        assert completions(decoder, batch(LENGTHS, 2)) == expected


def test_preempted_samples_end_as_if_they_had_run_on(
    model: TorchModel, expected: list[list[Completion]]
) -> None:
    decoder = TorchDecoder(model, 32, CacheLimits(pages=6))
    run = decoder.generate(batch(LENGTHS, 2), PARAMS, None)
    assert decoder.preemptions > 1, "the test has to see some"
    assert all_completions(batch(LENGTHS, 2), run.completions) == expected
    assert run.slot_steps == run.tokens - 8


@pytest.mark.parametrize("number", range(len(LENGTHS)))
def test_alone_equals_in_company(
    model: TorchModel, expected: list[list[Completion]], number: int
) -> None:
    request = batch(LENGTHS, 2)[number]
    assert completions(TorchDecoder(model, 1), [request]) == [expected[number]]


def test_bfloat16_too() -> None:
    model = model_of(torch.bfloat16)
    requests, params = batch((65, 60), 2), SamplingParams(10, frozenset())
    many = completions(TorchDecoder(model, 8), requests, params)
    few = completions(TorchDecoder(model, 8, CacheLimits(pages=3)), requests, params)
    assert many == few


def test_an_error_leaves_no_page_behind(
    model: TorchModel, expected: list[list[Completion]], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = TorchDecoder(model, 32, CacheLimits(pages=12))
    original, calls = DecodeSteps.run, [0]

    def fails_once(self: DecodeSteps, *arguments: object) -> None:
        calls[0] += 1
        if calls[0] == 3:
            raise RuntimeError("out of memory")
        original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(DecodeSteps, "run", fails_once)
    with pytest.raises(RuntimeError, match="out of memory"):
        decoder.generate(batch(LENGTHS, 2), PARAMS, None)
    assert completions(decoder, batch(LENGTHS, 2)) == expected


def test_what_cannot_fit_is_refused(model: TorchModel) -> None:
    tight = TorchDecoder(model, 2, CacheLimits(pages=2))
    with pytest.raises(ConfigError, match="130 tokens, which take 3 pages of 64"):
        tight.generate([Request((1,) * 60, 1, (0,))], PARAMS, None)
    for share in (0.0, 1.5):
        with pytest.raises(ConfigError, match="cache_share"):
            CacheLimits(share)
    with pytest.raises(ConfigError, match="pages=0"):
        CacheLimits(pages=0)


def test_memory_bounds_the_pages_and_never_the_longest(model: TorchModel) -> None:
    """32 KiB a page: 2 layers, keys and values of 64 tokens, 2 heads of 16 numbers of 4 bytes."""
    with patch("dianoia.sampler.native.torch.paged_cache.main_memory", lambda: 100 * 2**16):
        assert CacheLimits(0.4).size(model, 8, 10 * PAGE, 100).pages == 80
        assert CacheLimits(0.4).size(model, 8, 10 * PAGE, 100, decoders=2).pages == 40
        assert CacheLimits(0.01).size(model, 8, 10 * PAGE, 100).pages == 10
    # eight samples of ten pages, one more to read ahead, and a page for each copy
    assert CacheLimits().size(model, 8, 10 * PAGE, 100).pages == 8 * 10 + 2 + 10 + 1
