"""Stages in processes of their own, one per rank, as the command sees them: executor for several jobs or ranks. No torch.

`StageProcesses` starts the processes through a `ForkServer`, several stages at the same time, and relays what they say. A stage is
done when rank 0 is. It has failed as soon as any rank has ended otherwise: the others, which would wait for it, are killed after
a moment in which they may say what they know. The error of the stage names the rank, what it did and why. What a process itself
does is in `stage_process`.
"""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import send_handle

from dianoia.base import errors
from dianoia.base.errors import RankError, StageCrashed, Stopped, UserError
from dianoia.base.progress import Reporter
from dianoia.base.stopping import stop_reason
from dianoia.distributed.placement import LOOPBACK, Placement
from dianoia.pipeline.fork_server import ForkServer
from dianoia.pipeline.messages import (
    STOP,
    At,
    Done,
    Failed,
    Line,
    Message,
    Request,
    Total,
    Update,
)

_POLL_SECONDS = 0.2
"""Longest wait before looking again whether the user asked to stop."""
_MOMENT_SECONDS = 1.5
"""Time for the other ranks to say how they end, after one has ended otherwise than done."""
_END_SECONDS = 30.0
"""Time for the other ranks to end by themselves after rank 0 is done."""

# The ranks of one stage ---------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class RankProcess:
    """One rank."""

    rank: int
    number: int
    """By which the fork server knows it."""
    connection: Connection
    outcome: Done | Failed | None = None
    status: int | None = None
    """Exit status, or minus the signal that ended it; None while it runs."""
    point: str = "start"
    """What it did last."""
    is_closed: bool = False
    """Whether every message was read."""
    is_killed: bool = False
    """Whether the command has killed it."""

    @property
    def has_ended(self) -> bool:
        """Return True once the process is gone."""
        return self.status is not None

    @property
    def has_failed(self) -> bool:
        """Return True if the process has ended, or is about to, otherwise than done or by the command."""
        died = self.has_ended and self.outcome is None and not self.is_killed
        return died or isinstance(self.outcome, Failed)


@dataclass(slots=True, eq=False)
class StageRanks:
    """All ranks of a stage."""

    request: Request
    reporter: Reporter
    processes: Sequence[RankProcess]
    failed: list[RankProcess] = field(default_factory=list)
    """The ranks that have failed, in the order in which that was seen."""
    deadline: float | None = None
    """When ranks that still run are killed; None while all is well."""

    def read_message(self, process: RankProcess) -> None:
        """Read one message of a rank, or note that its connection is closed."""
        try:
            message: Message = process.connection.recv()
        # No failure yet: a process that is done closes its end too. Its exit status says how it ended.
        except (EOFError, ConnectionResetError):
            process.is_closed = True
            return
        match message:
            case Total(total):
                self.reporter.set_total(total)
            case Update(done, metrics):
                self.reporter.update(done, metrics)
            case Line(text):
                self.reporter.print_line(text)
            case At(point):
                process.point = point
            case Done() | Failed():
                process.outcome = message

    def ended(self, process: RankProcess, status: int) -> None:
        """Note that a rank has ended, and read its last messages, among them the outcome."""
        process.status = status
        # The exit may be noticed before messages that were sent earlier, since both come over connections of their own.
        while not process.is_closed and process.connection.poll():
            self.read_message(process)
        process.connection.close()
        process.is_closed = True

    def look(self, kill: Callable[[int], object]) -> bool:
        """Kill the ranks for which nothing is left to do; return True once all have ended."""
        now = time.monotonic()
        self.failed += [p for p in self.processes if p.has_failed and p not in self.failed]
        # The deadline is set once: later failures are mostly consequences, and must not put the end off.
        if self.deadline is None:
            if self.failed:
                self.deadline = now + _MOMENT_SECONDS
            elif isinstance(self.processes[0].outcome, Done):
                self.deadline = now + _END_SECONDS
        running = [process for process in self.processes if not process.has_ended]
        if self.deadline is not None and now > self.deadline:
            for process in running:
                # Noted before the kill: a rank that the command has killed is no cause of a failure.
                if not process.is_killed:
                    process.is_killed = True
                    kill(process.number)
        return not running

    def error(self) -> Exception | None:
        """Return the error that ended the stage; None if it is done."""
        first = self.processes[0]
        # What other ranks do after rank 0 has written everything changes nothing.
        if isinstance(first.outcome, Done):
            return None
        title = self.request.title
        cause = self._cause()
        if len(self.processes) == 1 or self._is_alike(cause):
            outcome = cause.outcome
            if isinstance(outcome, Failed):
                return stage_error(title, outcome)
            return killed_error(title, cause.status or 0)
        who = f"rank {cause.rank} of {len(self.processes)}, {cause.point}"
        if not isinstance(cause.outcome, Failed):
            return killed_error(f"{title} ({who})", cause.status or 0)
        error = stage_error(f"{title} ({who})", cause.outcome)
        # An error of the exchange names its ranks itself.
        if isinstance(error, StageCrashed | RankError):
            return error
        return type(error)(f"{who}: {error}")

    def _cause(self) -> RankProcess:
        """Return the rank whose end came first in truth: not one that only noticed the end of another."""
        # A RankError is what the others meet once a rank is gone. It is the cause only where nobody has another error.
        noticed = [p for p in self.failed if _error_name(p) == RankError.__name__]
        causes = [process for process in self.failed if process not in noticed]
        # Where several ranks meet the same error, rank 0 speaks for them.
        return min(
            causes, key=lambda p: (p.rank != 0, self.failed.index(p)), default=self.failed[0]
        )

    def _is_alike(self, cause: RankProcess) -> bool:
        """Return True if the error is that of a process by itself: a stop, or one that every rank has met."""
        if _error_name(cause) == Stopped.__name__:
            return True
        texts = {p.outcome.text if isinstance(p.outcome, Failed) else None for p in self.processes}
        return len(texts) == 1 and None not in texts


def _error_name(process: RankProcess) -> str | None:
    return process.outcome.error if isinstance(process.outcome, Failed) else None


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


# The executor -------------------------------------------------------------------------------------


class StageProcesses:
    """Starts processes through a `ForkServer` and relays their messages."""

    def __init__(self, locks: Sequence[int], capture: bool) -> None:
        """Keep the settings; no process starts yet.

        Args:
            locks: open lock files of the run directories, which every process keeps open.
            capture: send what stages print as messages, since it would tear a terminal's live lines.
        """
        self._locks, self._capture = locks, capture
        self._stages: list[StageRanks] = []
        self._server: ForkServer | None = None
        self._count = 0
        self._stop_sent = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the fork server, which the first stage starts; at the end every process is ended."""
        with ExitStack() as self._held:
            yield

    def start(self, request: Request, reporter: Reporter) -> None:
        """Start the processes of a stage and send them the request."""
        processes = [self._start(rank) for rank in range(request.ranks)]
        self._stages.append(StageRanks(request, reporter, processes))
        if request.ranks == 1:
            self._send(processes[0], (request, self._capture, None))
            return
        # The ranks meet at a socket that no other machine, and no other command, can have opened.
        with socket.create_server((LOOPBACK, 0)) as listener:
            port = listener.getsockname()[1]
            for process in processes:
                placement = Placement(
                    process.rank, request.ranks, process.rank, request.ranks, port=port
                )
                self._send(process, (request, self._capture, placement))
            with suppress(BrokenPipeError, ConnectionResetError):
                send_handle(processes[0].connection, listener.fileno(), None)

    def _start(self, rank: int) -> RankProcess:
        # A command whose stages are all done imports nothing.
        if self._server is None:
            self._server = self._held.enter_context(ForkServer(self._locks))
        self._count += 1
        with _explained():
            connection = self._server.start(self._count)
        return RankProcess(rank, self._count, connection)

    def _send(self, process: RankProcess, message: object) -> None:
        # A process that was killed at once cannot read; `wait` will report how it ended.
        with suppress(BrokenPipeError, ConnectionResetError):
            process.connection.send(message)

    def wait(self, running: Sequence[Request]) -> list[tuple[Request, Exception | None]]:
        """Relay messages for a moment and return the stages whose processes have ended."""
        assert self._server is not None, "stages run"
        self._send_stop()
        processes = [(stage, process) for stage in self._stages for process in stage.processes]
        open_processes = {
            process.connection: (stage, process)
            for stage, process in processes
            if not process.is_closed
        }
        # The server reports exits on `control`; each rank sends its messages on a connection of its own.
        with _explained():
            for ready in wait([self._server.control, *open_processes], _POLL_SECONDS):
                if ready is self._server.control:
                    self._note_exit(*self._server.read_exit())
                    continue
                stage, process = open_processes[ready]  # type: ignore[index]
                # Closed by `_note_exit` if the process has ended in this very round.
                if not process.is_closed:
                    stage.read_message(process)
            over = [stage for stage in self._stages if stage.look(self._server.kill)]
        self._stages = [stage for stage in self._stages if stage not in over]
        return [(stage.request, stage.error()) for stage in over]

    def _send_stop(self) -> None:
        """Ask every stage to stop, once, if the user asked the command to stop."""
        if self._stop_sent or stop_reason() is None:
            return
        self._stop_sent = True
        for stage in self._stages:
            # Rank 0 writes the state; the others have nothing that would be lost.
            with suppress(OSError):  # it has ended meanwhile
                stage.processes[0].connection.send(STOP)

    def _note_exit(self, number: int, status: int) -> None:
        for stage in self._stages:
            for process in stage.processes:
                if process.number == number:
                    stage.ended(process, status)


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
