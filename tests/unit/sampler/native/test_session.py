"""Sessions: requests join, stream, leave and are cancelled, and every completion is that of `generate`."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
import torch

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native import session as session_module
from dianoia.sampler.native.cpu.cpu_decoder import DecodeLoop, PromptShare
from dianoia.sampler.native.engine import NativeSampler
from dianoia.sampler.native.session import Handle, Session, SessionLimits
from tests.unit.sampler_models import POSITIONS, make, requests

pytestmark = pytest.mark.usefixtures("in_c")

PARAMS = SamplingParams(max_tokens=24, stop_ids=frozenset({3, 5}))
ENDLESS = SamplingParams(max_tokens=70, stop_ids=frozenset(), temperature=0.9)
VARIETY = [
    PARAMS,
    SamplingParams(9, frozenset({3}), temperature=0.6, top_p=0.8),
    SamplingParams(30, frozenset({4}), temperature=0.0),
    SamplingParams(1, frozenset()),
    SamplingParams(20, frozenset({5}), top_k=4),
]
SECONDS = 60.0
"""Longest that a test waits for a thread."""


def sampler(slots: int = 4) -> NativeSampler:
    model = make("qwen3")
    native = NativeSampler(model.config, slots=slots)
    native.load(WeightUpdate(7, model.state_dict()))
    return native


@pytest.fixture(params=[1, 2])
def cores(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def tokens(handle: Handle, samples: int) -> list[tuple[list[int], list[float]]]:
    """The streamed ids and log-probabilities of each sample."""
    streams: list[tuple[list[int], list[float]]] = [([], []) for _ in range(samples)]
    for token in handle.stream():
        streams[token.sample][0].append(token.id)
        streams[token.sample][1].append(token.logprob)
    return streams


def assert_streamed(handle: Handle, completions: list[Completion]) -> None:
    streams = tokens(handle, len(completions))
    assert streams == [(list(c.ids), list(c.logprobs)) for c in completions]


@pytest.mark.usefixtures("cores")
def test_completions_are_those_of_generate() -> None:
    """Seeds, prompts, lengths and parameters differ, and there are more samples than slots."""
    native = sampler()
    mixed = [
        replace(request, params=VARIETY[i % len(VARIETY)])
        for i, request in enumerate(requests(12, samples=5))
    ]
    expected = native.generate(mixed, PARAMS)
    with native.session(20, 40) as session:
        handles = [session.submit(request) for request in mixed]
        assert [handle.result(SECONDS) for handle in handles] == expected
        for handle, completions in zip(handles, expected, strict=True):
            assert_streamed(handle, completions)
    assert {c.weights_version for group in expected for c in group} == {7}


@pytest.mark.usefixtures("cores")
def test_requests_join_and_leave_while_others_run() -> None:
    native = sampler(slots=6)
    first, second, third = (Request((9, 4, n), 2, (n,)) for n in (1, 2, 3))
    expected = native.generate([first, second, third], ENDLESS)
    short = replace(second, params=VARIETY[1])
    (expected_short,) = native.generate([short], ENDLESS)
    with native.session(20, 70) as session:
        running = session.submit(first, ENDLESS)
        next(running.stream())  # it runs
        joining = session.submit(short)
        assert joining.result(SECONDS) == expected_short, "it ends while the other one runs"
        late = session.submit(third, ENDLESS)
        assert running.result(SECONDS) == expected[0]
        assert late.result(SECONDS) == expected[2]


def test_tokens_arrive_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a step takes long, a caller has every token before the next one is drawn."""
    monkeypatch.setattr(session_module, "STREAM_SECONDS", 0.0)
    native = sampler(slots=1)
    (expected,) = native.generate([Request((9, 4), 1, (0,))], ENDLESS)
    gate, advance = threading.Semaphore(0), DecodeLoop.advance

    def gated(self: DecodeLoop, steps: int, shares: int) -> bool:
        assert gate.acquire(timeout=SECONDS)
        return advance(self, steps, shares)

    monkeypatch.setattr(DecodeLoop, "advance", gated)
    with native.session(20, 70) as session:
        handle = session.submit(Request((9, 4), 1, (0,)), ENDLESS)
        stream = handle.stream()
        gate.release()
        received = [next(stream).id, next(stream).id]  # of the prefill, and of the first step
        for _ in range(5):
            gate.release()
            received.append(next(stream).id)
        assert tuple(received) == expected[0].ids[:7]
        gate.release(100)
        assert handle.result(SECONDS) == expected


class Notes:
    """A listener that writes down what it is called with."""

    def __init__(self, wants_tokens: bool = True) -> None:
        self.wants_tokens = wants_tokens
        self.ids: dict[int, list[int]] = {}
        self.logprobs: dict[int, list[float]] = {}
        self.completions: dict[int, Completion] = {}
        self.errors: list[BaseException] = []

    def tokens(self, sample: int, ids: Sequence[int], logprobs: Sequence[float]) -> None:
        assert ids and sample not in self.completions
        self.ids.setdefault(sample, []).extend(ids)
        self.logprobs.setdefault(sample, []).extend(logprobs)

    def ended(self, sample: int, completion: Completion) -> None:
        self.completions[sample] = completion

    def failed(self, error: BaseException) -> None:
        self.errors.append(error)


@pytest.mark.usefixtures("cores")
def test_samples_in_parts_with_a_listener() -> None:
    """The samples of one key, submitted in two parts, are those of one request."""
    native, notes = sampler(), Notes()
    request = Request((9, 4, 1), 5, (3, 1))
    (expected,) = native.generate([request], ENDLESS)
    with native.session(20, 70) as session:
        parts = [
            session.submit(replace(request, samples=2), ENDLESS, listener=notes),
            session.submit(replace(request, samples=3), ENDLESS, first=2, listener=notes),
        ]
        assert [c for part in parts for c in part.result(SECONDS)] == expected
    assert notes.completions == dict(enumerate(expected))
    assert notes.ids == {i: list(c.ids) for i, c in enumerate(expected)}
    assert notes.logprobs == {i: list(c.logprobs) for i, c in enumerate(expected)}


def test_a_listener_that_waits_for_the_end() -> None:
    """It hears of whole samples, beside one that hears of tokens."""
    native, whole, streamed = sampler(), Notes(wants_tokens=False), Notes()
    request = Request((9, 4, 1), 3, (3, 1))
    (expected,) = native.generate([request], ENDLESS)
    with native.session(20, 70) as session:
        handles = [session.submit(request, ENDLESS, listener=notes) for notes in (whole, streamed)]
        assert [handle.result(SECONDS) for handle in handles] == [expected] * 2
    assert whole.completions == streamed.completions == dict(enumerate(expected))
    assert not whole.ids and streamed.ids == {i: list(c.ids) for i, c in enumerate(expected)}


@pytest.fixture
def one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps one by one, as of a model whose steps take long."""
    monkeypatch.setattr(session_module, "STREAM_SECONDS", 0.0)


@pytest.mark.usefixtures("cores", "one_step")
def test_a_cancelled_request_frees_its_slots() -> None:
    """Two slots are taken by a request that runs long; what waits behind it can only run once it is cancelled."""
    native = sampler(slots=2)
    long, waiting = Request((9, 4), 8, (0,)), Request((7, 7, 2), 3, (1,))
    (whole,), (expected,) = native.generate([long], ENDLESS), native.generate([waiting], PARAMS)
    with native.session(20, 70) as session:
        running, queued = session.submit(long, ENDLESS), session.submit(waiting, PARAMS)
        next(running.stream())
        running.cancel()
        partial = running.result(SECONDS)
        assert queued.result(SECONDS) == expected
        again = session.submit(long, ENDLESS)
        assert again.result(SECONDS) == whole, "a cancelled request leaves nothing behind"
    assert len(partial) == 8 and not any(completion.stopped for completion in partial)
    assert sum(len(c.ids) for c in partial) < sum(len(c.ids) for c in whole)
    for completion, complete in zip(partial, whole, strict=True):
        assert completion.ids == complete.ids[: len(completion.ids)]
        assert completion.logprobs == complete.logprobs[: len(completion.ids)]


@pytest.mark.usefixtures("one_step")
def test_a_request_can_be_cancelled_before_it_runs() -> None:
    native = sampler(slots=1)
    with native.session(20, 70) as session:
        running = session.submit(Request((9, 4), 1, (0,)), ENDLESS)
        waiting = session.submit(Request((9, 5), 2, (1,)), ENDLESS)
        waiting.cancel()
        assert sum(len(c.ids) for c in waiting.result(SECONDS)) < 140
        assert len(running.result(SECONDS)[0].ids) == 70


def test_a_closed_session_ends_its_requests_and_refuses_new_ones() -> None:
    session = sampler(slots=1).session(20, 70)
    handles = [session.submit(Request((9, n), 2, (n,)), ENDLESS) for n in range(4)]
    session.close()
    assert [len(handle.result(SECONDS)) for handle in handles] == [2] * 4
    assert all(list(handle.stream()) is not None for handle in handles)
    with pytest.raises(ConfigError, match="The session is closed"):
        session.submit(Request((9,), 1, (0,)), PARAMS)


def test_an_error_of_a_worker_reaches_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: DecodeLoop, steps: int, shares: int) -> bool:
        raise OSError("out of order")

    monkeypatch.setattr(DecodeLoop, "advance", broken)
    notes = Notes()
    with sampler().session(20, 40) as session:
        handle = session.submit(Request((9, 4), 1, (0,)), PARAMS)
        heard = session.submit(Request((9, 5), 1, (0,)), PARAMS, listener=notes)
        with pytest.raises(RuntimeError, match="out of order"):
            heard.result(SECONDS)
        assert [str(error) for error in notes.errors] == ["out of order"]
        with pytest.raises(RuntimeError, match="the session failed: out of order"):
            handle.result(SECONDS)
        with pytest.raises(RuntimeError, match="out of order"):
            list(handle.stream())


def test_an_error_of_one_worker_ends_the_work_of_the_others() -> None:
    """Nobody waits for their samples any more."""
    owner: list[object] = []
    has_ended = threading.Event()

    class Loop:
        """Decodes the first share without an end; whoever takes another one fails."""

        steps, seconds_prefill, occupancy = 0, 0.0, 1.0

        def __init__(self, take: Callable[[], PromptShare | None], _finish: object) -> None:
            self.take, self.share = take, None

        @property
        def busy(self) -> bool:
            return self.share is not None

        def advance(self, _steps: int, _shares: int) -> bool:
            self.share = self.share or self.take()
            if self.share is None:
                return False
            owner.append(self)
            if owner[0] is not self:
                raise OSError("out of order")
            time.sleep(0.001)
            return True

        def stream(self, *_: object) -> None:
            pass

        def cancel(self, is_cancelled: Callable[[int], bool]) -> None:
            if self.share is not None and is_cancelled(self.share.number):
                self.share = None
                has_ended.set()

    with Session(Loop, SessionLimits(20, 40, 60), 2, 2, 0) as session:
        handle = session.submit(Request((9, 4), 2, (0,)), PARAMS)
        with pytest.raises(RuntimeError, match="out of order"):
            handle.result(SECONDS)
        assert has_ended.wait(SECONDS)


def test_what_a_session_cannot_serve_is_refused() -> None:
    native = sampler()
    with pytest.raises(ConfigError, match="max_position_embeddings=96"):
        native.session(POSITIONS + 1, 1)
    with native.session(POSITIONS, POSITIONS) as session:
        with pytest.raises(ConfigError, match="Set max_tokens to 26 or less"):
            session.submit(Request((1,) * 70, 1, (0,)), replace(PARAMS, max_tokens=27))
        fits = session.submit(Request((1,) * 70, 1, (0,)), replace(ENDLESS, max_tokens=26))
        assert len(fits.result(SECONDS)[0].ids) == 26
    with native.session(20, 24) as session:
        with pytest.raises(ConfigError, match="21 prompt tokens"):
            session.submit(Request((1,) * 21, 1, (0,)), PARAMS)
        with pytest.raises(ConfigError, match="max_tokens=25"):
            session.submit(Request((1,), 1, (0,)), replace(PARAMS, max_tokens=25))
        with pytest.raises(ConfigError, match="no sampling parameters"):
            session.submit(Request((1,), 1, (0,)))
        with pytest.raises(ConfigError, match="top_p=2"):
            session.submit(Request((1,), 1, (0,)), replace(PARAMS, top_p=2.0))
        assert session.submit(Request((1,), 0, (0,)), PARAMS).result(SECONDS) == []


def test_new_weights_leave_an_open_session_as_it_is() -> None:
    native, request = sampler(), Request((9, 4), 3, (0,))
    (expected,) = native.generate([request], ENDLESS)
    with native.session(20, 70) as session:
        native.load(WeightUpdate(8, make("qwen3", seed=1).state_dict()))
        (changed,) = native.generate([request], ENDLESS)
        assert changed != expected
        assert session.submit(request, ENDLESS).result(SECONDS) == expected
