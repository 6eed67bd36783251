"""Sessions in PyTorch, as on a GPU: over few pages, with prompts in pieces, what is streamed is what `generate` gives."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from dianoia.base.errors import ConfigError
from dianoia.base.records import Request, SamplingParams
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native import engine
from dianoia.sampler.native import session as session_module
from dianoia.sampler.native.engine import NativeSampler
from dianoia.sampler.native.torch import torch_decoder
from dianoia.sampler.native.torch.decode_loop import DecodeLoop
from tests.unit.sampler_models import make

SECONDS = 120.0
"""Longest that a test waits for a thread."""
PARAMS = SamplingParams(24, frozenset({3, 5}))
ENDLESS = SamplingParams(60, frozenset(), temperature=0.9)
VARIETY = [
    ENDLESS,
    PARAMS,
    SamplingParams(9, frozenset({3}), temperature=0.6, top_p=0.8),
    SamplingParams(30, frozenset({4}), temperature=0.0),
    SamplingParams(1, frozenset()),
]


@pytest.fixture(autouse=True)
def in_pytorch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a GPU, and without a C compiler; one thread."""
    monkeypatch.setattr(engine, "runs_in_c", lambda *_: False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sampler(slots: int = 4, pages: int | None = None) -> NativeSampler:
    model = make("qwen3")
    native = NativeSampler(model.config, slots=slots, pages=pages)
    native.load(WeightUpdate(7, model.state_dict()))
    return native


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[DecodeLoop]:
    """The loops of the sessions of a test."""
    made: list[DecodeLoop] = []
    original = DecodeLoop.__init__

    def note(self: DecodeLoop, *arguments: object, **options: object) -> None:
        made.append(self)
        original(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(DecodeLoop, "__init__", note)
    return made


def test_many_requests_over_few_pages(
    loops: list[DecodeLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven requests of five kinds over three pages; prompts come in pieces of 16 tokens."""
    monkeypatch.setitem(torch_decoder.SESSION_PIECE, "cpu", 16)
    requests = [Request((n,) * (10 + 5 * n), 1 + n % 2, (n,)) for n in range(7)]
    kinds = [VARIETY[n % 5] for n in range(7)]
    expected = [sampler().generate([r], p)[0] for r, p in zip(requests, kinds, strict=True)]
    loops.clear()
    with sampler(pages=3).session(50, 60) as session:
        handles = [session.submit(r, p) for r, p in zip(requests, kinds, strict=True)]
        assert [handle.result(SECONDS) for handle in handles] == expected
        for handle, completions in zip(handles, expected, strict=True):
            streams: list[list[int]] = [[] for _ in completions]
            for token in handle.stream():
                streams[token.sample].append(token.id)
            assert streams == [list(completion.ids) for completion in completions]
    (loop,) = loops
    assert loop.schedule.preemptions > 0, "the test has to see some"
    assert loop.schedule.pool.free == 3 and loop.schedule.free_slots == 4


def test_a_cancelled_request_gives_its_pages_back(
    loops: list[DecodeLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "STREAM_SECONDS", 0.0)
    (whole,) = sampler().generate([Request((9, 4), 3, (0,))], ENDLESS)
    (expected,) = sampler().generate([Request((7, 7, 2), 2, (1,))], PARAMS)
    loops.clear()
    with sampler(slots=2, pages=2).session(20, 60) as session:
        running = session.submit(Request((9, 4), 3, (0,)), ENDLESS)
        queued = session.submit(Request((7, 7, 2), 2, (1,)), PARAMS)
        dropped = session.submit(Request((8, 1), 2, (2,)), ENDLESS)
        dropped.cancel()
        next(running.stream())
        running.cancel()
        assert queued.result(SECONDS) == expected
        for completion, complete in zip(running.result(SECONDS), whole, strict=True):
            assert completion.ids == complete.ids[: len(completion.ids)]
        dropped.result(SECONDS)
    assert loops[0].schedule.pool.free == 2 and not loops[0].busy


def test_a_failure_reaches_the_callers_and_the_next_session_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    native, request = sampler(), Request((9, 4), 1, (0,))
    with monkeypatch.context() as patch:
        patch.setattr(DecodeLoop, "_decode", lambda *_: 1 / 0)
        failed = pytest.raises(RuntimeError, match="the session failed: division by zero")
        with native.session(20, 60) as session, failed:
            session.submit(request, PARAMS).result(SECONDS)
    with native.session(20, 60) as session:
        assert (
            session.submit(request, PARAMS).result(SECONDS) == native.generate([request], PARAMS)[0]
        )


def test_new_weights_leave_an_open_session_as_it_is() -> None:
    native, request = sampler(), Request((9, 4), 2, (0,))
    (expected,) = native.generate([request], PARAMS)
    with native.session(20, 60) as session:
        native.load(WeightUpdate(8, make("qwen3", seed=1).state_dict()))
        assert native.generate([request], PARAMS)[0] != expected
        assert session.submit(request, PARAMS).result(SECONDS) == expected


def test_what_a_session_cannot_serve_is_refused() -> None:
    threads = threading.active_count()
    with pytest.raises(ConfigError, match="80 tokens, which take 2 pages"):
        sampler(pages=1).session(20, 60)
    with sampler().session(20, 60) as session, pytest.raises(ConfigError, match="max_tokens=61"):
        session.submit(Request((1,), 1, (0,)), replace(ENDLESS, max_tokens=61))
    with pytest.raises(ConfigError, match="Install a C compiler"):
        sampler().scored(20)
    assert not sampler().can_score and threading.active_count() <= threads
