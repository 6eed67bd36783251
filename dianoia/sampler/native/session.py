"""Sessions: requests that are submitted, streamed and cancelled while others run, for a server.

In: requests, from any thread. Out: a `Handle` per request, with its tokens as they are drawn; or calls of a `Listener`, for
a server that waits for many requests in one thread. Worker threads run the loops of a decoder: one per core in C, one in PyTorch.
A completion is the same bits as from `generate` in C, and in PyTorch on a CPU, because no sum depends on other requests. All
requests of a session are served with the weights that the sampler had when the session was opened.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, Protocol

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.sampler.interface import check_requests, params_of
from dianoia.sampler.native.cpu.cpu_decoder import STEPS, PromptShare
from dianoia.sampler.native.decode_results import Finished

STREAM_SECONDS = 0.03
"""Time of the decoding steps between two reports to the callers, where a step is shorter: fewer reports are faster, since what
a caller does with one empties the core's cache."""
LEAST_OCCUPANCY = 0.1
"""Share of that time, at least, where most slots are free."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a response, as it is streamed."""

    sample: int
    """Index among the samples of the request."""
    id: int
    logprob: float


class Listener(Protocol):
    """Receives a request's tokens, from the worker threads. A call holds up decoding, so it only takes note."""

    @property
    def wants_tokens(self) -> bool:
        """False: `tokens` is never called, and `ended` brings all tokens of a sample, which is cheaper."""
        ...

    def tokens(self, sample: int, ids: Sequence[int], logprobs: Sequence[float]) -> None:
        """Take the next tokens of a sample; `logprobs` as in `Completion`."""
        ...

    def ended(self, sample: int, completion: Completion) -> None:
        """Take note of a sample's end, after its last tokens; cancelled samples end too."""
        ...

    def failed(self, error: BaseException) -> None:
        """Take note that the session has failed: nothing follows."""
        ...


class Handle:
    """A submitted request."""

    def __init__(
        self,
        samples: int,
        changed: threading.Condition,
        on_cancel: Callable[[], None],
        first: int = 0,
        listener: Listener | None = None,
    ) -> None:
        """on_cancel: called with `changed` held. first: number of the first sample. listener: gets the tokens instead of `stream`."""
        self._on_cancel = on_cancel
        self._tokens: SimpleQueue[Token | None] = SimpleQueue()
        self._completions: list[Completion | None] = [None] * samples
        self._streamed = [0] * samples
        self._changed, self._first, self._listener = changed, first, listener
        self.is_streamed = listener is None or listener.wants_tokens
        """Tokens are delivered while they are drawn."""
        self._error: BaseException | None = None
        self._done = threading.Event()
        self.cancelled = False
        if not samples:
            self._close()

    def stream(self) -> Iterator[Token]:
        """Yield the tokens of all samples as they are drawn, until all have ended; to be read once.

        Raises RuntimeError if the session failed.
        """
        while (token := self._tokens.get()) is not None:
            yield token
        self._raise_error()

    def result(self, timeout: float | None = None) -> list[Completion]:
        """Wait for the end and return one completion per sample.

        After a cancellation they hold the tokens drawn until then, perhaps none. Raises TimeoutError after `timeout`
        seconds, and RuntimeError if the session failed.
        """
        if not self._done.wait(timeout):
            raise TimeoutError(f"the request did not end within {timeout} seconds")
        self._raise_error()
        return [completion for completion in self._completions if completion is not None]

    def cancel(self) -> None:
        """End the request; its slots become free after the decoding step in progress."""
        with self._changed:
            self.cancelled = True
            self._on_cancel()
            self._changed.notify_all()

    def _deliver(self, sample: int, ids: Sequence[int], logprobs: Sequence[float]) -> None:
        """Add tokens of a sample to the stream. Called by the worker that decodes the sample."""
        self._streamed[sample - self._first] += len(ids)
        if self._listener is not None:
            self._listener.tokens(sample, ids, logprobs)
            return
        for token, logprob in zip(ids, logprobs, strict=True):
            self._tokens.put(Token(sample, token, logprob))

    def _finish(self, sample: int, completion: Completion) -> bool:
        """Store a completion, stream its last tokens, and return True if it was the last one of the request."""
        # tokens since the last step, and for a sample that never had a slot its only token
        unsent = slice(self._streamed[sample - self._first], None)
        if self.is_streamed and len(completion.ids) > unsent.start:
            self._deliver(sample, completion.ids[unsent], completion.logprobs[unsent])
        if self._listener is not None:
            self._listener.ended(sample, completion)
        # two workers may finish samples of one request at the same time
        with self._changed:
            self._completions[sample - self._first] = completion
            last = None not in self._completions
        if last:
            self._close()
        return last

    def _close(self, error: BaseException | None = None) -> None:
        self._error = self._error or error
        self._done.set()
        self._tokens.put(None)
        if error is not None and self._listener is not None:
            self._listener.failed(error)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise RuntimeError(f"the session failed: {self._error}") from self._error


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The largest requests of a session."""

    prompt_tokens: int
    response_tokens: int
    positions: int
    """Most tokens of a prompt and its response together."""

    def check(self, prompt_tokens: int, max_tokens: int) -> None:
        """Raise ConfigError for a request that is too long."""
        if prompt_tokens > self.prompt_tokens or max_tokens > self.response_tokens:
            raise ConfigError(
                f"The request has {prompt_tokens} prompt tokens and max_tokens={max_tokens}, but the session was opened for "
                f"at most {self.prompt_tokens} prompt tokens and max_tokens={self.response_tokens}. Shorten it, or open a "
                "larger session."
            )


_EARLY = 0.9
"""A report is made after this share of the time until the next one: steps do not take exactly as long as those before."""


def _steps_in(seconds: float, seconds_per_step: float) -> int:
    """Return how many decoding steps take about `seconds`: 1 to STEPS."""
    return max(1, min(STEPS, int(seconds / max(seconds_per_step, 1e-9))))


class StreamedSample(Protocol):
    """A sample whose tokens a loop delivers."""

    @property
    def number(self) -> int:
        """Index of its request."""
        ...

    @property
    def index(self) -> int:
        """Index among the samples of its request."""
        ...


class Loop(Protocol):
    """Decodes the samples of one worker."""

    steps: int
    """Decoding steps so far."""
    seconds_prefill: float
    """Time for prompts and first tokens so far."""

    @property
    def busy(self) -> bool:
        """True if the loop holds samples."""
        ...

    @property
    def occupancy(self) -> float:
        """Share of the slots that hold a sample."""
        ...

    def advance(self, steps: int, shares: int) -> bool:
        """Take at most `shares` prompt shares, decode for at most `steps` steps, and hand out what has ended.

        Returns False if there was nothing to decode.
        """
        ...

    def stream(
        self,
        is_streamed: Callable[[int], bool],
        deliver: Callable[[Any, list[int], list[float]], None],
    ) -> None:
        """Call `deliver` with each live `StreamedSample`, and the ids and log-probabilities that are new.

        is_streamed: whether a request's samples are delivered before they end.
        """
        ...

    def cancel(self, cancelled: Callable[[int], bool]) -> None:
        """End the samples of requests for which `cancelled(number)` is True."""
        ...


MakeLoop = Callable[[Callable[[], PromptShare | None], Finished], Loop]
"""Makes a worker's loop from a function that takes the next share of the queue, and one that gets each completion."""


class Session:
    """Requests that share the slots of a sampler. Close it, or use it in a `with` statement, to end its threads."""

    def __init__(
        self,
        make_loop: MakeLoop,
        limits: SessionLimits,
        workers: int,
        slots: int,
        weights_version: int,
        on_report: Callable[[], None] = lambda: None,
    ) -> None:
        """slots: of all workers together. on_report: called by a worker after a number of calls of listeners."""
        self._on_report = on_report
        self._limits, self._workers, self._version = limits, workers, weights_version
        self.slots = slots
        """Most samples decoded at a time."""
        self._queue: deque[PromptShare] = deque()
        self._handles: dict[int, Handle] = {}
        self._submitted = 0
        self._closed = False
        self._cancellations = 0
        """How often a request was cancelled: most of the time there is nothing to look for."""
        self._changed = threading.Condition()
        """Guards all of the above; notified when there is work, a cancellation or the end."""
        # All loops before the first thread: a cache that does not fit fails here, with no thread to end.
        loops = [make_loop(self._take, self._finish) for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._work, args=(loop,), daemon=True) for loop in loops
        ]
        for thread in self._threads:
            thread.start()

    @property
    def closed(self) -> bool:
        """True after `close`, and after a failure."""
        return self._closed

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(
        self,
        request: Request,
        params: SamplingParams | None = None,
        *,
        first: int = 0,
        listener: Listener | None = None,
    ) -> Handle:
        """Start a request under its own sampling parameters, else under `params`.

        first: number of its first sample, for samples of one key that are submitted in several parts. listener: gets the
        tokens instead of `Handle.stream`.
        Raises ConfigError for parameters out of range, a request longer than the session accepts, or a closed session.
        """
        default = request.params or params
        if default is None:
            raise ConfigError(
                "The request has no sampling parameters: set Request.params or pass params to submit()."
            )
        request = replace(request, params=params_of(request, default))
        check_requests([request], default, self._limits.positions)
        self._limits.check(len(request.prompt_ids), default.max_tokens)
        with self._changed:
            if self._closed:
                raise ConfigError("The session is closed. Open another one to submit requests.")
            # registered before its shares are queued: a worker looks the handle up as soon as it takes one
            handle = Handle(
                request.samples, self._changed, self._note_cancellation, first, listener
            )
            if not request.samples:
                return handle
            # Numbers are never used again, so that a late call for a request that has ended meets no other one.
            number, self._submitted = self._submitted, self._submitted + 1
            self._handles[number] = handle
            # an even part for each worker, so that the samples of one request are decoded in parallel
            most = -(-request.samples // self._workers)
            for begin in range(0, request.samples, most):
                count = min(most, request.samples - begin)
                share = PromptShare(number, request, default, first + begin, count)
                self._queue.append(share)
            self._changed.notify_all()
        return handle

    def close(self) -> None:
        """Cancel all requests and end the worker threads."""
        with self._changed:
            self._closed = True
            for handle in self._handles.values():
                handle.cancelled = True
            self._note_cancellation()
            self._changed.notify_all()
        # without the lock: workers need it to end their requests
        for thread in self._threads:
            thread.join()

    # Worker threads -------------------------------------------------------------------------------

    def _work(self, loop: Loop) -> None:
        """Decode until the session is closed. An error ends every request, so that nobody waits forever."""
        steps, cancellations, pause, reported = 1, 0, 0.0, 0.0
        try:
            while self._wait_for_work(loop):
                # Read before the search: what is cancelled meanwhile is searched for in the next round.
                if (so_far := self._cancellations) != cancellations:
                    cancellations = so_far
                    self._drop_cancelled(loop)
                # One share at a time, since a prompt holds up the samples that run; where steps are short, an even part of
                # the queue, so that free slots fill at once.
                shares = 1 if steps == 1 else -(-len(self._queue) // self._workers)
                begin, done, prefill = time.perf_counter(), loop.steps, loop.seconds_prefill
                has_decoded = loop.advance(steps, max(1, shares))
                now = time.perf_counter()
                if has_decoded:
                    seconds = now - begin - (loop.seconds_prefill - prefill)
                    # Less while slots are free: whoever takes one has to wait for the end of these steps.
                    pause = STREAM_SECONDS * max(loop.occupancy, LEAST_OCCUPANCY)
                    steps = _steps_in(pause, seconds / max(1, loop.steps - done))
                if now - reported >= pause * _EARLY:
                    loop.stream(self._is_streamed, self._deliver)
                    reported = now
                    self._on_report()
                elif not self._queue:
                    # Nobody takes the slots of samples that have ended, until their callers hear of it.
                    self._on_report()
            self._on_report()
        except BaseException as error:  # noqa: BLE001 - handed to the callers of `stream` and `result`
            with self._changed:
                self._closed = True
                # Under the lock with `_closed`: no `submit` can add a request that nobody would ever fail.
                self._queue.clear()
                handles = list(self._handles.values())
                self._handles.clear()
                # The other workers drop what they decode for these requests.
                self._note_cancellation()
                self._changed.notify_all()
            # Without the lock: listeners may take locks of their own, and other workers go on meanwhile.
            for handle in handles:
                handle._close(error)

    def _wait_for_work(self, loop: Loop) -> bool:
        """Wait until this worker has samples or there are shares to take. Returns False at the end."""
        with self._changed:
            while not (loop.busy or self._queue or self._closed):
                self._changed.wait()
            # A closed session still ends what its loops hold, so that every caller gets a completion.
            return bool(loop.busy or self._queue or not self._closed)

    def _take(self) -> PromptShare | None:
        """Return the next share for a worker with free slots, None if there is none."""
        with self._changed:
            return self._queue.popleft() if self._queue else None

    def _drop_cancelled(self, loop: Loop) -> None:
        """End cancelled samples of this worker, and cancelled shares that no worker has taken."""
        loop.cancel(self._is_cancelled)
        with self._changed:
            dropped = [share for share in self._queue if self._is_cancelled(share.number)]
            for share in dropped:
                self._queue.remove(share)
        # outside of the lock, as `_finish` wakes callers
        for share in dropped:
            for index in range(share.first, share.first + share.samples):
                self._finish(share.number, index, Completion((), (), False, self._version))

    def _note_cancellation(self) -> None:
        self._cancellations += 1

    def _is_cancelled(self, number: int) -> bool:
        handle = self._handles.get(number)
        return handle is None or handle.cancelled

    def _is_streamed(self, number: int) -> bool:
        handle = self._handles.get(number)
        return handle is not None and handle.is_streamed

    def _deliver(self, sample: StreamedSample, ids: list[int], logprobs: list[float]) -> None:
        handle = self._handles.get(sample.number)
        if handle is not None:
            handle._deliver(sample.index, ids, logprobs)

    def _finish(self, number: int, index: int, completion: Completion) -> None:
        handle = self._handles.get(number)
        if handle is not None and handle._finish(index, completion):
            with self._changed:
                self._handles.pop(number, None)
