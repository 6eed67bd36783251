"""A session for samplers that have none: one request at a time, each by a `generate` of its own.

In: requests. Out: calls of a `Listener`, as from `sampler.native.cpu.session`, only that all tokens of a sample come at its
end. It serves models on a GPU, without a C compiler, and of architectures that only transformers runs. A request has the
sampler to itself, so its samples do not depend on other requests.
"""

import threading
from collections import deque
from dataclasses import dataclass, replace

from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.sampler.interface import Sampler
from dianoia.sampler.native.cpu.session import Listener


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
    """Requests that take turns. Close it to end its thread."""

    slots = 1
    """Requests at a time."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
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
            listener.tokens(sample, completion.ids, completion.logprobs)
            listener.ended(sample, completion)

        self._sampler.generate([request], request.params, finish)
