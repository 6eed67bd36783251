"""The far side of `dianoia.sandbox.workers`: a fork server, and the workers that it forks.

In: over the control socket, requests to start and to stop workers; over a socket of its own, each worker gets batches of
items. Out: one answer per item, each a line of JSON. The fork server imports the function once, so that a worker is ready
within milliseconds. It never reads an item itself, so that no item can stop it from answering. Fork server and workers end
with the process that started them. Nothing is imported but the standard library, and what the function imports.
"""

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

from dianoia.sandbox.interpreter import die_with_parent

OUT_OF_MEMORY = 86
"""Exit status of a worker that asked for more memory than it may have."""
_MESSAGE_BYTES = 4096
_DETAIL_CHARS = 300

Function = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Job:
    """The function that every worker runs, and its limits per item."""

    function: Function
    memory_bytes: int
    cpu_seconds: float


def main(target: str, control_fd: int, memory_bytes: int, cpu_seconds: float) -> None:
    """Import `target` ("package.module:function"), report "ready" or the error, and serve until the socket closes.

    A function `warm` of the module, if there is one, is called once, before any worker is forked.
    """
    control = socket.socket(fileno=control_fd)
    try:
        job = _Job(_load(target), memory_bytes, cpu_seconds)
    except Exception as error:  # noqa: BLE001 - any error of the import is reported to the caller
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
    """Answer requests until the control socket closes, then end all workers.

    A request that carries a socket asks for a worker on it; one that is a process id asks for that worker's end.
    """
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
    """Fork a worker and return its process id. The fork server has one thread, so a fork is a complete copy of it."""
    pid = os.fork()
    if pid:
        os.close(fd)
        return pid
    code = 1
    try:
        control.close()
        _confine(job)
        # Never closed before the exit: if it closed first, the parent could kill a worker that is ending by itself.
        connection = socket.socket(fileno=fd)
        code = _work(connection, job)
    finally:
        os._exit(code)


def _stop(pid: int) -> int:
    """End a worker, which may have ended already; return its exit status, or minus the signal that ended it."""
    # Workers are reaped only here, so that the id cannot belong to another process yet.
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _confine(job: _Job) -> None:
    """Set the limits that the kernel enforces."""
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":  # macOS refuses a limit on the address space
        resource.setrlimit(resource.RLIMIT_AS, (job.memory_bytes, job.memory_bytes))
    # Without a Python handler, SIGPROF ends the process at once, even inside one long call of C code.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def _work(connection: socket.socket, job: _Job) -> int:
    """Answer batches until the socket closes; return the exit status."""
    with connection.makefile("rb") as batches:
        for batch in batches:
            for item in json.loads(batch):
                try:
                    # The timer counts CPU time of this process, so that a busy machine does not use up an item's time.
                    signal.setitimer(signal.ITIMER_PROF, job.cpu_seconds)
                    answer = _answer(job.function, item)
                    signal.setitimer(signal.ITIMER_PROF, 0)
                    _send(connection, answer)
                except MemoryError:
                    return OUT_OF_MEMORY
                except OSError:  # the other side has closed the socket
                    return 0
    return 0


def _answer(function: Function, item: object) -> dict[str, object]:
    try:
        return {"value": function(item)}
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - counted as a crash, with the error as its detail
        return {"error": f"{type(error).__name__}: {error}"[:_DETAIL_CHARS]}


def _send(connection: socket.socket, message: object) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")
