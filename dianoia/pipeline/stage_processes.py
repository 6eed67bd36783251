"""Executor that runs each stage in processes of its own, one per rank, several stages at the same time. No torch here."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.reduction import send_handle

from dianoia.base.errors import UserError
from dianoia.base.progress import Reporter
from dianoia.base.stopping import stop_reason
from dianoia.distributed.placement import LOOPBACK, Placement
from dianoia.pipeline.fork_server import ForkServer
from dianoia.pipeline.messages import STOP, Request
from dianoia.pipeline.rank_processes import RankProcess, StageRanks

_POLL_SECONDS = 0.2
"""Longest wait before looking again whether the user asked to stop."""


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
