"""Stopping after the step in hand: a state is written first, so that nothing finished is lost.

Ctrl-C or SIGTERM asks, or a disk that has become full; a stage looks between two steps. A second signal ends the
command at once.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dianoia.base.errors import Stopped, UserError

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
"""The signals that ask, as people call them."""

_asked: list[UserError] = []
_told: list[Callable[[], bool]] = []


def ask(reason: UserError) -> None:
    """Have the stage stop after the step in hand and raise `reason`; the first reason counts."""
    if not _asked:
        _asked.append(reason)


def asked() -> UserError | None:
    """Why the stage is to stop; None where it is not."""
    if not _asked and any(told() for told in _told):
        ask(Stopped("stopped"))
    return _asked[0] if _asked else None


def leave_if_asked(save: Callable[[], None] | None = None) -> None:
    """Call between two steps: write the state and raise the reason, if somebody asked to stop."""
    reason = asked()
    if reason is None:
        return
    if save is not None:
        save()
    raise reason


@contextmanager
def listening(told: Callable[[], bool]) -> Iterator[None]:
    """In the block, `told` is asked too whether to stop."""
    _told.append(told)
    try:
        yield
    finally:
        _told.remove(told)
        _asked.clear()


@contextmanager
def on_signals(say: Callable[[str], None]) -> Iterator[None]:
    """In the block the first Ctrl-C or SIGTERM asks to stop, and a second one raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if _asked:
            raise KeyboardInterrupt
        name = NAMES[signal.Signals(number)]
        ask(Stopped(f"stopped by {name} after the step in hand"))
        say(f"{name}: stops after the step in hand and writes a state; once more ends it at once")

    before = {number: signal.signal(number, handle) for number in NAMES}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.clear()
