"""Work that may hang, crash or eat memory, done by worker processes with hard limits.

In: items (anything that JSON has) for one function, named as text. Out: a `Reply` an item, in order; a worker that
exceeds a limit is killed and replaced, its item is marked, and the rest of its batch goes on. Nothing here can
wait for ever. Left out: what the function does; walls against programs that mean harm
(`dianoia.sandbox.sandbox`).

Decisions:
1. Workers never inherit anything: a clean interpreter is started (no fork of the training process, no torch, no
   open file, five variables of environment), imports the function once, and forks workers.
2. Nothing is started before the first item.
3. CPU time is what ends an item; the wall clock is the longer of the two limits and ends what sleeps. So a busy
   machine does not change an item's fate.
4. A worker that dies by itself may have died of something else than its item, so the item is tried once more.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import LifoQueue
from threading import Lock
from typing import Any, NoReturn

from dianoia.base.errors import VerifierError
from dianoia.sandbox.worker_host import OUT_OF_MEMORY

_START_SECONDS = 600.0
"""How long the warm process may take to import, on a machine that is busy."""
_CONTROL_SECONDS = 30.0
_BATCH_ITEMS = 32
_BATCH_CHARS = 65_536
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from dianoia.sandbox import worker_host; "
    "worker_host.main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))"
)
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}
"""All that a worker sees of the environment. Hash order is fixed, so that an answer is."""


class Ended(StrEnum):
    """How an item ended."""

    ANSWERED = "answered"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"
    """The worker died of it, twice, or the function raised."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one item may use."""

    cpu_seconds: float = 1.0
    wall_seconds: float = 20.0
    memory_bytes: int = 2**30
    """Address space of the whole worker."""
    items: int = 2000
    """After so many a worker is replaced, so that no cache of a library grows for ever."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one item."""

    ended: Ended
    value: Any
    """What the function returned; None unless ANSWERED."""
    seconds: float
    """From the worker's last answer (or the batch's start) to this one, its replacement included."""
    detail: str = ""
    """For people, of a crash."""


class Service(AbstractContextManager["Service"]):
    """`workers` processes that run `target` ("package.module:function"); usable from many threads.

    Args:
        target: what to run; the module may have a function `warm`, called once before the first item.
        workers: how many items run at once; by default one for every core this process may use.

    Raises:
        VerifierError: the function cannot be imported, or the machine starts no process.
    """

    def __init__(
        self, target: str, bounds: Bounds | None = None, workers: int | None = None
    ) -> None:
        self.target, self.bounds = target, bounds or Bounds()
        self.workers = workers or _cores()
        self.ended: Counter[Ended] = Counter()
        """Items so far by how they ended."""
        self.replaced = 0
        """Workers that had to be killed or died so far."""
        self._lock = Lock()
        self._host = _Host(target, self.bounds)
        self._idle: LifoQueue[_Worker] = LifoQueue()
        self._places = [_Worker(self._host, self.bounds) for _ in range(self.workers)]
        for place in self._places:
            self._idle.put(place)
        self._threads: ThreadPoolExecutor | None = None

    def run(self, item: object) -> Reply:
        """One item, on the next worker that is free."""
        (reply,) = self._on_a_worker([json.dumps(item)])
        return reply

    def map(self, items: Sequence[object]) -> list[Reply]:
        """A reply an item, in order; as many run at once as there are workers."""
        return [reply for batch in self.begin(items) for reply in batch.result()]

    def begin(self, items: Sequence[object]) -> list[Future[list[Reply]]]:
        """The same without waiting: the replies of one batch after another, while this process does something else."""
        with self._lock:
            self._threads = self._threads or ThreadPoolExecutor(self.workers, "service")
        return [self._threads.submit(self._on_a_worker, batch) for batch in _batches(items)]

    def _on_a_worker(self, batch: Sequence[str]) -> list[Reply]:
        worker = self._idle.get()
        before = worker.replaced
        try:
            replies = list(worker.replies(batch))
        finally:
            self._idle.put(worker)
            with self._lock:
                self.replaced += worker.replaced - before
        with self._lock:
            self.ended.update(reply.ended for reply in replies)
        return replies

    def close(self) -> None:
        """End every process. The service is not to be used again."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for place in self._places:
            place.close()
        self._host.close()

    def __exit__(self, *_error: object) -> None:
        self.close()


def _batches(items: Sequence[object]) -> Iterator[list[str]]:
    """Items as JSON, a few at a time: one hand-over for many short ones."""
    batch: list[str] = []
    size = 0
    for text in map(json.dumps, items):
        if batch and (len(batch) == _BATCH_ITEMS or size + len(text) > _BATCH_CHARS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch


class _Lost(Exception):
    """The worker gave no answer."""

    def __init__(self, ended: Ended, detail: str = "") -> None:
        super().__init__(detail)
        self.ended, self.detail = ended, detail


class _Worker:
    """One place in the service: a worker process, and its successors."""

    def __init__(self, host: "_Host", bounds: Bounds) -> None:
        self.host, self.bounds, self.replaced = host, bounds, 0
        self._line: _Line | None = None
        self._pid, self._items = 0, 0

    def replies(self, batch: Sequence[str]) -> Iterator[Reply]:
        """One reply an item, in order, whatever becomes of the process."""
        left, again = list(batch), False
        began = time.perf_counter()
        while left:
            try:
                self._send(left)
                while left:
                    reply = self._reply(began)
                    self._items += 1
                    yield reply
                    left, again, began = left[1:], False, time.perf_counter()
            except _Lost as lost:
                if lost.ended is Ended.CRASHED and not again:
                    again = True
                    continue
                yield Reply(lost.ended, None, time.perf_counter() - began, lost.detail)
                left, again, began = left[1:], False, time.perf_counter()

    def _send(self, items: Sequence[str]) -> None:
        if self._line is not None and self._items >= self.bounds.items:
            self._stop()
        if self._line is None:
            self._line, self._pid = self.host.start()
            self._items = 0
        try:
            self._line.send("[" + ",".join(items) + "]", self.bounds.wall_seconds)
        except OSError:
            self._lose()

    def _reply(self, began: float) -> Reply:
        assert self._line is not None, "something was sent"
        try:
            message = self._line.receive(self.bounds.wall_seconds)
        except TimeoutError:
            self._stop()
            self.replaced += 1
            raise _Lost(Ended.TIMED_OUT) from None
        except OSError:
            self._lose()
        seconds = time.perf_counter() - began
        if "error" in message:
            return Reply(Ended.CRASHED, None, seconds, message["error"])
        return Reply(Ended.ANSWERED, message["value"], seconds)

    def _lose(self) -> NoReturn:
        """The worker has ended: say of what."""
        code = self._stop()
        self.replaced += 1
        if code == -signal.SIGPROF:
            raise _Lost(Ended.TIMED_OUT)
        if code == OUT_OF_MEMORY:
            raise _Lost(Ended.OUT_OF_MEMORY)
        raise _Lost(Ended.CRASHED, f"its process ended with {code}")

    def close(self) -> None:
        """Let the process end, which it does when nobody can ask it any more."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _stop(self) -> int | None:
        assert self._line is not None, "there is a worker"
        self._line.close()
        self._line = None
        return self.host.stop(self._pid)


class _Line:
    """Lines of JSON over a socket, each with a deadline."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self._rest = connection, b""

    def send(self, text: str, seconds: float) -> None:
        """Send a line. Raises OSError."""
        self.connection.settimeout(seconds)
        self.connection.sendall(text.encode() + b"\n")

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next line. Raises TimeoutError, ConnectionError."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.connection.settimeout(left)
            part = self.connection.recv(65_536)
            if not part:
                raise ConnectionError("it ended")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Close it."""
        self.connection.close()


class _Host:
    """The warm process that forks workers; started with the first of them, and again if it dies."""

    def __init__(self, target: str, bounds: Bounds) -> None:
        self.target, self.bounds = target, bounds
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: _Line | None = None

    def start(self) -> tuple[_Line, int]:
        """A new worker: the line to it, and its number."""
        with self._lock:
            for last in (False, True):
                try:
                    return self._forked()
                except OSError as error:
                    self._end()
                    if last:
                        raise VerifierError(_no_worker(self.target, str(error))) from error
        raise AssertionError("the second try returns or raises")

    def _forked(self) -> tuple[_Line, int]:
        control = self._line or self._boot()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                control.connection.settimeout(_CONTROL_SECONDS)
                socket.send_fds(control.connection, [b"start"], [theirs.fileno()])
            return _Line(ours), int(control.receive(_CONTROL_SECONDS)["pid"])
        except OSError:
            ours.close()
            raise

    def stop(self, pid: int) -> int | None:
        """End a worker; its exit status, minus a signal's number; None if nobody can say."""
        with self._lock:
            if self._line is None:
                return None
            try:
                self._line.connection.settimeout(_CONTROL_SECONDS)
                self._line.connection.sendall(str(pid).encode())
                return int(self._line.receive(_CONTROL_SECONDS)["code"])
            except OSError:
                self._end()  # its workers end with it
                return None

    def _boot(self) -> _Line:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                self._command(theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for us
                cwd="/",
            )
        self._line = _Line(ours)
        state = self._line.receive(_START_SECONDS)["state"]
        if state != "ready":
            self._end()
            raise VerifierError(_no_worker(self.target, state))
        return self._line

    def _command(self, control: int) -> list[str]:
        path = json.dumps([str(Path(entry).absolute()) for entry in sys.path])
        limits = [str(self.bounds.memory_bytes), str(self.bounds.cpu_seconds)]
        options = ["-P", "-s", "-X", "utf8"]
        return [sys.executable, *options, "-c", _BOOT, path, self.target, str(control), *limits]

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._line = self._process = None

    def close(self) -> None:
        """End it and with it every worker."""
        with self._lock:
            self._end()


def _no_worker(target: str, reason: str) -> str:
    return (
        f"no process could be started to run {target} ({reason}); answers are verified in processes of their own, "
        "so nothing can be graded. If a package is missing, install it (`make setup`); if memory or processes are, "
        "free some"
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
