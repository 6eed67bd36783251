"""The lane of a GPU, run on a CPU: the same samples as the lane of a CPU, whatever the order and the sizes."""

import pytest
import torch
from transformers import PreTrainedModel

from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native.engine import NativeSampler
from dianoia.sampler.native.forward import Forward
from dianoia.sampler.native.gpu import decode_attention as rows
from dianoia.sampler.native.gpu import decode_steps as row_steps
from dianoia.sampler.native.gpu import gpu_forward as row_forward
from dianoia.sampler.native.gpu.gpu_decoder import RowLane
from tests.unit.sampler_models import FAMILIES, POSITIONS, make, requests

PARAMS = SamplingParams(max_tokens=24, stop_ids=frozenset({3, 5}))


def pair(family: str = "qwen3-tied", slots: int = 8) -> tuple[NativeSampler, RowLane]:
    """The sampler of a CPU, and a lane of rows over the same weights."""
    model = make(family)
    native = NativeSampler(model.config, slots=slots)
    native.load(WeightUpdate(0, model.state_dict()))
    return native, RowLane(forward(model, torch.float32), slots)


def forward(model: PreTrainedModel, dtype: torch.dtype) -> Forward:
    """The model as a lane of rows wants it."""
    ready = Forward(model.config, dtype, torch.device("cpu"))
    ready.weights.load(model.state_dict())
    ready.reserve(POSITIONS)
    return ready


def even(count: int, samples: int) -> list[Request]:
    """So many prompts of 1 to 4 tokens, all with the same number of samples."""
    return [Request(tuple(range(7, 8 + i % 4)), samples, (i,)) for i in range(count)]


def assert_alike(ours: list[list[Completion]], theirs: list[list[Completion]]) -> None:
    for group, other in zip(ours, theirs, strict=True):
        assert [(c.ids, c.stopped) for c in group] == [(c.ids, c.stopped) for c in other]
        for one, two in zip(group, other, strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_samples_as_on_a_cpu(family: str) -> None:
    native, lane = pair(family)
    asked = requests(9, samples=7)
    assert_alike(lane.generate(asked, PARAMS, None).results(), native.generate(asked, PARAMS))


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_made_of_kernels_draw_the_same(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which kernels they are is a GPU's; here their plain forms stand in, with rows read in two parts."""
    native, lane = pair(family)
    monkeypatch.setattr(row_forward, "turn_into_cache", rows.turned_plainly)
    monkeypatch.setattr(row_forward, "attend_rows", rows.attended_plainly)
    monkeypatch.setattr(row_forward, "splits_of", lambda *_, **__: 2)
    lane._forward.kernels = True
    asked = requests(9, samples=7)
    assert_alike(lane.generate(asked, PARAMS, None).results(), native.generate(asked, PARAMS))


@pytest.mark.parametrize("slots", [1, 3, 16, 100])
def test_any_number_of_slots(slots: int) -> None:
    native, lane = pair(slots=slots)
    asked = requests(9, samples=7)
    assert_alike(lane.generate(asked, PARAMS, None).results(), native.generate(asked, PARAMS))


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
    native, lane = pair()
    asked = requests(6, samples=3)
    assert_alike(lane.generate(asked, params, None).results(), native.generate(asked, params))


def test_calls_of_different_sizes_share_rows_safely() -> None:
    native, lane = pair(slots=32)
    for count, samples, limit in ((2, 3, 5), (8, 6, 24), (1, 1, 3), (8, 6, 24)):
        asked, params = requests(count, samples=samples), SamplingParams(limit, frozenset({3, 5}))
        assert_alike(lane.generate(asked, params, None).results(), native.generate(asked, params))


def test_every_end_is_told_once_and_the_clock_adds_up() -> None:
    _, lane = pair(slots=8)
    told: list[tuple[int, int]] = []
    asked = even(5, samples=4)
    run = lane.generate(asked, PARAMS, lambda request, sample, _: told.append((request, sample)))
    assert sorted(told) == [(i, j) for i in range(5) for j in range(4)]
    done = run.results()
    assert run.tokens == sum(len(c.ids) for group in done for c in group)
    assert run.seated == run.tokens - 20  # the first token is drawn with the prompt
    assert run.seated <= run.steps * run.slots


def test_a_request_without_samples() -> None:
    _, lane = pair()
    assert lane.generate([], PARAMS, None).results() == []
    asked = [Request((7, 8), 0, (1,)), Request((7, 8, 9), 2, (2,))]
    assert list(map(len, lane.generate(asked, PARAMS, None).results())) == [0, 2]


def test_rows_close_up_when_nothing_waits() -> None:
    """40 samples in 40 rows; those that do not stop end up in the first 8."""
    _, lane = pair(slots=40)
    seen: list[int] = []
    original = row_steps.RowSteps.run

    def spy(self: row_steps.RowSteps, count: int, extent: row_steps.Extent) -> None:
        seen.append(extent.rows)
        original(self, count, extent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_steps.RowSteps, "run", spy)
        lane.generate(even(10, samples=4), SamplingParams(60, frozenset({3, 5})), None)
    assert seen[0] == 40
    assert seen[-1] <= 16
    assert seen == sorted(seen, reverse=True)


@pytest.mark.usefixtures("without_c")  # whose lane keeps states in float32
def test_bfloat16_stays_near_the_lane_of_a_cpu() -> None:
    model = make("qwen3")
    native = NativeSampler(model.config, slots=8, dtype=torch.bfloat16)
    native.load(WeightUpdate(0, model.state_dict()))
    asked = requests(4, samples=1)
    params = SamplingParams(2, frozenset(), temperature=0.0)
    ours = RowLane(forward(model, torch.bfloat16), 8).generate(asked, params, None).results()
    theirs = native.generate(asked, params)
    for group, other in zip(ours, theirs, strict=True):
        assert group[0].logprobs[0] == pytest.approx(other[0].logprobs[0], abs=0.05)
