"""The other side of `dianoia.sandbox.workers`: a warm process that forks workers, and the workers.

In: over a socket, requests to start and to stop workers; over a socket of its own each worker gets batches of
items. Out: an answer an item, a line of JSON each. The warm process imports the function once, so that a worker
is there in milliseconds; it never reads an item, so it always answers. All of it ends with the process that
asked. Only the standard library, and what the function imports.
"""

import ctypes
import importlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OUT_OF_MEMORY = 86
"""Exit status of a worker that asked for more memory than it may have."""
_MESSAGE_BYTES = 4096
_PARENT_DEATH = 1  # PR_SET_PDEATHSIG
_DETAIL_CHARS = 300

Function = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Job:
    """What every worker does, within which limits."""

    function: Function
    memory_bytes: int
    cpu_seconds: float


def main(target: str, control_fd: int, memory_bytes: int, cpu_seconds: float) -> None:
    """Import `target` ("package.module:function"), say ready (or why not) and serve until the socket closes.

    A function `warm` of the module, if there is one, is called once, before any worker is forked.
    """
    control = socket.socket(fileno=control_fd)
    try:
        job = _Job(_load(target), memory_bytes, cpu_seconds)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side tells a person
        _send(control, {"state": f"{type(error).__name__}: {error}"})
        return
    _send(control, {"state": "ready"})
    _serve(control, job)


def _load(target: str) -> Function:
    name, _, attribute = target.partition(":")
    module = importlib.import_module(name)
    getattr(module, "warm", lambda: None)()
    function: Function = getattr(module, attribute)
    return function


def _serve(control: socket.socket, job: _Job) -> None:
    """A socket in the message asks for a worker on it; a process number, for that worker's end."""
    workers: set[int] = set()
    while True:
        data, fds, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 1)
        if not data:
            break
        if fds:
            pid = _start(control, fds[0], job)
            workers.add(pid)
            _send(control, {"pid": pid})
        else:
            workers.discard(int(data))
            _send(control, {"code": _stop(int(data))})
    for pid in workers:
        _stop(pid)


def _start(control: socket.socket, fd: int, job: _Job) -> int:
    """Fork a worker. The warm process has one thread, so that a fork is a whole copy of it."""
    pid = os.fork()
    if pid:
        os.close(fd)
        return pid
    code = 1
    try:
        control.close()
        _confine(job)
        connection = socket.socket(
            fileno=fd
        )  # open to the very end: its closing would tell of an end by force
        code = _work(connection, job)
    finally:
        os._exit(code)


def _stop(pid: int) -> int:
    """End a worker, which may have ended already; its exit status, or minus the signal that ended it."""
    os.kill(pid, signal.SIGKILL)  # a worker is reaped nowhere else, so the number is still its own
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _confine(job: _Job) -> None:
    """Bounds that the kernel keeps."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":  # macOS refuses
        resource.setrlimit(resource.RLIMIT_AS, (job.memory_bytes, job.memory_bytes))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def _work(connection: socket.socket, job: _Job) -> int:
    """Answer batches until the socket closes; the exit status."""
    with connection.makefile("rb") as batches:
        for batch in batches:
            for item in json.loads(batch):
                try:
                    # CPU time of the process, kept by the kernel: it ends C code too.
                    signal.setitimer(signal.ITIMER_PROF, job.cpu_seconds)
                    answer = _answer(job.function, item)
                    signal.setitimer(signal.ITIMER_PROF, 0)
                    _send(connection, answer)
                except MemoryError:
                    return OUT_OF_MEMORY
                except OSError:  # the other side is gone
                    return 0
    return 0


def _answer(function: Function, item: object) -> dict[str, object]:
    try:
        return {"value": function(item)}
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - counted as a crash, told in words
        return {"error": f"{type(error).__name__}: {error}"[:_DETAIL_CHARS]}


def _send(connection: socket.socket, message: object) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")
