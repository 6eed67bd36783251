"""Runs the server: binds its address, says when it is ready, and ends at Ctrl-C or SIGTERM.

In: a service and options. Out: nothing; the call ends with the server, as `Stopped`.
"""

import asyncio
import gc
import ipaddress
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dianoia.base.collector import objects_frozen
from dianoia.base.errors import ConfigError, Stopped
from dianoia.base.stopping import SIGNAL_NAMES, handling_signals
from dianoia.serve.access import Access
from dianoia.serve.app import make_app
from dianoia.serve.service import Service

MOST_CONNECTIONS = 1024
"""Connections at a time; more get status 503."""
_SWITCH_SECONDS = 0.00005
"""Time after which a thread hands over Python's lock: decoding threads need it at once, and for microseconds."""
_KEEP_ALIVE = 30
_MOST_HEAD = 2**19
"""Bytes of a request before its body, about: a body that comes in one piece with its head is counted too."""
_GRACE = 2
"""Seconds that connections have to end in once the server stops; requests are cancelled at once."""


def check_address(host: str, key: str | None) -> None:
    """Raise ConfigError for an address that others reach, without a key."""
    if key is None and not _is_loopback(host):
        raise ConfigError(
            f"--host {host}: others could reach this address, and anybody who does could use the models; set a key with "
            "--key-file FILE, or leave --host out to serve this machine alone"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises ConfigError for a port in use and an address that is not this machine's."""
    try:
        # The address says whether it is of IPv4 or IPv6; `create_server` alone takes IPv4 for granted.
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"{host}:{port} cannot be served ({reason}); take another --port, or 0 for any free one, and an address of this "
            "machine as --host"
        ) from None


class Closable(Protocol):
    """What answers requests: models behind the API, or a server of rollouts."""

    def serve_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take note of the event loop in which requests are answered."""
        ...

    def close(self) -> None:
        """Cancel all requests and end the threads."""
        ...


def serve(
    service: Service,
    access: Access,
    listening: socket.socket,
    title: str,
    ready: Callable[[], None],
    started: Callable[[uvicorn.Server], None] | None = None,
) -> None:
    """Serve models behind the API and their page; see `serve_app`."""
    serve_app(make_app(service, access, title), service, listening, ready, started)


def serve_app(
    app: ASGIApp,
    service: Closable,
    listening: socket.socket,
    ready: Callable[[], None],
    started: Callable[[uvicorn.Server], None] | None = None,
) -> None:
    """Serve until a signal comes, or until `should_exit` of the server that `started` gets is set.

    ready: called once requests are answered. Raises Stopped, which names the signal.
    """
    config = uvicorn.Config(
        app,
        http=_BoundedHead,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
    )
    # uvicorn's own `run` would install its handlers and raise the signal again once it has ended.
    server = _Server(config, service, ready)
    if started is not None:
        started(server)
    # The default is 5 ms: an event loop that is busy would make each decoding step wait that long.
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    try:
        # Looking at all the libraries' objects again and again took a fifth of a request's time.
        with closing(listening), objects_frozen():
            server.run(sockets=[listening])
    finally:
        sys.setswitchinterval(before)
        # Twice is no error, and needed where the server never came up.
        service.close()
    raise Stopped(f"stopped by {server.stopped_by}")


class _BoundedHead(HttpToolsProtocol):
    """Reads requests in C, in a third of the time that h11 takes; unlike that, the parser takes a head of any size."""

    _head_bytes = 0
    _is_in_head = True

    def connection_made(self, transport: Any) -> None:
        """See asyncio."""
        # asyncio does so only for sockets that it opens itself. Without it a part of a stream waits 40 ms for the answer to the
        # part before it.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD:
                self.send_400_response("The request's headers are too large.")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """See httptools."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._is_in_head, self._head_bytes = False, 0
        super().on_headers_complete()


class _Server(uvicorn.Server):
    """Uvicorn's server, which cancels all requests when it stops, and leaves the exit status to us."""

    def __init__(
        self, config: uvicorn.Config, service: Closable, ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._service, self._ready = service, ready
        self.stopped_by = "the server"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._service.serve_in(asyncio.get_running_loop())
        # `ready` prints the address, so it comes behind: a script that reads the line may ask at once.
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        # Their clients get an error, and nobody waits for the end of an answer.
        self._service.close()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal; a second one does not wait for connections. The earlier handlers come back afterwards."""

        def handle(number: int, _frame: FrameType | None) -> None:
            # Before `should_exit` is set: only at the second signal is it True already.
            self.force_exit = self.should_exit
            self.should_exit = True
            self.stopped_by = SIGNAL_NAMES[signal.Signals(number)]

        with handling_signals(handle):
            yield
