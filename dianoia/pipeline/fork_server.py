"""A fork server: imports PyTorch once and forks one process per stage. `ForkServer` is its client.

On Linux the server imports PyTorch, which takes seconds, and forks for each stage, which takes milliseconds. It computes
nothing itself, so a fork loses no compute threads, and every stage begins in the same state. On other systems a fork of
PyTorch may crash, so each stage's process is a fresh interpreter.

All processes end with the command, however that ends. On Linux the kernel kills each process when its parent dies. On
other systems the server notices that its connection has closed and ends the others. Until then every process holds the
lock of the run directory, so that no second command begins there.

Importing this module does not import torch.
"""

import atexit
import gc
import importlib
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from types import TracebackType
from typing import Self

from dianoia.pipeline.messages import END_NOW
from dianoia.sandbox import interpreter

_STAGE_MODULE = "dianoia.pipeline.stage_process"
"""Imported by name and late, since it imports PyTorch."""
FORKS = sys.platform == "linux"
"""Stages are forked from the server; otherwise each is a fresh interpreter."""
_START, _KILL = "start", "kill"
"""Requests to the server, each with the number of a process; a start is followed by a handle."""
_POLL_SECONDS = 0.05
"""Longest wait before looking again whether a stage's process has ended."""
_END_SECONDS = 3.0
"""Time for a stage's process to end by itself before it is killed."""


class ForkServer:
    """Client of the fork server. Use as a context manager; at its end no stage is left running."""

    def __init__(self, locks: Sequence[int]) -> None:
        """Start the server. `locks`: open files that every process keeps open."""
        self.control, server_end = Pipe()
        with server_end:
            self._process = subprocess.Popen(
                _command("serve", server_end.fileno(), locks, FORKS),
                stdin=subprocess.DEVNULL,
                # PyTorch would print a C++ stack for each rank whose connection breaks; the command says what happened.
                env={"TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ},
                pass_fds=[server_end.fileno(), *locks],
            )
        self._is_idle = True

    def __enter__(self) -> Self:
        return self

    def start(self, number: int) -> Connection:
        """Start the process of a stage and return the connection to it; `read_exit` will report it by `number`."""
        connection, stage_end = Pipe()
        self._is_idle = False
        with stage_end:
            self.control.send((_START, number))
            send_handle(self.control, stage_end.fileno(), self._process.pid)
        return connection

    def kill(self, number: int) -> None:
        """Kill a process at once, also one that is stopped; `read_exit` will report it. Nothing happens if it has ended."""
        self.control.send((_KILL, number))

    def read_exit(self) -> tuple[int, int]:
        """Return the number of a process that has ended, and its exit status or minus the signal that killed it.

        Blocks until `control` has something to read.

        Raises:
            EOFError: the server itself has ended.
        """
        number, status = self.control.recv()
        return number, status

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.control.close()  # which the server takes as the end of the command
        try:
            if not self._is_idle:  # it may have to end stages first
                self._process.wait(2 * _END_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()


def _command(function: str, connection: int, locks: Sequence[int], forks: bool) -> list[str]:
    """Return the command of an interpreter that calls a function of this module."""
    arguments = [list(locks), os.getpid(), connection, forks]
    return interpreter.command(f"{__name__}:{function}", arguments)


# In the server ------------------------------------------------------------------------------------


def serve(locks: Sequence[int], parent: int, control_fd: int, forks: bool) -> None:
    """Start a process for each connection that arrives over the control connection, until that closes."""
    _die_with(parent)
    # Ctrl-C and SIGTERM go to the whole group; the command handles them and ends the server.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    os.set_inheritable(control_fd, False)
    # A fork has the locks anyway, and no program that a stage starts may hold them. A fresh interpreter inherits them.
    for lock in locks:
        os.set_inheritable(lock, not forks)
    if forks:
        importlib.import_module(_STAGE_MODULE).warm_up()
        gc.freeze()  # memory that the collector never writes to stays shared with the forks
    connection = _start_until_closed(
        Connection(control_fd), _fork if forks else partial(_spawn, locks)
    )
    if connection is not None:  # this is a forked process now
        _work(connection)
    _exit(0)


def serve_one(locks: Sequence[int], parent: int, connection_fd: int, _forks: bool) -> None:
    """Run one stage in a fresh interpreter."""
    _die_with(parent)
    for descriptor in (connection_fd, *locks):
        os.set_inheritable(descriptor, False)
    _work(Connection(connection_fd))


def _work(connection: Connection) -> None:
    """Run the stage that the connection asks for, and exit."""
    try:
        importlib.import_module(_STAGE_MODULE).work(connection)
    except SystemExit:  # by END_NOW
        _exit(1)
    _exit(0)


def _exit(status: int) -> None:
    """Exit without the second that the interpreter takes to tear down PyTorch; exit handlers still run."""
    atexit._run_exitfuncs()  # os._exit would skip them; they end sandboxes and workers
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux); exit if the parent has ended already."""
    interpreter.die_with_parent()
    if os.getppid() != parent:
        os._exit(1)


def _start_until_closed(control: Connection, start: Callable[[int], int]) -> Connection | None:
    """Start processes and report their exits until the control connection closes; then return None.

    `start` may fork. In the forked process this function returns the connection to the command.
    """
    numbers: dict[int, int] = {}  # by process id
    while True:
        try:
            number = None
            if control.poll(_POLL_SECONDS):
                asked, number = control.recv()
                if asked == _KILL:
                    _kill(numbers, number)
                    number = None
                else:
                    descriptor = recv_handle(control)
            _report_exits(control, numbers)
        except (EOFError, OSError):  # the command has closed the connection, or has died
            break
        if number is not None:
            pid = start(descriptor)
            if pid == 0:
                control.close()
                return Connection(descriptor)
            os.close(descriptor)  # the stage has its own copy
            numbers[pid] = number
    _end_all(numbers)
    return None


def _fork(_connection: int) -> int:
    server = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about threads that libraries start when they are imported
        pid = os.fork()
    if pid == 0:
        _die_with(server)
    return pid


def _spawn(locks: Sequence[int], connection: int) -> int:
    # Only an inheritable file survives the start of a new program. The server closes its copy right after.
    os.set_inheritable(connection, True)
    command = _command("serve_one", connection, locks, forks=False)
    return os.posix_spawn(sys.executable, command, os.environ)


def _kill(numbers: Mapping[int, int], number: int) -> None:
    """Kill the process of that number; its exit is reported as any other."""
    for pid, its_number in numbers.items():
        if its_number == number:
            os.kill(pid, signal.SIGKILL)


def _report_exits(control: Connection, numbers: dict[int, int]) -> None:
    """Send the number and status of each process that has ended."""
    while numbers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        control.send((numbers.pop(pid), os.waitstatus_to_exitcode(status)))


def _end_all(pids: Collection[int]) -> None:
    """Ask processes to end, and kill those that have not ended in time."""
    alive, deadline = set(pids), time.monotonic() + _END_SECONDS
    for pid in alive:
        os.kill(pid, END_NOW)
    while alive:
        if time.monotonic() > deadline:
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
        alive -= {pid for pid in alive if os.waitpid(pid, os.WNOHANG)[0]}
        time.sleep(0.01)
