"""Executor that runs each stage in a process of its own, several at the same time. No torch in this process."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from dianoia.base import errors
from dianoia.base.errors import StageCrashed, UserError
from dianoia.base.progress import Reporter
from dianoia.base.stopping import stop_reason
from dianoia.pipeline.fork_server import ForkServer
from dianoia.pipeline.messages import STOP, Done, Failed, Line, Message, Request, Total, Update

_POLL_SECONDS = 0.2
"""Longest wait before looking again whether the user asked to stop."""


@dataclass(slots=True, eq=False)
class _StageProcess:
    """The command's view of one stage's process."""

    request: Request
    reporter: Reporter
    connection: Connection
    outcome: Done | Failed | None = None
    is_closed: bool = False
    """Whether every message was read."""


class StageProcesses:
    """Starts processes through a `ForkServer` and relays their messages."""

    def __init__(self, locks: Sequence[int], capture: bool) -> None:
        """Keep the settings; no process starts yet.

        Args:
            locks: open lock files of the run directories, which every process keeps open.
            capture: send what stages print as messages, since it would tear a terminal's live lines.
        """
        self._locks, self._capture = locks, capture
        self._processes: dict[int, _StageProcess] = {}
        self._server: ForkServer | None = None
        self._count = 0
        self._stop_sent = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the fork server, which the first stage starts; at the end every process is ended."""
        with ExitStack() as self._held:
            yield

    def start(self, request: Request, reporter: Reporter) -> None:
        """Start the process of a stage and send it the request."""
        # A command whose stages are all done imports nothing.
        if self._server is None:
            self._server = self._held.enter_context(ForkServer(self._locks))
        self._count += 1
        with _explained():
            connection = self._server.start(self._count)
        # A process that was killed at once cannot read; `wait` will report how it ended.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.send((request, self._capture))
        self._processes[self._count] = _StageProcess(request, reporter, connection)

    def wait(self, running: Sequence[Request]) -> list[tuple[Request, Exception | None]]:
        """Relay messages for a moment and return the stages whose processes have ended."""
        assert self._server is not None, "stages run"
        self._send_stop()
        open_processes = {
            process.connection: process
            for process in self._processes.values()
            if not process.is_closed
        }
        ended = []
        # The server reports exits on `control`; each stage sends its messages on a connection of its own.
        with _explained():
            for ready in wait([self._server.control, *open_processes], _POLL_SECONDS):
                if ready is self._server.control:
                    ended.append(self._collect(*self._server.read_exit()))
                # Closed by `_collect` if its process has ended in this very round.
                elif not open_processes[ready].connection.closed:  # type: ignore[index]
                    _read_message(open_processes[ready])  # type: ignore[index]
        return ended

    def _send_stop(self) -> None:
        """Ask every stage to stop, once, if the user asked the command to stop."""
        if self._stop_sent or stop_reason() is None:
            return
        self._stop_sent = True
        for process in self._processes.values():
            with suppress(OSError):  # it has ended meanwhile
                process.connection.send(STOP)

    def _collect(self, number: int, status: int) -> tuple[Request, Exception | None]:
        """Read the last messages of a process that has ended, and return its request with its error."""
        process = self._processes.pop(number)
        # The exit may be seen before the last messages, among them the outcome.
        while not process.is_closed and process.connection.poll():
            _read_message(process)
        process.connection.close()
        request, outcome = process.request, process.outcome
        if isinstance(outcome, Done):
            return request, None
        if outcome is None:
            return request, killed_error(request.title, status)
        return request, stage_error(request.title, outcome)


@contextmanager
def _explained() -> Iterator[None]:
    """Raise UserError in the block if the fork server has died."""
    try:
        yield
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise UserError(
            "the process that starts the stages has ended, and with it every stage; the system may have run out of "
            "memory. The same command resumes from the last states, and fewer --jobs need less memory"
        ) from None


def _read_message(process: _StageProcess) -> None:
    """Read one message of a stage, or note that its connection is closed."""
    try:
        message: Message = process.connection.recv()
    except (EOFError, ConnectionResetError):
        process.is_closed = True
        return
    match message:
        case Total(total):
            process.reporter.set_total(total)
        case Update(done, metrics):
            process.reporter.update(done, metrics)
        case Line(text):
            process.reporter.print_line(text)
        case Done() | Failed():
            process.outcome = message


def killed_error(title: str, status: int) -> UserError:
    """Return the error of a process that ended without a message; `status` is minus the signal that killed it."""
    how = f"ended by itself with status {status}"
    if status < 0:
        how = f"was ended from outside by signal {-status}; the system may have run out of memory"
    return UserError(
        f"the process of {title} {how}. The stage is not done: the same command resumes it from its last state, and "
        "fewer --jobs need less memory"
    )


def stage_error(title: str, failure: Failed) -> Exception:
    """Return the error that a stage reported, as the class that it was."""
    if failure.error is None:
        return StageCrashed(f"{title} was ended by an error of the program\n{failure.text}")
    # By name, as an exception of another room may not unpickle; `Failed.error` is a class of `base.errors`.
    error_class: type[UserError] = getattr(errors, failure.error)
    return error_class(failure.text)
