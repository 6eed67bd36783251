"""What both endpoints share: from a request to its response, waiting for its generations or streaming them, and counting.

In: a request's generations. Out: their results, or their deltas in the order in which they come.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dianoia.base.bounded_json import UnreadableJSON, parse_json
from dianoia.inference.generation import Delta, EngineFailed, Finish, Generation
from dianoia.inference.loaded_model import Model
from dianoia.serve.api_errors import ApiError
from dianoia.serve.event_stream import EventStream, timed_out, while_connected
from dianoia.serve.request_types import RequestT, read_request
from dianoia.serve.service import Service

IGNORED_HEADER = "X-Dianoia-Ignored"
"""Names the fields of a request that were accepted and ignored."""


_SMALL_BODY = 4096
"""Bytes of a request that is tokenized at once; a larger one would stop the event loop for milliseconds."""


def read_json(body: bytes) -> Any:
    """Return the value of a request's body. Raises ApiError (400) for what is no JSON."""
    try:
        return parse_json(body)
    except UnreadableJSON as error:
        raise ApiError(
            400, f"The body cannot be read as JSON: {error}.", code="invalid_json"
        ) from None


def client_of(request: Request, user: str | None) -> str:
    """Return whom a request is for: its address, and its user if it names one."""
    address = request.client.host if request.client else ""
    return f"{address}/{user or ''}"


@dataclass(slots=True)
class Answering:
    """A request that is being answered."""

    service: Service
    endpoint: str
    model: str
    generations: list[Generation]
    seed: int
    prefix: str
    """Of its id, as OpenAI's API has it."""
    id: str = field(init=False)
    created: int = field(init=False)
    _began: float = field(init=False)
    _is_first: bool = True

    def __post_init__(self) -> None:
        self.id = f"{self.prefix}-{random.getrandbits(128):032x}"
        self.created, self._began = int(time.time()), time.monotonic()

    def head(self, object_type: str) -> dict[str, Any]:
        """Return the fields that every object of the answer begins with."""
        return {
            "id": self.id,
            "object": object_type,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": f"dianoia-{self.service.checkpoints[self.model].name}",
            # Ours: the same seed gives the same answer again.
            "seed": self.seed,
        }

    async def finished(self, request: Request) -> None:
        """Wait for the end. Raises ApiError if it fails or takes too long, and ClientGone."""
        seconds = self.service.options.timeout
        try:
            await while_connected(request.receive, self._finish(), seconds)
        except TimeoutError:
            raise timed_out(seconds) from None

    async def _finish(self) -> None:
        with self._ending():
            # One after the other, as nothing is sent before the last one's end.
            for generation in self.generations:
                async for delta in generation:
                    self._notice(delta)

    async def deltas(self) -> AsyncIterator[tuple[int, Delta]]:
        """Yield (number of the generation, delta); when it is left early, all generations are cancelled."""
        with self._ending():
            async for number, delta in _merged(self.generations):
                self._notice(delta)
                yield number, delta

    def _notice(self, delta: Delta) -> None:
        if self._is_first:
            self._is_first = False
            seconds = time.monotonic() - self._began
            self.service.metrics.observe("first_token_seconds", seconds, model=self.model)
        if delta.finish is Finish.CANCELLED:
            raise ApiError(503, "The server is stopping.", code="stopping")

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except EngineFailed as error:
            raise ApiError(500, f"The server failed: {error}.", code="engine_failed") from error
        finally:
            # A client that goes away must not keep its slots.
            for generation in self.generations:
                if not generation.over:
                    generation.cancel()
            self._count()

    def _count(self) -> None:
        metrics, model = self.service.metrics, self.model
        prompts = sum(len(generation.request.prompt_ids) for generation in self.generations)
        completions = sum(generation.completion_tokens for generation in self.generations)
        metrics.count("prompt_tokens_total", prompts, model=model)
        metrics.count("completion_tokens_total", completions, model=model)
        seconds = time.monotonic() - self._began
        metrics.observe("request_seconds", seconds, model=model, endpoint=self.endpoint)

    def usage(self, reasoning_tokens: int = 0) -> dict[str, Any]:
        """Return the number of tokens so far."""
        prompt = sum(len(generation.request.prompt_ids) for generation in self.generations)
        completion = sum(generation.completion_tokens for generation in self.generations)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "completion_tokens_details": {"reasoning_tokens": reasoning_tokens},
        }


class Answer(Protocol):
    """A request of one endpoint that is being answered."""

    answering: Answering

    def body(self) -> dict[str, Any]:
        """Return the whole answer, once all generations have ended."""

    def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the objects of a stream."""


Begin = Callable[[Service, str, Model, RequestT, Request], Answer]
"""Begins to answer: the service, the name of the model, the model, the request and the HTTP request that it came in."""


async def respond(
    service: Service, http: Request, request_type: type[RequestT], begin: Begin[RequestT]
) -> Response:
    """Read a request, begin to answer it, and return the whole answer or its stream. Raises ApiError and ClientGone."""
    body = await http.body()
    # Only an escape can bring half of a surrogate pair into UTF-8.
    request, ignored = read_request(request_type, read_json(body), b"\\u" in body)
    name = service.name_of(request.model)
    # Loading takes seconds and tokenizing a long prompt milliseconds: neither may stop the event loop. A thread for each request
    # would take more time than most prompts.
    model = service.loaded_model(name)
    if model is None:
        model = await run_in_threadpool(service.model, name)
    if len(body) <= _SMALL_BODY:
        answer = begin(service, name, model, request, http)
    else:
        answer = await run_in_threadpool(begin, service, name, model, request, http)
    headers = {IGNORED_HEADER: ", ".join(ignored)} if ignored else {}
    if request.stream:
        return EventStream(http, answer.chunks(), service.options.timeout, headers)
    await answer.answering.finished(http)
    return JSONResponse(answer.body(), headers=headers)


async def _merged(generations: Sequence[Generation]) -> AsyncIterator[tuple[int, Delta]]:
    """Yield the deltas of several generations as they come."""
    if len(generations) == 1:
        async for delta in generations[0]:
            yield 0, delta
        return
    # Unbounded, but small: each generation joins what nobody has read, so a slow client makes few entries.
    queue: asyncio.Queue[tuple[int, Delta] | BaseException | None] = asyncio.Queue()

    async def pump(number: int, generation: Generation) -> None:
        try:
            async for delta in generation:
                queue.put_nowait((number, delta))
            # None says that one generation has ended; an error ends all of them.
            queue.put_nowait(None)
        except EngineFailed as error:
            queue.put_nowait(error)

    tasks = [asyncio.ensure_future(pump(*pair)) for pair in enumerate(generations)]
    try:
        open_count = len(tasks)
        while open_count:
            item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                open_count -= 1
            else:
                yield item
    finally:
        # A task that waits for a delta would otherwise outlive the request.
        for task in tasks:
            task.cancel()
