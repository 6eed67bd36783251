"""Stopping after the current step: a state is written first, so that no finished step is lost.

Ctrl-C, SIGTERM or a full disk requests a stop, and a stage looks for the request between two steps. Sampling may take
minutes and changes nothing that a state holds, so a stage lets it be given up GRACE_SECONDS after a signal, and draws the
same samples when it resumes. A second signal ends the command at once. The request is a global of the process.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dianoia.base.errors import Stopped, UserError

SIGNAL_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
"""The signals that request a stop, by their usual names."""
GRACE_SECONDS = 5.0
"""Time that sampling has to end after a signal: half of what `docker stop` waits, a sixth of Slurm and Kubernetes."""

_reasons: list[UserError] = []
"""The reason of the request; empty if there is none. A list, so that a signal handler can append."""
_times: list[float] = []
"""When the reason came, by the monotonic clock."""
_sampling: list[None] = []
"""One entry per open block of `sampling_may_be_given_up`."""
_sources: list[Callable[[], bool]] = []
"""Functions that return True once another process requests a stop."""


def request_stop(reason: UserError) -> None:
    """Have the stage stop after the current step and raise `reason`; the first reason counts."""
    if not _reasons:
        _times.append(time.monotonic())  # first: whoever sees the reason looks for the time
        _reasons.append(reason)


def stop_reason() -> UserError | None:
    """Return the reason to stop; None if no stop is requested."""
    # Asked only until there is a reason: a connection that was read to its end would report a request forever.
    if not _reasons and any(is_requested() for is_requested in _sources):
        request_stop(Stopped("stopped"))
    return _reasons[0] if _reasons else None


def stop_if_requested(save: Callable[[], None] | None = None, point: str = "") -> None:
    """Write the state with `save` and raise the reason, if a stop is requested. Call it between two steps.

    `point`: where that is, such as `after step 12 of 24`, for the message on a signal.
    """
    reason = stop_reason()
    if reason is None:
        return
    # The state first, since the exception ends the stage.
    if save is not None:
        save()
    raise Stopped(point) if isinstance(reason, Stopped) and point else reason


@contextmanager
def sampling_may_be_given_up() -> Iterator[None]:
    """In the block, samplers raise Stopped once a signal is GRACE_SECONDS old; the caller saves what it has to."""
    _sampling.append(None)
    try:
        yield
    finally:
        _sampling.pop()


def give_up_sampling_if_overdue() -> None:
    """Raise Stopped if sampling has had its time after a signal and may be given up.

    Samplers call it between steps, endpoints between requests, from any thread.
    """
    if not _sampling:
        return
    reason = stop_reason()
    if isinstance(reason, Stopped) and time.monotonic() > _times[0] + GRACE_SECONDS:
        raise Stopped("in samples that are drawn again")


@contextmanager
def stop_when(is_requested: Callable[[], bool]) -> Iterator[None]:
    """In the block, also treat True from `is_requested` as a request to stop."""
    _sources.append(is_requested)
    try:
        yield
    finally:
        # A process may run another stage afterwards, as tests do.
        _sources.remove(is_requested)
        _forget()


@contextmanager
def handling_signals(handle: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """In the block, Ctrl-C and SIGTERM call `handle`; the earlier handlers come back, since a caller may have its own.

    Does nothing in any thread but the main one, since only that can handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in SIGNAL_NAMES}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stop_on_signals(print_line: Callable[[str], None]) -> Iterator[None]:
    """In the block, the first Ctrl-C or SIGTERM requests a stop, and a second signal raises KeyboardInterrupt with its name.

    Does nothing in any thread but the main one.
    """

    # Handlers run between two bytecodes of the main thread, so they must neither block nor raise before the second signal.
    def handle(number: int, _frame: FrameType | None) -> None:
        name = SIGNAL_NAMES[signal.Signals(number)]
        if _reasons:
            raise KeyboardInterrupt(f"ended at once by {name}")
        request_stop(Stopped(f"stopped by {name}"))
        print_line(
            f"{name}: stops after the current step and writes a state; sampling that takes longer than "
            f"{GRACE_SECONDS:.0f} s is given up and drawn again later; a second {name} ends at once"
        )

    try:
        with handling_signals(handle):
            yield
    finally:
        # A request that this thread could not have made belongs to another.
        if threading.current_thread() is threading.main_thread():
            _forget()


def _forget() -> None:
    _reasons.clear()
    _times.clear()
