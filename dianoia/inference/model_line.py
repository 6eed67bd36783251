"""One model of the live engine: its session, its requests, and how tokens become deltas.

In: requests and what the session's workers report, all in the engine's thread (but for `_Listener`, which workers call, and the
functions that run in the thread for scores). Out: deltas of `Generation`s.

A sampler without sessions gets a `SerialSession`: one request at a time, each by a `generate` of its own, so that its samples do
not depend on other requests. That serves architectures that only transformers runs.
"""

import logging
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.inference.generation import (
    PART,
    Delta,
    Finish,
    Generation,
    LiveSample,
    Part,
    WaitingLine,
)
from dianoia.inference.incremental_text import IncrementalText, StopStrings
from dianoia.sampler.interface import Sampler
from dianoia.sampler.native.cpu.scoring import ScoredSequence, TokenScore
from dianoia.sampler.native.engine import NativeSampler
from dianoia.sampler.native.session import Listener


def open_session(
    sampler: Sampler, context: int, on_report: Callable[[], None] = lambda: None
) -> Any:
    """Return a session of the sampler's own, else one that serves a request at a time.

    context: most tokens of a prompt, and of a response. on_report: see `NativeSampler.session`.
    """
    if isinstance(sampler, NativeSampler):
        return sampler.session(context, context, on_report)
    return SerialSession(sampler, on_report)


@dataclass(eq=False, slots=True)
class SerialHandle:
    """A submitted request."""

    request: Request
    listener: Listener
    cancelled: bool = False

    def cancel(self) -> None:
        """End the request before it runs; one that runs is finished, and nobody hears of its tokens."""
        self.cancelled = True


class SerialSession:
    """Requests that take turns: all tokens of a sample come at its end. Close it to end its thread."""

    slots = 1
    """Requests at a time."""

    def __init__(self, sampler: Sampler, on_report: Callable[[], None]) -> None:
        """on_report: called after a request's calls of its listener."""
        self._sampler, self._on_report = sampler, on_report
        self._queue: deque[SerialHandle] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="dianoia-serial", daemon=True)
        self._thread.start()

    def submit(
        self, request: Request, params: SamplingParams, *, first: int = 0, listener: Listener
    ) -> SerialHandle:
        """Start a request once all earlier ones have ended. `first` has to be 0: samples come whole."""
        assert first == 0, "a request is not divided into parts here"
        handle = SerialHandle(replace(request, params=params), listener)
        with self._changed:
            self._queue.append(handle)
            self._changed.notify_all()
        return handle

    def close(self) -> None:
        """Cancel all requests and end the thread, after the request that runs."""
        with self._changed:
            self._closed = True
            for handle in self._queue:
                handle.cancelled = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while (handle := self._next()) is not None:
            try:
                self._serve(handle)
            except Exception as error:  # noqa: BLE001 - handed to the caller
                handle.listener.failed(error)
            self._on_report()

    def _next(self) -> SerialHandle | None:
        with self._changed:
            while not (self._queue or self._closed):
                self._changed.wait()
            # Also when closed: cancelled requests get their ends before the thread does.
            return self._queue.popleft() if self._queue else None

    def _serve(self, handle: SerialHandle) -> None:
        request, listener = handle.request, handle.listener
        assert request.params is not None
        if handle.cancelled:
            # The engine counts its slots by the ends, so a request that never ran has to report them too.
            for sample in range(request.samples):
                listener.ended(sample, Completion((), (), False))
            return

        def finish(_request: int, sample: int, completion: Completion) -> None:
            if listener.wants_tokens:
                listener.tokens(sample, completion.ids, completion.logprobs)
            listener.ended(sample, completion)

        self._sampler.generate([request], request.params, finish)


log = logging.getLogger(__name__)

_SMOOTHING = 0.1
"""Weight of the newest sample in the mean time of a sample."""


class Inbox(Protocol):
    """Has functions called in the engine's thread, in their order."""

    def put(self, action: Callable[[], None]) -> None:
        """Have a function called soon."""
        ...

    def hold(self, action: Callable[[], None]) -> None:
        """Have a function called after the next `wake`, at the latest."""
        ...

    def wake(self) -> None:
        """Have all functions called soon."""
        ...


class ServedModel(Protocol):
    """The part of `inference.loaded_model.Model` that the engine needs."""

    @property
    def sampler(self) -> Sampler:
        """Draws tokens."""
        ...

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of transformers."""
        ...

    @property
    def positions(self) -> int | None:
        """Most tokens of a prompt and its response together; None if the model does not say."""
        ...


@dataclass(eq=False, slots=True)
class _Live:
    """A request that has not ended."""

    generation: Generation
    samples: list[LiveSample]
    parts: list[Part] = field(default_factory=list)
    """Those that a session has."""


class ModelLine:
    """Requests for one model."""

    def __init__(
        self, name: str, model: ServedModel, context: int, inbox: Inbox, scorer: Executor
    ) -> None:
        """context: most tokens of a prompt and its response. scorer: one thread, in which scores are computed."""
        self.name, self.model, self.context = name, model, context
        self.decode = decoder_of(model.tokenizer)
        self.inbox, self._scorer = inbox, scorer
        self._session: Any = None
        self._line = WaitingLine()
        self._live: dict[Generation, _Live] = {}
        self.lock = threading.Lock()
        """Guards what follows, which `Engine.submit` reads in other threads."""
        self.open = self.running = self.slots = 0
        """Samples that were submitted and have not left; those of them that the session has; its slots."""
        self._seconds = 0.0
        """Smoothed time of a part in its slots."""

    @property
    def can_score(self) -> bool:
        """Return True if log-probabilities can be asked for."""
        sampler = self.model.sampler
        return isinstance(sampler, NativeSampler) and sampler.can_score

    def retry_after(self) -> int:
        """Estimate the seconds until there is room in the queue."""
        turns = (self.open - self.running) / max(self.slots, 1)
        return max(1, min(60, math.ceil(self._seconds * turns / 4)))

    # From the engine -------------------------------------------------------------------------------

    def begin(self, generation: Generation) -> None:
        """Let a new request wait for its turn."""
        request = generation.request
        samples = [
            LiveSample(generation, number, IncrementalText(self.decode), StopStrings(request.stop))
            for number in range(request.samples)
        ]
        self._live[generation] = _Live(generation, samples)
        # Both run side by side: the scores need the prompt alone.
        if request.score_prompt:
            self._scorer.submit(self._score_prompt, generation, samples[0])
        if request.params is not None:
            self._line.append(samples)
            self._serve()

    def end_early(self, generation: Generation, error: BaseException | None = None) -> None:
        """Cancel a request, or end it with an error; nothing happens if it has ended."""
        live = self._live.get(generation)
        if live is None:
            return
        # Only what still waits leaves the count here. What a session has is counted down when its slot is free, in `take_end`.
        waiting = self._line.remove(generation)
        # A request for scores alone never stood in the line, and has no slot to wait for.
        if generation.request.params is None:
            waiting = len(live.samples)
        with self.lock:
            self.open -= waiting
        for sample in live.samples:
            # With an error the caller gets that instead of an end.
            if not sample.ended and error is None:
                self._end(sample, tuple(sample.ids), Delta(sample.number), Finish.CANCELLED)
            sample.ended = True
        if error is not None:
            generation.fail(error)
        # Last: its answer comes through the queue, and finds the samples ended.
        for part in live.parts:
            part.handle.cancel()
        self._forget_if_over(generation)

    def close(self) -> None:
        """Cancel all requests and end the session."""
        for generation in list(self._live):
            self.end_early(generation)
        if self._session is not None:
            self._session.close()

    # Slots -------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Hand waiting samples to the session while it has slots for them."""
        try:
            session = self._opened()
            # A session without parts gets whole requests, one at a time. Any other gets twice as many samples as it has
            # slots: a slot that becomes free is filled at once, without waiting for this thread.
            serial = isinstance(session, SerialSession)
            most = 1 if serial else 2 * session.slots
            while (free := most - self.running) > 0:
                part = self._line.next_part(sys.maxsize if serial else min(PART, free))
                if part is None:
                    return
                self._hand_over(session, part)
        except Exception as error:
            log.exception("The model %r cannot be served.", self.name)
            self._fail(self._session, error)

    def _opened(self) -> Any:
        """Return the session, a new one for the first request and after a failure."""
        if self._session is None:
            self._session = open_session(self.model.sampler, self.context, self.inbox.wake)
            with self.lock:
                self.slots = self._session.slots
        return self._session

    def _hand_over(self, session: Any, part: Part) -> None:
        request = part.generation.request
        with self.lock:
            # Under the lock, as `Engine.submit` reads the counts in the threads of callers.
            self.running += len(part.samples)
        part.session, part.begun = session, time.monotonic()
        self._live[part.generation].parts.append(part)
        part.handle = session.submit(
            Request(request.prompt_ids, len(part.samples), request.key),
            request.params,
            first=part.first,
            listener=_Listener(self, part),
        )

    def take_end(self, part: Part, sample: LiveSample, completion: Completion) -> None:
        """Note that a sample has left its slot; it ends here, unless the caller has its end already."""
        if part.session is self._session:  # not one that has failed
            with self.lock:
                self.running -= 1
                self.open -= 1
                seconds = time.monotonic() - part.begun
                self._seconds += (seconds - self._seconds) * _SMOOTHING
        if not sample.ended:
            self._finish(part, sample, completion)
        self._serve()

    def _finish(self, part: Part, sample: LiveSample, completion: Completion) -> None:
        """End a sample that has left its slot, with the text that its caller has not got yet."""
        finish = Finish.STOP if completion.stopped else Finish.LENGTH
        if not part.reports_tokens:
            # All of its text, and its end with it: a caller that is woken once costs half of one that is woken twice.
            ids = completion.ids[:-1] if completion.stopped else completion.ids
            text = self.decode(list(ids))
            self._end(sample, completion.ids, Delta(sample.number, text), finish)
            return
        # The end may come sooner than the report of the last tokens; those of a session without parts come all at once.
        unseen_ids = completion.ids[len(sample.ids) :]
        if unseen_ids:
            self.take_tokens(sample, unseen_ids)
        if sample.ended:
            return
        # What was held back goes out now: half a UTF-8 character, and the beginning of a stop string that never came whole.
        text = sample.stops.push(sample.text.finish())
        if sample.stops.end is None:
            text += sample.stops.finish()
            self._end(sample, completion.ids, Delta(sample.number, text), finish)
        else:
            self._end_at_stop_string(sample, Delta(sample.number, text))

    def fail(self, part: Part, error: BaseException) -> None:
        """End all requests of a session that has failed."""
        if part.session is self._session:
            self._fail(part.session, error)

    def _fail(self, session: Any, error: BaseException) -> None:
        # The next request opens a new session; what still comes from the old one is not counted.
        self._session = None
        for generation in list(self._live):
            self.end_early(generation, error)
        with self.lock:
            self.open = self.running = 0
        if session is not None:
            session.close()

    # Tokens ------------------------------------------------------------------------------------------

    def take_tokens(self, sample: LiveSample, ids: Sequence[int]) -> None:
        """Turn drawn tokens into text."""
        if sample.ended:
            return
        params = sample.generation.request.params
        assert params is not None
        sample.ids += ids
        sample.generation.results[sample.number].tokens = len(sample.ids)
        # The end token has no text.
        written = ids[:-1] if ids[-1] in params.stop_ids else ids
        delta = Delta(sample.number, sample.stops.push(sample.text.push(written)))
        if sample.stops.end is not None:
            self._end_at_stop_string(sample, delta)
        elif delta.text:
            sample.generation.put(delta)

    def take_scores(self, sample: LiveSample, scores: Sequence[TokenScore]) -> None:
        """Turn scored tokens into text, one by one: a stop string may end in the middle of them."""
        if sample.ended:
            return
        params = sample.generation.request.params
        assert params is not None
        text, counted = "", 0
        for score in scores:
            sample.ids.append(score.id)
            if score.id in params.stop_ids:
                break
            counted += 1
            text += sample.stops.push(sample.text.push([score.id]))
            if sample.stops.end is not None:
                break
        sample.generation.results[sample.number].tokens = len(sample.ids)
        delta = Delta(sample.number, text, tuple(scores[:counted]))
        if sample.stops.end is not None:
            self._end_at_stop_string(sample, delta)
        elif delta.text or delta.scores:
            sample.generation.put(delta)

    def _end_at_stop_string(self, sample: LiveSample, delta: Delta) -> None:
        assert sample.stops.end is not None
        # Tokens may have been drawn behind the stop string; they are no part of the result.
        count = sample.text.tokens_within(sample.stops.end)
        live = self._live.get(sample.generation)
        self._end(sample, tuple(sample.ids[:count]), delta, Finish.STOP)
        # A slot decodes on until all samples of its part have ended.
        for part in live.parts if live is not None else ():
            if all(other.ended for other in part.samples):
                part.handle.cancel()

    def _end(self, sample: LiveSample, ids: tuple[int, ...], delta: Delta, finish: Finish) -> None:
        sample.ended, sample.scored = True, None
        delta.finish = finish
        result = sample.generation.results[sample.number]
        result.ids, result.tokens = ids, len(ids)
        sample.generation.put(delta)
        self._forget_if_over(sample.generation)

    def _forget_if_over(self, generation: Generation) -> None:
        if generation.over:
            # Twice is no error: the end may be reported by a stop string and by the slot.
            self._live.pop(generation, None)

    # Scores, in a thread of their own ------------------------------------------------------------------

    def _score_prompt(self, generation: Generation, sample: LiveSample) -> None:
        def score() -> None:
            _, scores = self._sequence(sample)
            self.inbox.put(partial(self._take_prompt_scores, generation, scores))

        self._guarded(generation, score)

    def score_tokens(self, sample: LiveSample, ids: Sequence[int]) -> None:
        """Score drawn tokens, then hand them on. Called by a worker."""

        def score() -> None:
            if not sample.ended:
                sequence, _ = self._sequence(sample)
                scores = sequence.extend(ids, sample.generation.request.likeliest or 0)
                self.inbox.put(partial(self.take_scores, sample, scores))

        # Not in the worker: it would hold up every other sample's decoding.
        self._scorer.submit(self._guarded, sample.generation, score)

    def after_scores(self, action: Callable[[], None]) -> None:
        """Call a function in the engine's thread, after all scores that are being computed have come there."""
        # Its one thread works in order, so this call comes behind every score that was submitted before.
        self._scorer.submit(self.inbox.put, action)

    def _guarded(self, generation: Generation, score: Callable[[], None]) -> None:
        try:
            score()
        except Exception as error:  # noqa: BLE001 - handed to the caller
            self.inbox.put(partial(self.end_early, generation, error))

    def _sequence(self, sample: LiveSample) -> tuple[ScoredSequence, list[TokenScore]]:
        """Return a sample's sequence, and the scores of its prompt if it is read only now."""
        if sample.scored is not None:
            return sample.scored, []
        request, sampler = sample.generation.request, self.model.sampler
        assert isinstance(sampler, NativeSampler)
        response = 0 if request.params is None else request.params.max_tokens
        sequence = sampler.scored(len(request.prompt_ids) + response)
        scores = sequence.extend(request.prompt_ids, request.likeliest or 0)
        # Kept for the tokens of the response, which then need not read the prompt again.
        if response and not sample.ended:
            sample.scored = sequence
        return sequence, scores

    def _take_prompt_scores(self, generation: Generation, scores: Sequence[TokenScore]) -> None:
        # Set before a delta, which is what the caller waits for.
        generation.prompt_scores = tuple(scores)
        live = self._live.get(generation)
        if live is not None and generation.request.params is None:
            with self.lock:
                self.open -= len(live.samples)
            for sample in live.samples:
                self._end(sample, (), Delta(sample.number), Finish.LENGTH)


class _Listener:
    """Passes what the session's workers report of a part to the engine's thread."""

    def __init__(self, line: ModelLine, part: Part) -> None:
        self._line, self._part = line, part
        self._is_scored = part.generation.request.likeliest is not None
        self.wants_tokens = part.reports_tokens

    def tokens(self, sample: int, ids: Sequence[int], logprobs: Sequence[float]) -> None:
        """See `Listener`."""
        live = self._sample(sample)
        if self._is_scored:
            self._line.score_tokens(live, ids)
        else:
            self._line.inbox.hold(partial(self._line.take_tokens, live, ids))

    def ended(self, sample: int, completion: Completion) -> None:
        """See `Listener`."""
        take = partial(self._line.take_end, self._part, self._sample(sample), completion)
        # Scores come from another thread, which may be behind.
        (self._line.after_scores if self._is_scored else self._line.inbox.hold)(take)

    def failed(self, error: BaseException) -> None:
        """See `Listener`."""
        self._line.inbox.put(partial(self._line.fail, self._part, error))

    def _sample(self, number: int) -> LiveSample:
        return self._part.samples[number - self._part.first]


def decoder_of(tokenizer: Any) -> Callable[[list[int]], str]:
    """Return a function that decodes ids with special tokens, as `RolloutSampler.text` does, only faster."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return partial(backend.decode, skip_special_tokens=False)
    return partial(tokenizer.decode, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def check_scores(line: ModelLine) -> None:
    """Raise ConfigError if a model cannot score tokens."""
    if not line.can_score:
        raise ConfigError(
            f"The model {line.name!r} runs without the C functions for a CPU, which log-probabilities need. Leave them out, or "
            "serve it with device 'cpu' and a C compiler."
        )
