"""The live engine: requests for several models are submitted, streamed and cancelled while others run.

    with Engine({"zero": dianoia.load("runs/miniature-r1:zero")}) as engine:
        for delta in engine.submit("zero", GenerationRequest(prompt_ids, params, key)):
            print(delta.text, end="")

In: prompt ids with sampling parameters, the key of a seed, stop strings. Out: a `Generation` per request. One thread owns all
state: it hands samples to the samplers' sessions, whose workers decode, and turns tokens into text. A sample depends on its
prompt, parameters, key and number alone, never on what runs beside it, nor on when it came. A server has its event loop do the
thread's work (`serve_in`), since each change of threads takes as long as a short request. Not here: chat messages and thoughts
(`chat_messages`, `thought_stream`), HTTP (`serve`).

Waiting clients take turns, one part of a request each, so that nobody's many samples hold up another one's single one. The
queue is bounded; beyond it `submit` raises EngineFull.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.records import Request
from dianoia.inference.generation import Generation, GenerationRequest
from dianoia.inference.model_line import ModelLine, ServedModel, check_scores
from dianoia.sampler.interface import check_requests

log = logging.getLogger(__name__)

CONTEXT = 8192
"""Positions of a request when nobody sets a limit and the model has more: their memory is set aside per slot."""


class EngineFull(Exception):
    """Too many samples wait."""

    def __init__(self, message: str, retry_after: int) -> None:
        """retry_after: estimate in seconds."""
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What one model is doing."""

    running: int
    """Samples that are decoded."""
    waiting: int
    """Samples in the queue, those of which only the prompt is scored included."""
    slots: int
    """Most samples decoded at a time; 0 before the first request."""


class _Inbox:
    """Actions that one thread does in their order, whichever threads they come from."""

    def __init__(self, wake: Callable[[], object]) -> None:
        """wake: has that thread call `work`."""
        self._wake = wake
        self._actions: deque[Callable[[], None]] = deque()
        self._is_woken = False

    def put(self, action: Callable[[], None]) -> None:
        """Add an action, and have it done soon."""
        self.hold(action)
        self.wake()

    def hold(self, action: Callable[[], None]) -> None:
        """Add an action that is done with the next ones, once somebody wakes the thread."""
        self._actions.append(action)

    def wake(self) -> None:
        """Have the actions done. Waking a thread is dear, so it is woken once for all that has come."""
        if self._actions and not self._is_woken:
            self._is_woken = True
            self._wake()

    def wake_by(self, wake: Callable[[], object]) -> None:
        """Have another thread call `work` from now on."""
        self._wake, self._is_woken = wake, False
        self.wake()

    def work(self) -> None:
        """Do what has come."""
        # Before the first is taken: an action that comes now either is taken too, or wakes the thread again.
        self._is_woken = False
        while self._actions:
            action = self._actions.popleft()
            try:
                action()
            except Exception:
                # Requests that fail end by `fail`; what else goes wrong must not hold up the others.
                log.exception("The engine failed.")


class Engine:
    """Serves models by name. Close it, or use it in a `with` statement, to end its threads."""

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        *,
        max_waiting: int = 256,
        context: int | None = None,
    ) -> None:
        """Begin to serve.

        Args:
            models: by the name that requests give; `add` takes more.
            max_waiting: samples that may wait for one model, beside those that run.
            context: most tokens of a prompt and its response; None: the model's positions, or `CONTEXT`.
        """
        self._max_waiting, self._context = max_waiting, context
        self._alarms: SimpleQueue[bool] = SimpleQueue()
        """Wake the engine's thread; False ends it."""
        # Every change of state is a call in there, so that one thread makes all of them and needs no lock.
        self._inbox = _Inbox(partial(self._alarms.put, True))
        # One worker: scores of a sample extend one KV cache, so they have to be computed in the order of its tokens.
        self._scorer = ThreadPoolExecutor(1, thread_name_prefix="dianoia-scores")
        self._lines: dict[str, ModelLine] = {}
        self._closed = False
        self._lock = threading.Lock()
        """Guards `_closed`: nothing is submitted behind the end."""
        for name, model in models.items():
            self.add(name, model)
        self._thread: threading.Thread | None = threading.Thread(
            target=self._run, name="dianoia-engine", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, name: str, model: ServedModel) -> None:
        """Serve another model too."""
        limits = (model.positions, self._context or CONTEXT)
        context = min(limit for limit in limits if limit is not None)
        self._lines[name] = ModelLine(name, model, context, self._inbox, self._scorer)

    def context(self, model: str) -> int:
        """Return the most tokens of a prompt and its response. Raises ConfigError for an unknown model."""
        return self._line(model).context

    def can_score(self, model: str) -> bool:
        """Return True if log-probabilities can be asked for. Raises ConfigError for an unknown model."""
        return self._line(model).can_score

    def stats(self, model: str) -> EngineStats:
        """Return what a model is doing. Raises ConfigError for an unknown model."""
        line = self._line(model)
        with line.lock:
            return EngineStats(line.running, line.open - line.running, line.slots)

    def submit(self, model: str, request: GenerationRequest) -> Generation:
        """Begin to generate; may be called from any thread.

        Raises:
            ConfigError: an unknown model, parameters out of range, a request that is too long, has more samples than the
                queue takes, or asks for scores that cannot be computed; a closed engine.
            EngineFull: too many samples wait.
        """
        line = self._line(model)
        _check(line, request)
        # Made outside of the lock, which is held for the count and the queue alone.
        generation = Generation(model, request, self._cancel, line.decode)
        with self._lock:
            if self._closed:
                raise ConfigError("The engine is closed. Open another one to submit requests.")
            # Counted at once, not by the thread: otherwise many callers could pass the limit before the first is served.
            self._count(line, request.samples)
            self._inbox.put(partial(line.begin, generation))
        return generation

    def serve_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have an event loop do the work of the engine's thread from now on; called in its thread, before any request.

        `close` is called in that thread too.
        """
        with self._lock:
            self._end_thread()
            self._inbox.wake_by(partial(loop.call_soon_threadsafe, self._inbox.work))

    def _end_thread(self) -> None:
        if self._thread is not None:
            self._alarms.put(False)
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Cancel all requests and end the threads."""
        with self._lock:
            if self._closed:
                return
            # Before the stop is put into the queue: behind it nothing would be served, and a caller would wait for ever.
            self._closed = True
        self._end_thread()
        # What was submitted last begins, to be cancelled with the rest: no caller is left waiting.
        self._inbox.work()
        for line in self._lines.values():
            line.close()
        self._scorer.shutdown()

    def _line(self, model: str) -> ModelLine:
        if model not in self._lines:
            raise ConfigError(
                f"model {model!r}: there is no such model{nearest(model, self._lines)}; there are {', '.join(self._lines)}"
            )
        return self._lines[model]

    def _count(self, line: ModelLine, samples: int) -> None:
        """Count samples that come. Raises ConfigError or EngineFull if there is no room for them."""
        with line.lock:
            # There are no slots yet before the first request has opened the session.
            room = max(line.slots, 1) + self._max_waiting
            if samples > room:
                raise ConfigError(
                    f"The request asks for {samples} samples, and at most {room} may run or wait at a time; ask for fewer."
                )
            if line.open + samples > room:
                seconds = line.retry_after()
                raise EngineFull(
                    f"{line.open - line.running} samples wait already, and {self._max_waiting} may; try again in about "
                    f"{seconds} s.",
                    seconds,
                )
            line.open += samples

    def _cancel(self, generation: Generation) -> None:
        self._inbox.put(partial(self._lines[generation.model].end_early, generation))

    def _run(self) -> None:
        while self._alarms.get():
            self._inbox.work()


def _check(line: ModelLine, request: GenerationRequest) -> None:
    """Raise ConfigError for a request that the model cannot serve."""
    if request.samples < 1:
        raise ConfigError(f"The request asks for {request.samples} samples; ask for one or more.")
    if request.likeliest is not None or request.score_prompt:
        check_scores(line)
    # An id beyond the embedding table would read foreign memory.
    rows = line.model.sampler.vocabulary
    stranger = next((token for token in request.prompt_ids if not 0 <= token < rows), None)
    if stranger is not None:
        raise ConfigError(
            f"The prompt holds the token {stranger}, and the model {line.name!r} has the tokens 0 to {rows - 1}."
        )
    if request.params is not None:
        whole = Request(request.prompt_ids, request.samples, request.key, request.params)
        check_requests([whole], request.params, line.context)
    elif not 1 <= len(request.prompt_ids) <= line.context:
        raise ConfigError(
            f"The prompt has {len(request.prompt_ids)} tokens; one that is scored has 1 to {line.context}."
        )
