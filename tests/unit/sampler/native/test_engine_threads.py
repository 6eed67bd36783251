"""Threads that share a sampler: calls take turns, and a session may be opened beside one."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.sampler.interface import Sampler, WeightUpdate
from dianoia.sampler.native import engine
from dianoia.sampler.native.engine import NativeSampler
from dianoia.sampler.native.weights import RopeTables
from dianoia.sampler.transformers import TransformersSampler
from tests.unit.sampler_models import make, requests

PARAMS = SamplingParams(max_tokens=24, stop_ids=frozenset(), temperature=0.9)
SHORT = 0.1
"""Seconds for which a thread waits for what must not happen."""


def native() -> NativeSampler:
    model = make("qwen3")
    sampler = NativeSampler(model.config, slots=4)
    sampler.load(WeightUpdate(7, model.state_dict()))
    return sampler


def fallback() -> TransformersSampler:
    return TransformersSampler(make("qwen3"), slots=2)


@pytest.mark.parametrize(
    ("fixture", "make_sampler"),
    [("in_c", native), ("without_c", native), ("without_c", fallback)],
    ids=["in C", "in PyTorch", "transformers"],
)
def test_a_second_call_waits_for_the_first(
    request: pytest.FixtureRequest, fixture: str, make_sampler: Callable[[], Sampler]
) -> None:
    """Both would write to one KV cache: the second begins while samples of the first are half done."""
    request.getfixturevalue(fixture)
    sampler, batch, second = make_sampler(), requests(3, samples=3), Request((9, 4), 5, (8,))
    expected = sampler.generate(batch, PARAMS), sampler.generate([second], PARAMS)
    overlapping: list[bool] = []
    second_ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:

        def begin_second(*_: object) -> None:
            if not overlapping:
                future = pool.submit(sampler.generate, [second], PARAMS)
                futures.append(future)
                future.add_done_callback(lambda _: second_ended.set())
                overlapping.append(second_ended.wait(SHORT))

        futures: list[object] = []
        first = sampler.generate(batch, PARAMS, begin_second)
        (future,) = futures
        assert (first, future.result()) == expected  # type: ignore[attr-defined]
    assert overlapping == [False]


@pytest.mark.usefixtures("in_c")
def test_a_call_from_on_finish_is_refused() -> None:
    sampler = native()

    def nested(*_: object) -> None:
        sampler.generate([Request((9, 4), 1, (0,))], PARAMS)

    with pytest.raises(RuntimeError, match="on_finish must not call its own sampler"):
        sampler.generate([Request((9, 4), 1, (0,))], PARAMS, nested)
    assert sampler.generate([Request((9, 4), 1, (0,))], PARAMS), "it can be called again"


@pytest.mark.usefixtures("in_c")
def test_a_session_opened_beside_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call needs fewer RoPE positions than the session: its shorter tables must not replace the longer ones."""
    long = Request((9, 4, 1), 2, (5,))
    long_params = SamplingParams(max_tokens=80, stop_ids=frozenset(), temperature=0.9)
    (expected,) = native().generate([long], long_params)
    sampler = native()
    short_begun, long_reserved, short_ended = (threading.Event() for _ in range(3))
    build, sizes = RopeTables.build, engine.memory_sizes

    def slow_build(self: RopeTables, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        if length < 40:
            short_begun.set()
            long_reserved.wait(SHORT)
        return build(self, length)

    def late_sizes(*arguments: int) -> object:
        if threading.current_thread() is threading.main_thread():
            long_reserved.set()
            short_ended.wait(SHORT)
        return sizes(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RopeTables, "build", slow_build)
    monkeypatch.setattr(engine, "memory_sizes", late_sizes)

    def short() -> Sequence[Sequence[Completion]]:
        completions = sampler.generate([Request((9, 4), 1, (0,))], PARAMS)
        short_ended.set()
        return completions

    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(short)
        assert short_begun.wait(60)
        with sampler.session(20, 96) as session:
            assert len(sampler._decoders._model._tables[0]) >= 96  # type: ignore[attr-defined]
            assert session.submit(long, long_params).result(60) == expected
        assert beside.result() == native().generate([Request((9, 4), 1, (0,))], PARAMS)
