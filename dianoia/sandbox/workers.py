"""Worker processes with hard limits, for work that may hang, crash or use up memory.

In: items (anything that JSON has) for one function, named as text. Out: one `Reply` per item, in order. A worker that
exceeds a limit is killed and replaced; its item gets the reason as its reply, and the other items of its batch are run.
Every wait has a time limit. Not here: what the function does; walls against hostile programs
(`dianoia.sandbox.sandbox`).

Three kinds of process take part: this one; a fork server (`worker_fork_server`), which has imported the function; and the
workers, which the fork server forks and to which this process is connected directly.

Decisions:
1. Workers inherit nothing from this process: the fork server is a clean interpreter (no fork of the training process, no
   torch, no open file, five environment variables).
2. No process is started before the first item.
3. Items are limited by CPU time, so that a busy machine does not change what becomes of an item. The wall-clock limit is
   longer and ends those that sleep.
4. A worker that dies by itself may have died of another cause than its item, so the item is tried once more.
"""

import json
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from queue import LifoQueue
from threading import Lock
from typing import Any, NoReturn

from dianoia.base.cgroups import usable_cores
from dianoia.base.errors import VerifierError
from dianoia.sandbox import interpreter
from dianoia.sandbox.worker_fork_server import OUT_OF_MEMORY

_START_SECONDS = 600.0
"""How long the fork server may take to import, on a busy machine."""
_CONTROL_SECONDS = 30.0
"""How long the fork server may take to start or stop a worker."""
_BATCH_ITEMS = 32
_BATCH_CHARS = 65_536
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}
"""All that a worker sees of the environment. A fixed hash seed makes the order of sets, and so an answer, reproducible."""


class Ended(StrEnum):
    """How an item ended."""

    ANSWERED = "answered"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"
    """The function raised an exception, or the worker died twice while running the item."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one item."""

    cpu_seconds: float = 1.0
    wall_seconds: float = 20.0
    memory_bytes: int = 2**30
    """Address space of the whole worker."""
    items: int = 2000
    """Items after which a worker is replaced, so that caches of libraries cannot grow without end."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of one item."""

    ended: Ended
    value: Any
    """The function's return value; None unless ANSWERED."""
    seconds: float
    """Wall time since the worker's previous answer, or since the start of the batch; replacing a worker is included."""
    detail: str = ""
    """The cause of a crash, for people."""


class WorkerPool(AbstractContextManager["WorkerPool"]):
    """`workers` processes that run `target` ("package.module:function"); usable from many threads.

    Args:
        target: the function to run; its module may have a function `warm`, which is called once before the first item.
        workers: number of items that run at once; by default one per core that this process may use.

    Raises:
        VerifierError: the function cannot be imported, or the machine starts no process.
    """

    def __init__(
        self, target: str, bounds: Bounds | None = None, workers: int | None = None
    ) -> None:
        self.target, self.bounds = target, bounds or Bounds()
        self.workers = workers or usable_cores()
        self.ended: Counter[Ended] = Counter()
        """Number of items so far by how they ended."""
        self.replaced = 0
        """Number of workers so far that had to be killed or died."""
        self._lock = Lock()
        self._fork_server = _ForkServer(target, self.bounds)
        # Last in, first out: the worker that was used last has warm caches, and rarely needed ones need not start.
        self._idle: LifoQueue[_Worker] = LifoQueue()
        self._all = [_Worker(self._fork_server, self.bounds) for _ in range(self.workers)]
        for worker in self._all:
            self._idle.put(worker)
        self._threads: ThreadPoolExecutor | None = None

    def run(self, item: object) -> Reply:
        """Run one item on the next idle worker and return its reply."""
        (reply,) = self._run_batch([json.dumps(item)])
        return reply

    def map(self, items: Sequence[object]) -> list[Reply]:
        """Run items, as many at once as there are workers, and return one reply per item, in order."""
        return [reply for batch in self.begin(items) for reply in batch.result()]

    def begin(self, items: Sequence[object]) -> list[Future[list[Reply]]]:
        """Start items without waiting. Returns futures with the replies of one batch each, in order."""
        with self._lock:
            # One thread per worker waits for its answers; the threads do no other work.
            self._threads = self._threads or ThreadPoolExecutor(self.workers, "workers")
        return [self._threads.submit(self._run_batch, batch) for batch in _batches(items)]

    def _run_batch(self, batch: Sequence[str]) -> list[Reply]:
        """Run a batch of items, in JSON, on the next idle worker. Waits for one."""
        # Waits for a worker: there are as many threads as workers, but `run` may be called from others.
        worker = self._idle.get()
        # Only this thread uses the worker until it is put back, so that the difference needs no lock.
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
        """End every process. The pool must not be used again."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.close()
        self._fork_server.close()

    def __exit__(self, *_error: object) -> None:
        self.close()


def _batches(items: Sequence[object]) -> Iterator[list[str]]:
    """Yield items as JSON in batches, so that many short items cost one message; limited by count and characters."""
    batch: list[str] = []
    size = 0
    for text in map(json.dumps, items):
        # A single item may exceed the limit of characters: then it is a batch of its own.
        if batch and (len(batch) == _BATCH_ITEMS or size + len(text) > _BATCH_CHARS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch


class _WorkerLost(Exception):
    """The worker gave no answer to an item."""

    def __init__(self, ended: Ended, detail: str = "") -> None:
        super().__init__(detail)
        self.ended, self.detail = ended, detail


class _Worker:
    """One slot of the pool: a worker process, and the processes that replace it."""

    def __init__(self, fork_server: "_ForkServer", bounds: Bounds) -> None:
        self.fork_server, self.bounds, self.replaced = fork_server, bounds, 0
        self._connection: _Connection | None = None
        self._pid, self._items = 0, 0

    def replies(self, batch: Sequence[str]) -> Iterator[Reply]:
        """Yield one reply per item, in order, whatever becomes of the process."""
        unanswered, is_retry = list(batch), False
        began = time.perf_counter()
        while unanswered:
            try:
                # All unanswered items go in one message. The answers come one by one, so that if the worker is lost, the
                # first unanswered item is the one it was running.
                self._send(unanswered)
                while unanswered:
                    reply = self._reply(began)
                    self._items += 1
                    yield reply
                    unanswered, is_retry, began = unanswered[1:], False, time.perf_counter()
            except _WorkerLost as lost:
                if lost.ended is Ended.CRASHED and not is_retry:  # decision 4
                    is_retry = True
                    continue
                yield Reply(lost.ended, None, time.perf_counter() - began, lost.detail)
                unanswered, is_retry, began = unanswered[1:], False, time.perf_counter()

    def _send(self, items: Sequence[str]) -> None:
        """Send items to the worker; first start one if there is none, or replace one that has run many items."""
        if self._connection is not None and self._items >= self.bounds.items:
            # Its memory, with all caches, goes back to the system.
            self._stop()
        if self._connection is None:
            self._connection, self._pid = self.fork_server.start()
            self._items = 0
        try:
            # The items are JSON already, so that they are joined and not encoded once more.
            self._connection.send("[" + ",".join(items) + "]", self.bounds.wall_seconds)
        except OSError:
            self._lose()

    def _reply(self, began: float) -> Reply:
        """Wait for the reply to one item. Raises _WorkerLost if none comes."""
        assert self._connection is not None, "something was sent"
        try:
            message = self._connection.receive(self.bounds.wall_seconds)
        # An item that sleeps: it uses no CPU time, so that only the wall clock ends it.
        except TimeoutError:
            self._stop()
            self.replaced += 1
            raise _WorkerLost(Ended.TIMED_OUT) from None
        except OSError:
            self._lose()
        seconds = time.perf_counter() - began
        if "error" in message:
            return Reply(Ended.CRASHED, None, seconds, message["error"])
        return Reply(Ended.ANSWERED, message["value"], seconds)

    def _lose(self) -> NoReturn:
        """Raise _WorkerLost with the reason for which the worker has ended, by its exit status."""
        code = self._stop()
        self.replaced += 1
        # The kernel's CPU timer (`_work`) ends a process by SIGPROF.
        if code == -signal.SIGPROF:
            raise _WorkerLost(Ended.TIMED_OUT)
        if code == OUT_OF_MEMORY:
            raise _WorkerLost(Ended.OUT_OF_MEMORY)
        raise _WorkerLost(Ended.CRASHED, f"its process ended with {code}")

    def close(self) -> None:
        """Close the connection; the process ends by itself when it notices."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _stop(self) -> int | None:
        """End the process; return its exit status, or minus a signal's number; None if it is unknown."""
        assert self._connection is not None, "there is a worker"
        self._connection.close()
        self._connection = None
        return self.fork_server.stop(self._pid)


class _Connection:
    """A socket that carries lines of JSON, with a time limit for each line."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket, self._buffer = connection, b""

    def send(self, text: str, seconds: float) -> None:
        """Send a line, within `seconds`. Raises OSError."""
        self.socket.settimeout(seconds)
        self.socket.sendall(text.encode() + b"\n")

    def receive(self, seconds: float) -> dict[str, Any]:
        """Return the next line, within `seconds` in all. Raises TimeoutError, ConnectionError."""
        # One deadline for the whole line: a worker that sends a byte now and then must not delay it.
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            self.socket.settimeout(remaining)
            part = self.socket.recv(65_536)
            if not part:
                raise ConnectionError("it ended")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


class _ForkServer:
    """The process that forks workers; started with the first of them, and again if it dies."""

    def __init__(self, target: str, bounds: Bounds) -> None:
        self.target, self.bounds = target, bounds
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: _Connection | None = None

    def start(self) -> tuple[_Connection, int]:
        """Start a worker; return the connection to it and its process id.

        Raises:
            VerifierError: the fork server cannot import the function, or it failed twice.
        """
        # One request at a time, as the answers on the control socket carry no number.
        with self._lock:
            # Twice: the fork server may have been killed since it was last used; then a new one is started.
            for is_last in (False, True):
                try:
                    return self._fork_worker()
                except OSError as error:
                    self._end()
                    if is_last:
                        raise VerifierError(_no_worker(self.target, str(error))) from error
        raise AssertionError("the second try returns or raises")

    def _fork_worker(self) -> tuple[_Connection, int]:
        control = self._connection or self._boot()
        ours, theirs = socket.socketpair()
        try:
            # Our copy of the worker's end is closed, so that the end of the worker closes the socket.
            with theirs:
                control.socket.settimeout(_CONTROL_SECONDS)
                socket.send_fds(control.socket, [b"start"], [theirs.fileno()])
            return _Connection(ours), int(control.receive(_CONTROL_SECONDS)["pid"])
        except OSError:
            ours.close()
            raise

    def stop(self, pid: int) -> int | None:
        """End a worker; return its exit status, or minus a signal's number; None if the fork server died before it answered."""
        with self._lock:
            if self._connection is None:
                return None
            try:
                self._connection.socket.settimeout(_CONTROL_SECONDS)
                self._connection.socket.sendall(str(pid).encode())
                return int(self._connection.receive(_CONTROL_SECONDS)["code"])
            except OSError:
                self._end()  # its workers end with it
                return None

    def _boot(self) -> _Connection:
        """Start the fork server and wait until it has imported the function."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                self._command(theirs.fileno()),
                # Nothing that the function prints may mix with the output of this process.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C reaches this process only
                cwd="/",
            )
        self._connection = _Connection(ours)
        state = self._connection.receive(_START_SECONDS)["state"]
        if state != "ready":
            self._end()
            raise VerifierError(_no_worker(self.target, state))
        return self._connection

    def _command(self, control_fd: int) -> list[str]:
        limits = (self.bounds.memory_bytes, self.bounds.cpu_seconds)
        return interpreter.command(
            "dianoia.sandbox.worker_fork_server:main",
            (self.target, control_fd, *limits),
            options=("-P", "-s", "-X", "utf8"),
        )

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._connection = self._process = None

    def close(self) -> None:
        """End the fork server and with it every worker."""
        with self._lock:
            self._end()


def _no_worker(target: str, reason: str) -> str:
    return (
        f"no worker process could be started to run {target} ({reason}). Answers are verified in separate processes, so "
        "nothing can be graded. If a package is missing, install it (`make setup`); if memory or processes are short, "
        "free some"
    )
