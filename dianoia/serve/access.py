"""Who may ask: the key, the Host and Origin of a request, and limits on its body. An ASGI middleware around everything.

Browsers let any page send requests to this machine. A page of another origin is refused by its Origin, and one whose name was
pointed at this machine (DNS rebinding) by its Host, which has to be an address, localhost, or a name that was allowed. There are
no CORS headers, so no other page reads an answer.
"""

import asyncio
import hmac
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dianoia.serve.api_errors import ApiError

_KEYED = ("/v1", "/page/examples", "/page/verdict")
"""Paths behind the key, with all below them."""
_LOCAL_NAMES = frozenset({"localhost"})


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask, and how much."""

    key: str | None = None
    """None: anybody who reaches the address."""
    hosts: Collection[str] = ()
    """Names besides `localhost` under which the server may be asked."""
    body_bytes: int = 4 * 2**20
    body_seconds: float = 30.0
    """Time in which a body has to arrive."""


class Guard:
    """The middleware."""

    def __init__(self, app: ASGIApp, access: Access, keyed_paths: Collection[str] = _KEYED) -> None:
        """keyed_paths: behind the key, with all below them."""
        self._app, self._access, self._keyed_paths = app, access, keyed_paths
        self._hosts = _LOCAL_NAMES | {name.lower().rstrip(".") for name in access.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return  # no WebSockets; uvicorn refuses them
        try:
            self._check(scope["path"], scope["method"], Headers(scope=scope))
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        await self._app(scope, self._bounded(receive), send)

    def _check(self, path: str, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        # Against DNS rebinding: a page of another site may point its own name to this address.
        if not self._is_allowed(host):
            raise ApiError(
                403,
                f"The server is not known as {host[:100]!r}; ask it by its address, or start it with --allow-host.",
                code="host_not_allowed",
            )
        origin = headers.get("origin")
        # A browser sends Origin with requests of pages; other clients send none.
        if origin is not None and urlsplit_netloc(origin) != host.lower():
            raise ApiError(
                403,
                f"Pages of {origin[:100]!r} may not ask this server.",
                code="origin_not_allowed",
            )
        key = self._access.key
        if key is not None and any(
            path == keyed_path or path.startswith(f"{keyed_path}/")
            for keyed_path in self._keyed_paths
        ):
            _check_key(key, headers.get("authorization", ""))
        # Refused before the body is read; `_bounded` counts what comes without a length, or with a false one.
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self._access.body_bytes:
            raise self._too_large()
        if method == "POST":
            _check_media_type(headers.get("content-type", ""))

    def _is_allowed(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name.rstrip(".") in self._hosts:
            return True
        try:
            # An address cannot be rebound, so every one is allowed.
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _bounded(self, receive: Receive) -> Receive:
        """Return `receive` with the limits on a body."""
        size, done = 0, False
        access = self._access

        async def bounded() -> Message:
            nonlocal size, done
            if done:  # only the client's going away is left to hear of
                return await receive()
            try:
                async with asyncio.timeout(access.body_seconds):
                    message = await receive()
            except TimeoutError:
                seconds = f"{access.body_seconds:g}"
                raise ApiError(408, f"The body did not arrive within {seconds} seconds.") from None
            size += len(message.get("body", b""))
            done = not message.get("more_body", False)
            if size > access.body_bytes:
                raise self._too_large()
            return message

        return bounded

    def _too_large(self) -> ApiError:
        most = self._access.body_bytes / 2**20
        return ApiError(413, f"The body is larger than {most:g} MiB.", code="body_too_large")


def urlsplit_netloc(origin: str) -> str:
    """Return host and port of an origin; empty for `null` and for what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _check_key(key: str, header: str) -> None:
    """Raise ApiError unless the header carries the key."""
    scheme, _, sent_key = header.partition(" ")
    # Compared in constant time: the time of a comparison would tell how much of a guess is right.
    same = hmac.compare_digest(sent_key.strip().encode(), key.encode())
    if scheme.lower() != "bearer" or not same:
        raise ApiError(
            401,
            "This server needs a key: send it as 'Authorization: Bearer KEY'."
            if not header
            else "The server does not accept this key.",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _check_media_type(content_type: str) -> None:
    """Raise ApiError for a body that is not JSON; a form of another page could send one without asking."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ApiError(
            415, "Send JSON, with the header 'Content-Type: application/json'.", code="media_type"
        )
