"""Responses that notice when their client goes away: server-sent events, and answers that are waited for.

In: events, or a coroutine. Out: a response. Whoever goes away cancels the work, whose `finally` frees its slots.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dianoia.serve.api_errors import ApiError

log = logging.getLogger(__name__)

T = TypeVar("T")


class ClientGone(Exception):
    """The client has closed its connection; nobody reads an answer."""


async def while_connected(
    receive: Receive, work: Coroutine[Any, Any, T], seconds: float | None = None
) -> T:
    """Return what a coroutine returns, and cancel it if the client goes away first.

    Raises ClientGone, and TimeoutError where it takes longer than `seconds`.
    """
    # `receive` is the only way in which ASGI tells that a client has gone, so it is awaited beside the work.
    task = asyncio.ensure_future(work)
    disconnected = asyncio.ensure_future(_gone(receive))
    try:
        both = {task, disconnected}
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone if disconnected.done() else TimeoutError
    finally:
        disconnected.cancel()
        if not task.done():
            task.cancel()
            # Its `finally` has run before the caller goes on.
            await asyncio.gather(task, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    # What is left of a body comes first and is passed over.
    while (await receive())["type"] != "http.disconnect":
        pass


def as_json(value: Any) -> str:
    """Return compact JSON, characters of all languages as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class EventStream(Response):
    """Server-sent events, each a JSON object, `[DONE]` at the end; an error becomes an event, since the status is sent by then."""

    media_type = "text/event-stream"

    def __init__(
        self,
        request: Request,
        events: AsyncIterator[dict[str, Any]],
        seconds: float,
        headers: Mapping[str, str],
    ) -> None:
        """seconds: that the stream may take."""
        super().__init__(headers={**headers, "Cache-Control": "no-store"})
        # Starlette sets it to 0 for a response without a body; a stream has no known length.
        del self.headers["content-length"]
        self._receive, self._events, self._seconds = request.receive, events, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        try:
            # Without the end of the body the client sees that the stream was cut.
            await while_connected(self._receive, self._send(send))
        except (ClientGone, OSError):
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send) -> None:
        async def data(text: str) -> None:
            # JSON without line breaks is one `data:` line; each event is whole UTF-8, as no delta ends within a character.
            body = f"data: {text}\n\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})

        try:
            # The status was sent, so from here on every failure has to become an event.
            async with asyncio.timeout(self._seconds):
                async for event in self._events:
                    await data(as_json(event))
            await data("[DONE]")
        except ApiError as error:
            await data(as_json(error.body()))
        except TimeoutError:
            await data(as_json(timed_out(self._seconds).body()))
        except OSError:
            raise  # the connection's
        except Exception as error:
            log.exception("A stream failed.")
            await data(as_json(ApiError(500, f"The server failed: {error}").body()))
        finally:
            # Cancels the generations now, not when the iterator is collected.
            await self._events.aclose()  # type: ignore[attr-defined]


def timed_out(seconds: float) -> ApiError:
    """Return the error for a request that took too long."""
    return ApiError(
        504,
        f"The answer was not complete within {seconds:g} seconds. Ask for fewer tokens, or stream it.",
        code="timeout",
    )
