"""The process of one stage: reads a request from its connection, runs the stage, sends progress and the outcome."""

import signal
import sys
import traceback
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from io import TextIOBase
from multiprocessing.connection import Connection
from types import FrameType

from dianoia.base import errors
from dianoia.base.faults import fault_message
from dianoia.base.progress import Reporter
from dianoia.base.stopping import request_stop, stop_when
from dianoia.pipeline.messages import END_NOW, Done, Failed, Line, Request, Total, Update
from dianoia.pipeline.stage import run_stage


class Relay(Reporter):
    """Sends progress to the process that shows it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def set_total(self, total: int) -> None:
        """Send the total."""
        self._connection.send(Total(total))

    def update(self, done: int, metrics: Mapping[str, float | None]) -> None:
        """Send how far the stage has come."""
        self._connection.send(Update(done, dict(metrics)))

    def print_line(self, text: str) -> None:
        """Send a line to print."""
        self._connection.send(Line(text))


class _SentLines(TextIOBase):
    """An output stream that sends each whole line."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._unfinished = connection, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        for line in lines:
            self._connection.send(Line(line))
        return len(text)


def work(connection: Connection) -> None:
    """Run the requested stage to its end and send the outcome."""
    # Ctrl-C goes to the command, which then sends STOP. Not SIG_IGN: programs that a stage starts would inherit it.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: request_stop(errors.Stopped("SIGTERM")))
    signal.signal(END_NOW, _end)
    request: Request
    request, capture = connection.recv()
    with ExitStack() as streams:
        # After the request only STOP can arrive, so anything to read means: stop.
        streams.enter_context(stop_when(connection.poll))
        if capture:
            streams.enter_context(redirect_stdout(_SentLines(connection)))
            streams.enter_context(redirect_stderr(_SentLines(connection)))
        connection.send(_outcome(request, connection))


def _end(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(1)


def _outcome(request: Request, connection: Connection) -> Done | Failed:
    """Run the stage and return how it ended."""
    try:
        run_stage(request, Relay(connection))
    except errors.UserError as error:
        return Failed(str(error), _class_name(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the command reports it
        fault = fault_message(error)
        # An error of the machine can be fixed by the user, whatever class the library has raised.
        if fault is not None:
            return Failed(f"{request.name}: {fault}", errors.MachineFault.__name__)
        return Failed(traceback.format_exc(), None)
    return Done()


def _class_name(error: errors.UserError) -> str:
    """Return the nearest class in `base.errors`, by which the command can raise the error again."""
    # Other rooms derive from the classes of `base.errors`; the command may not have imported theirs.
    bases = (base for base in type(error).__mro__ if base.__module__ == errors.__name__)
    return next(bases).__name__
