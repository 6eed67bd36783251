"""Starts the processes of stages, and the side of the command that asks for them. No torch until it runs.

On Linux a warm process imports PyTorch once, which takes seconds, and is forked for each stage, which takes
milliseconds: nothing has been computed in it, so there are no threads of arithmetic to lose, and every stage
begins in the same state. Elsewhere a stage's process is a fresh interpreter, as a fork may end it there.

All of it ends with the command, however that ends. On Linux the kernel sees to it: each process is killed with
the one that started it. Elsewhere the warm process notices that its connection has closed and ends the rest. Until
then all of them hold the lock of the run directory, so that no second command begins beside them.
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
from collections.abc import Callable, Collection, Sequence
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from types import TracebackType
from typing import Self

from dianoia.pipeline.messages import END_NOW
from dianoia.sandbox import interpreter

_CHILD = "dianoia.pipeline.stage_process"
"""Imports PyTorch."""
FORKS = sys.platform == "linux"
"""Whether stages are forked from a warm process."""
_LOOK_SECONDS = 0.05
"""Between two looks whether a stage's process has ended."""
_END_SECONDS = 3.0
"""For a stage's process to end by itself before it is killed."""


class Host:
    """The warm process, as the command sees it. Use as a context manager; at its end no stage is left running."""

    def __init__(self, locks: Sequence[int]) -> None:
        """`locks`: open files that every process keeps open."""
        self.control, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                _command("main", theirs.fileno(), locks, FORKS),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *locks],
            )
        self._idle = True

    def __enter__(self) -> Self:
        return self

    def start(self, number: int) -> Connection:
        """A process for a stage, and the connection to it; `ended` will name it by `number`."""
        ours, theirs = Pipe()
        self._idle = False
        with theirs:
            self.control.send(number)
            send_handle(self.control, theirs.fileno(), self._process.pid)
        return ours

    def ended(self) -> tuple[int, int]:
        """The number of a process that has ended, and its exit status, or minus the signal that ended it.

        Raises:
            EOFError: the warm process itself has ended.
        """
        number, status = self.control.recv()
        return number, status

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.control.close()
        try:
            if not self._idle:  # it may have stages to end first
                self._process.wait(2 * _END_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()


def _command(entry: str, connection: int, locks: Sequence[int], forks: bool) -> list[str]:
    arguments = [list(locks), os.getpid(), connection, forks]
    return interpreter.command(f"dianoia.pipeline.fork_server:{entry}", arguments)


# In the warm process ------------------------------------------------------------------------------


def main(locks: Sequence[int], parent: int, control_fd: int, forks: bool) -> None:
    """Start a process for each connection that comes over the control connection, until that closes."""
    _end_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # for the command, which ends us
        signal.signal(number, lambda *_: None)
    os.set_inheritable(control_fd, False)
    for lock in locks:
        os.set_inheritable(
            lock, not forks
        )  # a fork has them anyway, and what a stage starts needs none
    if forks:
        importlib.import_module(_CHILD)
        gc.freeze()  # what is here already stays here, and stays shared
    own = _serve(Connection(control_fd), _fork if forks else partial(_fresh, locks))
    _leave(own)


def single(locks: Sequence[int], parent: int, connection_fd: int, _forks: bool) -> None:
    """A stage's process that is a fresh interpreter."""
    _end_with(parent)
    for descriptor in (connection_fd, *locks):
        os.set_inheritable(descriptor, False)
    _leave(Connection(connection_fd))


def _leave(own: Connection | None) -> None:
    """Work, if there is something to work on, and end: without the second that it takes to clear PyTorch away."""
    status = 0
    try:
        if own is not None:
            importlib.import_module(_CHILD).work(own)
    except SystemExit:  # we are told to end
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end_with(parent: int) -> None:
    """Be killed when the parent ends, which it may just have done."""
    interpreter.die_with_parent()
    if os.getppid() != parent:
        os._exit(1)


def _serve(control: Connection, start: Callable[[int], int]) -> Connection | None:
    """Start and report until the control connection closes. In a forked process: the connection to work on."""
    children: dict[int, int] = {}
    while True:
        try:
            asked = (control.recv(), recv_handle(control)) if control.poll(_LOOK_SECONDS) else None
            _report(control, children)
        except (EOFError, OSError):
            break
        if asked is not None:
            number, descriptor = asked
            pid = start(descriptor)
            if pid == 0:
                control.close()
                return Connection(descriptor)
            os.close(descriptor)
            children[pid] = number
    _end_all(children)
    return None


def _fork(_connection: int) -> int:
    warm = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads that libraries start as they are imported
        pid = os.fork()
    if pid == 0:
        _end_with(warm)
    return pid


def _fresh(locks: Sequence[int], connection: int) -> int:
    os.set_inheritable(connection, True)
    command = _command("single", connection, locks, forks=False)
    return os.posix_spawn(sys.executable, command, os.environ)


def _report(control: Connection, children: dict[int, int]) -> None:
    """Tell which processes have ended."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        control.send((children.pop(pid), os.waitstatus_to_exitcode(status)))


def _end_all(children: Collection[int]) -> None:
    """End processes, by force those that do not listen."""
    left, deadline = set(children), time.monotonic() + _END_SECONDS
    for pid in left:
        os.kill(pid, END_NOW)
    while left:
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        left -= {pid for pid in left if os.waitpid(pid, os.WNOHANG)[0]}
        time.sleep(0.01)
