"""One HTTP exchange with an untrusted server, bounded in time and size.

In: a request. Out: status, headers and body, or `ExchangeFailed` with a reason in words. The time limit covers the
whole exchange, from the connection to the last byte: a server that sends a byte now and then, or `100 Continue`
without end, cannot stall the caller. The size limit holds before and after decompression. Redirects are not
followed: the request carries a key that is meant for one host.
"""

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""Lets zlib detect the format from the first bytes."""
_PLAIN = frozenset({"", "identity"})


class ExchangeFailed(Exception):
    """There is no usable reply; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits on an exchange."""

    seconds: float
    """Time from the connection to the last byte."""
    size: int
    """Bytes of the body, before and after decompression."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply of the server."""

    status: int
    headers: Mapping[str, str]
    """Lookup ignores the case of names."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as text, for messages."""
        return self.body.decode("utf-8", "replace")


async def post(
    client: httpx2.AsyncClient, url: str, body: bytes, headers: Mapping[str, str], bounds: Bounds
) -> Reply:
    """Send JSON and read the reply. Raises ExchangeFailed."""
    # "identity" asks for no compression. A server may compress all the same.
    all_headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
    try:
        # httpx's own timeout bounds a silence between bytes, not the whole exchange.
        async with asyncio.timeout(bounds.seconds):
            request = client.stream(
                "POST", url, content=body, headers=all_headers, follow_redirects=False
            )
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
    """Read the raw body. Raises ExchangeFailed beyond `size` bytes."""
    # Raw bytes: httpx would decompress without a limit.
    parts, length = [], 0
    async for part in response.aiter_raw():
        length += len(part)
        if length > size:
            raise _too_long(size)
        parts.append(part)
    return b"".join(parts)


def _decoded(raw: bytes, encoding: str, size: int) -> bytes:
    """Decompress a body. Raises ExchangeFailed beyond `size` bytes, without expanding it further."""
    if encoding in _PLAIN or not raw:
        return raw
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ExchangeFailed(f"a reply encoded as {encoding[:40]!r}, which was not requested")
    decompressor = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        # One byte more than the limit tells whether there would be more.
        body = decompressor.decompress(raw, size + 1)
    except zlib.error as error:
        raise ExchangeFailed(f"a reply that cannot be decompressed ({error})") from None
    if len(body) > size:
        raise _too_long(size)
    if not decompressor.eof:
        raise ExchangeFailed("a reply whose compressed data ends too early")
    return body


def _too_long(size: int) -> ExchangeFailed:
    return ExchangeFailed(f"a reply of more than {size // 2**20} MiB")
