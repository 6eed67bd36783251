"""The decoder in PyTorch, on a CPU: the same samples as in C, whatever the order and the sizes."""

from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.sampler.completion_exchange import all_completions
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native.engine import NativeSampler
from dianoia.sampler.native.torch import decode_attention
from dianoia.sampler.native.torch import model as torch_model
from dianoia.sampler.native.torch.decode_steps import DecodeSteps, StepShape
from dianoia.sampler.native.torch.model import TorchModel
from dianoia.sampler.native.torch.torch_decoder import TorchDecoder
from tests.unit.sampler_models import FAMILIES, POSITIONS, make, requests

PARAMS = SamplingParams(max_tokens=24, stop_ids=frozenset({3, 5}))


def pair(family: str = "qwen3-tied", slots: int = 8) -> tuple[NativeSampler, TorchDecoder]:
    """The sampler in C, and a decoder in PyTorch with the same weights."""
    model = make(family)
    native = NativeSampler(model.config, slots=slots)
    native.load(WeightUpdate(0, model.state_dict()))
    return native, TorchDecoder(forward(model, torch.float32), slots)


def forward(model: PreTrainedModel, dtype: torch.dtype) -> TorchModel:
    """The model as the decoder in PyTorch takes it."""
    ready = TorchModel(model.config, dtype, torch.device("cpu"))
    ready.weights.load(model.state_dict())
    ready.reserve(POSITIONS)
    return ready


def even(count: int, samples: int) -> list[Request]:
    """So many prompts of 1 to 4 tokens, all with the same number of samples."""
    return [Request(tuple(range(7, 8 + i % 4)), samples, (i,)) for i in range(count)]


def assert_alike(ours: list[list[Completion]], theirs: list[list[Completion]]) -> None:
    for group, other in zip(ours, theirs, strict=True):
        assert [(c.ids, c.stopped) for c in group] == [(c.ids, c.stopped) for c in other]
        for first, two in zip(group, other, strict=True):
            assert first.logprobs == pytest.approx(two.logprobs, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_samples_as_on_a_cpu(family: str) -> None:
    native, decoder = pair(family)
    batch = requests(9, samples=7)
    assert_alike(
        all_completions(batch, decoder.generate(batch, PARAMS, None).completions),
        native.generate(batch, PARAMS),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_made_of_kernels_draw_the_same(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which kernels they are is a GPU's; here their plain forms stand in, with rows read in two parts."""
    native, decoder = pair(family)
    rope, attend = (
        decode_attention.rope_into_pages_reference,
        decode_attention.attend_tiles_reference,
    )
    monkeypatch.setattr(torch_model, "rope_into_pages", rope)
    monkeypatch.setattr(torch_model, "attend_tiles", attend)
    decoder._model.kernels = True
    batch = requests(9, samples=7)
    assert_alike(
        all_completions(batch, decoder.generate(batch, PARAMS, None).completions),
        native.generate(batch, PARAMS),
    )


@pytest.mark.parametrize("slots", [1, 3, 16, 100])
def test_any_number_of_slots(slots: int) -> None:
    native, decoder = pair(slots=slots)
    batch = requests(9, samples=7)
    assert_alike(
        all_completions(batch, decoder.generate(batch, PARAMS, None).completions),
        native.generate(batch, PARAMS),
    )


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(1, frozenset({3})),
        SamplingParams(2, frozenset()),
        SamplingParams(9, frozenset(), temperature=0.0),
        SamplingParams(20, frozenset({3}), temperature=0.7, top_p=0.8),
        SamplingParams(20, frozenset({3}), top_k=5),
    ],
)
def test_any_way_of_drawing(params: SamplingParams) -> None:
    native, decoder = pair()
    batch = requests(6, samples=3)
    assert_alike(
        all_completions(batch, decoder.generate(batch, params, None).completions),
        native.generate(batch, params),
    )


def test_calls_of_different_sizes_share_rows_safely() -> None:
    native, decoder = pair(slots=32)
    for count, samples, limit in ((2, 3, 5), (8, 6, 24), (1, 1, 3), (8, 6, 24)):
        batch, params = requests(count, samples=samples), SamplingParams(limit, frozenset({3, 5}))
        assert_alike(
            all_completions(batch, decoder.generate(batch, params, None).completions),
            native.generate(batch, params),
        )


def test_every_end_is_told_once_and_the_clock_adds_up() -> None:
    _, decoder = pair(slots=8)
    reports: list[tuple[int, int]] = []
    batch = even(5, samples=4)
    run = decoder.generate(
        batch, PARAMS, lambda request, sample, _: reports.append((request, sample))
    )
    assert sorted(reports) == [(i, j) for i in range(5) for j in range(4)]
    done = all_completions(batch, run.completions)
    assert run.tokens == sum(len(c.ids) for group in done for c in group)
    assert run.slot_steps == run.tokens - 20  # the first token is drawn with the prompt
    assert run.slot_steps <= run.steps * run.slots


def test_a_request_without_samples() -> None:
    _, decoder = pair()
    assert all_completions([], decoder.generate([], PARAMS, None).completions) == []
    batch = [Request((7, 8), 0, (1,)), Request((7, 8, 9), 2, (2,))]
    assert list(
        map(len, all_completions(batch, decoder.generate(batch, PARAMS, None).completions))
    ) == [0, 2]


def test_rows_close_up_when_nothing_waits() -> None:
    """40 samples in 40 rows; those that do not stop end up in the first 8."""
    _, decoder = pair(slots=40)
    calls: list[int] = []
    original = DecodeSteps.run

    def spy(self: DecodeSteps, count: int, shape: StepShape, *rest: Any) -> None:
        calls.append(shape.slots)
        original(self, count, shape, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DecodeSteps, "run", spy)
        decoder.generate(even(10, samples=4), SamplingParams(60, frozenset({3, 5})), None)
    assert calls[0] == 48  # on a CPU a step has a multiple of 16 rows
    assert calls[-1] <= 16
    assert calls == sorted(calls, reverse=True)


@pytest.mark.usefixtures("in_c")  # which keeps states in float32
def test_bfloat16_stays_near_the_decoder_of_a_cpu() -> None:
    model = make("qwen3")
    native = NativeSampler(model.config, slots=8, dtype=torch.bfloat16)
    native.load(WeightUpdate(0, model.state_dict()))
    batch = requests(4, samples=1)
    params = SamplingParams(2, frozenset(), temperature=0.0)
    ours = all_completions(
        batch,
        TorchDecoder(forward(model, torch.bfloat16), 8).generate(batch, params, None).completions,
    )
    theirs = native.generate(batch, params)
    for group, other in zip(ours, theirs, strict=True):
        assert group[0].logprobs[0] == pytest.approx(other[0].logprobs[0], abs=0.05)
