"""The process of one stage: reads a request from its connection, runs the stage, tells how it goes and how it ended."""

import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from io import TextIOBase
from multiprocessing.connection import Connection
from types import FrameType

from dianoia.base import errors
from dianoia.base.faults import fault_of
from dianoia.base.progress import Reports
from dianoia.base.stopping import ask, listening
from dianoia.pipeline.messages import END_NOW, Done, Expected, Failed, Moved, Request, Told
from dianoia.pipeline.stage import run_stage, settle


class Relay(Reports):
    """Progress that is shown by another process."""

    def __init__(self, connection: Connection, moved: Callable[[], object]) -> None:
        self._connection, self._moved = connection, moved

    def expect(self, total: int) -> None:
        """As `Reports`."""
        self._connection.send(Expected(total))

    def show(self, done: int, figures: Mapping[str, float | None]) -> None:
        """As `Reports`."""
        self._moved()
        self._connection.send(Moved(done, dict(figures)))

    def say(self, text: str) -> None:
        """As `Reports`."""
        self._connection.send(Told(text))


class _Printed(TextIOBase):
    """A stream whose whole lines are told."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._rest = connection, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._connection.send(Told(line))
        return len(text)


def work(connection: Connection) -> None:
    """Run the stage that is asked for to its end."""
    # Ctrl-C is for the command, which tells us to stop. No "ignore": programs that a stage starts would inherit that.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: ask(errors.Stopped("SIGTERM")))
    signal.signal(END_NOW, _end)
    request: Request = connection.recv()
    with ExitStack() as streams:
        streams.enter_context(listening(connection.poll))  # whatever comes now means: stop
        if request.capture:
            streams.enter_context(redirect_stdout(_Printed(connection)))
            streams.enter_context(redirect_stderr(_Printed(connection)))
        connection.send(_outcome(request, connection))


def _end(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(1)


def _outcome(request: Request, connection: Connection) -> Done | Failed:
    try:
        device = settle(request.threads, request.sandbox)
        show = partial(_shown, connection)
        run_stage(request.name, request.recipe, request.run, device, show)
    except errors.UserError as error:
        return Failed(str(error), _kind(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the command tells a person
        fault = fault_of(error)
        if fault is not None:
            return Failed(f"{request.name}: {fault}", errors.MachineFault.__name__)
        return Failed(traceback.format_exc(), None)
    return Done()


def _kind(error: errors.UserError) -> str:
    """The class by which the command can raise it again."""
    known = (kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    return next(known).__name__


@contextmanager
def _shown(connection: Connection, total: int, moved: Callable[[], object]) -> Iterator[Reports]:
    relay = Relay(connection, moved)
    relay.expect(total)
    yield relay
