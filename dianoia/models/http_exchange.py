"""One HTTP exchange with a server that nobody here vouches for: bounded in time and in size, whatever it does.

In: a request. Out: status, headers and body, or `ExchangeFailed` with a reason in words. The bound on time is on the
whole of it, from the connection to the last byte, so that a server that sends a byte now and then, or `100 Continue`
without end, holds nobody up; the bound on size holds before and after decompression. Redirects are not followed: the
request carries a key that is meant for one host.
"""

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""Tells zlib to look at the first bytes."""
_PLAIN = frozenset({"", "identity"})


class ExchangeFailed(Exception):
    """There is no reply that could be used; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an exchange may take."""

    seconds: float
    """From the connection to the last byte."""
    size: int
    """Bytes of the body, compressed or not."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names are looked up whatever their case."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as text, for messages."""
        return self.body.decode("utf-8", "replace")


async def post(
    client: httpx2.AsyncClient, url: str, body: bytes, headers: Mapping[str, str], bounds: Bounds
) -> Reply:
    """Send JSON and read the reply. Raises ExchangeFailed."""
    sent = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
    try:
        async with asyncio.timeout(bounds.seconds):
            request = client.stream("POST", url, content=body, headers=sent, follow_redirects=False)
            async with request as response:
                raw = await _read(response, bounds.size)
                encoding = response.headers.get("content-encoding", "").strip().lower()
                return Reply(
                    response.status_code, response.headers, _decoded(raw, encoding, bounds.size)
                )
    except TimeoutError:
        raise ExchangeFailed(f"it took more than {bounds.seconds:g} seconds in all") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
        raise ExchangeFailed(f"{type(error).__name__} ({error})") from None


async def _read(response: httpx2.Response, size: int) -> bytes:
    parts, length = [], 0
    async for part in response.aiter_raw():
        length += len(part)
        if length > size:
            raise _too_long(size)
        parts.append(part)
    return b"".join(parts)


def _decoded(raw: bytes, encoding: str, size: int) -> bytes:
    if encoding in _PLAIN or not raw:
        return raw
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ExchangeFailed(f"a reply encoded as {encoding[:40]!r}, which nobody asked for")
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        body = unpacker.decompress(raw, size + 1)
    except zlib.error as error:
        raise ExchangeFailed(f"a reply that cannot be unpacked ({error})") from None
    if len(body) > size:
        raise _too_long(size)
    if not unpacker.eof:
        raise ExchangeFailed("a reply whose compressed data end too early")
    return body


def _too_long(size: int) -> ExchangeFailed:
    return ExchangeFailed(f"a reply of more than {size // 2**20} MiB")
