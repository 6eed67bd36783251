"""A submitted request of the live engine: deltas while they come, then results; and how requests wait for their turn.

In: what the engine reports, from its own thread. Out: a `Generation`, which one thread reads with `for`, or a coroutine with
`async for`. Text that nobody has read yet is joined, so a slow reader gets fewer, longer deltas, and a result that waits
unread takes no more memory than its text.
"""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dianoia.base.records import SamplingParams
from dianoia.inference.incremental_text import IncrementalText, StopStrings
from dianoia.sampler.native.cpu.scoring import ScoredSequence, TokenScore


class Finish(StrEnum):
    """How a sample ended."""

    STOP = "stop"
    """The model ended it, or a stop string came."""
    LENGTH = "length"
    """It reached `max_tokens`."""
    CANCELLED = "cancelled"
    """The caller cancelled it, or the engine was closed."""


class EngineFailed(RuntimeError):
    """The engine failed while it served a request: a fault of the program or of the machine."""


@dataclass(slots=True)
class Delta:
    """What a sample has got since the last delta."""

    sample: int
    """Number among the samples of the request, from 0."""
    text: str = ""
    scores: tuple[TokenScore, ...] = ()
    """The tokens of the text, where log-probabilities were asked for. Text may come after its tokens: the engine holds back
    what may become a stop string."""
    finish: Finish | None = None
    """Set in a sample's last delta."""


@dataclass(slots=True)
class SampleResult:
    """A sample, complete once `finish` is set."""

    text: str = ""
    """Without stop string and end token."""
    tokens: int = 0
    """Number of tokens so far."""
    ids: tuple[int, ...] = ()
    """There at the end. Up to and including the end token, or the token with the end of a stop string."""
    scores: tuple[TokenScore, ...] = ()
    """See `Delta.scores`; the end token has none."""
    finish: Finish | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What a caller asks the engine for."""

    prompt_ids: tuple[int, ...]
    params: SamplingParams | None
    """None: no token is drawn, only the prompt is scored."""
    key: tuple[int, ...]
    """Seeds a sample together with its number, see `base.streams`."""
    samples: int = 1
    stop: tuple[str, ...] = ()
    """A sample ends before the first of these that appears in its text."""
    likeliest: int | None = None
    """Score each token, with so many of the likeliest ones at its place; None: no scores."""
    score_prompt: bool = False
    """Score the prompt too."""
    streamed: bool = True
    """False: all text of a sample comes at once, at its end, which is cheaper."""
    client: str = ""
    """Whom the request is for: waiting clients take turns."""


class Generation:
    """A request that the engine works on. Iterate over its deltas, or wait for `result`; cancel it at any time."""

    def __init__(
        self,
        model: str,
        request: GenerationRequest,
        cancel: Callable[["Generation"], None],
        decode: Callable[[list[int]], str],
    ) -> None:
        """Made by `Engine.submit`."""
        self.model, self.request = model, request
        self.results = [SampleResult() for _ in range(request.samples)]
        """One per sample; read them after the end."""
        self.prompt_scores: tuple[TokenScore, ...] = ()
        """The tokens of the prompt, if `score_prompt` asked for them; there before the first delta."""
        self._cancel, self._decode = cancel, decode
        # Held for moments only: the engine's thread serves all requests and must never wait for a reader.
        self._changed = threading.Condition()
        self._unread: dict[int, Delta] = {}
        """By sample, in the order of arrival."""
        self._unfinished = request.samples
        self._error: BaseException | None = None
        self._wake: Callable[[], None] | None = None

    # For the caller ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Delta]:
        """Yield deltas until all samples have ended; blocks the thread. Raises EngineFailed."""
        while True:
            with self._changed:
                while not (self._unread or self._is_over()):
                    self._changed.wait()
                delta = self._pop()
            if delta is None:
                return
            yield delta

    async def __aiter__(self) -> AsyncIterator[Delta]:
        """Yield deltas until all samples have ended. Raises EngineFailed."""
        loop = asyncio.get_running_loop()
        while True:
            event: asyncio.Event | None = None
            with self._changed:
                if not (self._unread or self._is_over()):
                    # Made and registered under the lock, so that a delta which comes right now is not missed.
                    event = asyncio.Event()
                    self._wake = _waking(loop, event)
                else:
                    delta = self._pop()
            if event is not None:
                # Outside of the lock, which the engine needs in order to wake this coroutine.
                await event.wait()
            elif delta is None:
                return
            else:
                yield delta

    def result(self, timeout: float | None = None) -> list[SampleResult]:
        """Wait for the end and return the samples. Raises TimeoutError after `timeout` seconds, and EngineFailed."""
        with self._changed:
            if not self._changed.wait_for(self._is_over, timeout):
                raise TimeoutError(f"the request did not end within {timeout} seconds")
        self._raise_error()
        return self.results

    async def aresult(self) -> list[SampleResult]:
        """Wait for the end and return the samples. Raises EngineFailed."""
        async for _ in self:
            pass
        return self.results

    def cancel(self) -> None:
        """End the request; slots become free after the decoding steps in progress. Does nothing after the end."""
        self._cancel(self)

    @property
    def completion_tokens(self) -> int:
        """Tokens of all samples so far, end tokens included."""
        return sum(result.tokens for result in self.results)

    def tokens_within(self, sample: int, characters: int) -> int:
        """Return how many tokens of a sample hold the first `characters` characters of its text."""
        text = IncrementalText(self._decode)
        text.push(self.results[sample].ids)
        return text.tokens_within(characters)

    # For the engine, in its thread -----------------------------------------------------------------

    def put(self, delta: Delta) -> None:
        """Add to a sample's results and let the caller know."""
        result = self.results[delta.sample]
        result.text += delta.text
        result.scores += delta.scores
        with self._changed:
            # Joined with what nobody has read: the memory of a slow reader's request is bounded by its text.
            waiting = self._unread.setdefault(delta.sample, Delta(delta.sample))
            waiting.text += delta.text
            waiting.scores += delta.scores
            waiting.finish = result.finish = delta.finish
            self._unfinished -= delta.finish is not None
            wake = self._notify()
        if wake is not None:
            wake()

    def fail(self, error: BaseException) -> None:
        """End the request with an error, which iteration and `result` raise."""
        with self._changed:
            # The first error is the cause; later ones follow from it.
            self._error = self._error or error
            wake = self._notify()
        if wake is not None:
            wake()

    @property
    def over(self) -> bool:
        """True once nothing more will come."""
        with self._changed:
            return self._is_over()

    def _notify(self) -> Callable[[], None] | None:
        self._changed.notify_all()
        # Each wait registers an event of its own, so one that was used must not stay.
        wake, self._wake = self._wake, None
        return wake

    def _is_over(self) -> bool:
        return self._error is not None or not self._unfinished

    def _pop(self) -> Delta | None:
        """Return the oldest delta; None at the end."""
        # What has come before an error is still handed out.
        if self._unread:
            return self._unread.pop(next(iter(self._unread)))
        self._raise_error()
        return None

    def _raise_error(self) -> None:
        if self._error is not None:
            raise EngineFailed(f"the engine failed: {self._error}") from self._error


def _waking(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> Callable[[], None]:
    """Return a function that sets an event of a loop from any thread. Called in the loop's."""

    thread = threading.get_ident()

    def wake() -> None:
        if threading.get_ident() == thread:
            event.set()
            return
        # The loop may have ended while the engine still worked for it.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(event.set)

    return wake


# Waiting for a turn --------------------------------------------------------------------------------
# Clients take turns, one part of a request each. All calls come from the engine's thread.

PART = 8
"""Most samples of a request that are served at a time; they share one reading of the prompt."""


@dataclass(eq=False, slots=True)
class LiveSample:
    """A sample of a request, until it has ended."""

    generation: Generation
    number: int
    text: IncrementalText
    stops: StopStrings
    ids: list[int] = field(default_factory=list)
    """Tokens that have become text."""
    ended: bool = False
    """The caller has its end; its slot may decode on for a moment."""
    scored: ScoredSequence | None = None
    """Prompt and tokens so far, where scores were asked for."""


@dataclass(eq=False, slots=True)
class Part:
    """Samples of a request that are handed to a session together."""

    samples: list[LiveSample]
    session: Any = None
    """The session that has them."""
    handle: Any = None
    begun: float = 0.0
    """Time of the monotonic clock."""

    @property
    def generation(self) -> Generation:
        """The request."""
        return self.samples[0].generation

    @property
    def first(self) -> int:
        """Number of the first sample."""
        return self.samples[0].number

    @property
    def reports_tokens(self) -> bool:
        """True if tokens are looked at while they are drawn: for a stream, for stop strings, for scores."""
        request = self.generation.request
        return request.streamed or bool(request.stop) or request.likeliest is not None


class WaitingLine:
    """Samples that wait."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, deque[deque[LiveSample]]] = OrderedDict()
        """Requests by client; the first client is served next."""

    def append(self, samples: list[LiveSample]) -> None:
        """Add the samples of a request to those of its client."""
        client = samples[0].generation.request.client
        self._clients.setdefault(client, deque()).append(deque(samples))

    def next_part(self, most: int) -> Part | None:
        """Return up to `most` samples of the request whose turn it is; None if nobody waits."""
        if not self._clients:
            return None
        # The client goes out and comes back at the end of the line, which is what makes clients take turns.
        client, requests = self._clients.popitem(last=False)
        samples = requests.popleft()
        part = Part([samples.popleft() for _ in range(min(most, len(samples)))])
        # Behind the client's other requests, and behind the other clients.
        if samples:
            requests.append(samples)
        if requests:
            self._clients[client] = requests
        return part

    def remove(self, generation: Generation) -> int:
        """Remove what waits of a request, and return the number of samples."""
        client = generation.request.client
        requests = self._clients.get(client, deque())
        removed = [samples for samples in requests if samples[0].generation is generation]
        for samples in removed:
            requests.remove(samples)
        if not requests:
            self._clients.pop(client, None)
        return sum(map(len, removed))
