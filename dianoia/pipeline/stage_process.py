"""The process of one rank of a stage: reads a request, joins the other ranks, runs the stage, sends progress and the outcome.

Rank 0 reports, and obeys a request to stop. The other ranks end with it.
"""

import os
import signal
import sys
import traceback
from collections.abc import Mapping
from contextlib import (
    AbstractContextManager,
    ExitStack,
    nullcontext,
    redirect_stderr,
    redirect_stdout,
)
from dataclasses import replace
from io import TextIOBase
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from threading import Lock
from types import FrameType
from typing import NoReturn

import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from dianoia.base import errors
from dianoia.base.faults import fault_message
from dianoia.base.progress import Reporter, Silence
from dianoia.base.stopping import request_stop, stop_when
from dianoia.distributed.group import ranks
from dianoia.distributed.placement import Placement
from dianoia.distributed.process_group import among_ranks
from dianoia.pipeline.messages import (
    END_NOW,
    At,
    Done,
    Failed,
    Line,
    Message,
    Request,
    Total,
    Update,
)
from dianoia.pipeline.stage import run_stage


class Outbox:
    """Sends messages to the command, from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, Lock()

    def send(self, message: Message) -> None:
        """Send one message."""
        # The main thread sends progress and the watch of ranks its error: halves of two messages must not mix.
        with self._lock:
            self._connection.send(message)


class Relay(Reporter):
    """Sends progress to the process that shows it."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def set_total(self, total: int) -> None:
        """Send the total."""
        self._outbox.send(Total(total))

    def update(self, done: int, metrics: Mapping[str, float | None]) -> None:
        """Send how far the stage has come."""
        self._outbox.send(Update(done, dict(metrics)))

    def print_line(self, text: str) -> None:
        """Send a line to print."""
        self._outbox.send(Line(text))


class _SentLines(TextIOBase):
    """An output stream that sends each whole line."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox, self._unfinished = outbox, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        for line in lines:
            # Only whole lines: the command prints each above its progress bar.
            self._outbox.send(Line(line))
        return len(text)


class _Dropped(TextIOBase):
    """An output stream that goes nowhere."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


def warm_up() -> None:
    """Do what libraries put off until they are first used, in the process that every stage is forked from; computes nothing.

    It takes 0.3 s, which each rank of each stage would take again.
    """
    pa.array([0])  # looks for pandas
    # The rules by which names of weights are converted, about a thousand regular expressions.
    get_checkpoint_conversion_mapping("qwen3")  # type: ignore[no-untyped-call]


def work(connection: Connection) -> None:
    """Run the requested stage to its end and send the outcome."""
    # Ctrl-C goes to the command, which then sends STOP. Not SIG_IGN: programs that a stage starts would inherit it.
    signal.signal(signal.SIGINT, lambda *_: None)
    # Before the request is read: the command may end while this process still waits for it.
    signal.signal(END_NOW, _end)
    request: Request
    placement: Placement | None
    request, capture, placement = connection.recv()
    is_first = placement is None or placement.rank == 0
    # Rank 0 finishes its step and writes the state; the others go on until it has.
    signal.signal(signal.SIGTERM, _stop if is_first else lambda *_: None)
    if placement is not None and placement.is_host:
        # Directly behind the request, as the command sends it: a handle cannot be told from a message.
        placement = replace(placement, listener=recv_handle(connection))
    outbox = Outbox(connection)
    with ExitStack() as streams:
        # After the request only STOP can arrive, so anything to read means: stop.
        streams.enter_context(stop_when(connection.poll))
        if capture or not is_first:
            stream = _SentLines(outbox) if is_first else _Dropped()
            streams.enter_context(redirect_stdout(stream))
            streams.enter_context(redirect_stderr(stream))
        # The last message, sent only once the group is closed: the command takes Done as the end of the stage.
        outbox.send(_outcome(request, placement, outbox))


def _stop(_signal: int, _frame: FrameType | None) -> None:
    request_stop(errors.Stopped("SIGTERM"))


def _end(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(1)


def _outcome(request: Request, placement: Placement | None, outbox: Outbox) -> Done | Failed:
    """Run the stage and return how it ended."""
    try:
        with _among_ranks(request, placement, outbox):
            run_stage(request, Relay(outbox) if ranks().writes else Silence())
    except Exception as error:  # noqa: BLE001 - whatever it is, the command reports it
        return _failure(request.name, error)
    return Done()


def _among_ranks(
    request: Request, placement: Placement | None, outbox: Outbox
) -> AbstractContextManager[object]:
    """Return a context manager in which this process is one of the ranks of the stage, if there are several."""
    if placement is None:
        return nullcontext()

    def end(text: str) -> NoReturn:
        outbox.send(Failed(text, errors.RankError.__name__))
        os._exit(1)

    def describe(error: Exception) -> str:
        # The last line alone, which of a traceback is the error; the others show it within a line of their own.
        return _failure(request.name, error).text.rstrip().rpartition("\n")[2]

    return among_ranks(placement, describe, lambda point: outbox.send(At(point)), end)


def _failure(name: str, error: Exception) -> Failed:
    """Return how a stage ended, as the command raises it again."""
    if isinstance(error, errors.UserError):
        return Failed(str(error), _class_name(error))
    fault = fault_message(error)
    # An error of the machine can be fixed by the user, whatever class the library has raised.
    if fault is not None:
        return Failed(f"{name}: {fault}", errors.MachineFault.__name__)
    return Failed("".join(traceback.format_exception(error)), None)


def _class_name(error: errors.UserError) -> str:
    """Return the nearest class in `base.errors`, by which the command can raise the error again."""
    # Other rooms derive from the classes of `base.errors`; the command may not have imported theirs.
    bases = (base for base in type(error).__mro__ if base.__module__ == errors.__name__)
    return next(bases).__name__
