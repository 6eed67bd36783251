"""Processes beside `dianoia run`: one per tracker, so that none can stop or slow a stage, or another tracker.

A process polls the run directories, at low priority and in a session of its own, so that Ctrl-C does not reach it. It ends
when its standard input closes, which also happens when the command is killed, and then sends what is still new. What
packages print goes to `follower.log`; a failure is one line on standard error, and the run goes on.
"""

import fcntl
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from dianoia.base.errors import RunInUse
from dianoia.sandbox import interpreter
from dianoia.storage.run_directory import RunDirectory
from dianoia.track.fed import Fed
from dianoia.track.follower import Follower, default_run_name
from dianoia.track.trackers import destination_of, open_tracker, own_folder

LOG_FILE = "follower.log"
"""In the folder of a tracker: what its package has printed."""
_LOCK_FILE = ".lock"
_POLL_SECONDS = 1.0
_LOCK_SECONDS = 60.0
"""Longest wait for the follower of a killed command, which sends its last rows."""
_END_SECONDS = 60.0
"""Time for a follower to send its last rows before it is ended."""
_REPORTED = 3
"""Exit status of a follower that has said why it ended."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run directory, and how it is tracked."""

    path: Path
    run_name: str | None
    """None: the folder's name."""
    project: str | None
    online: bool


@contextmanager
def follower(run: TrackedRun, name: str, wait: float = _LOCK_SECONDS) -> Iterator[Follower]:
    """Yield the follower of a run for one tracker; at the end what it has sent is written out.

    `wait`: longest seconds to wait for another follower that ends.

    Raises:
        RunInUse: another follower feeds the same tracker.
        Exception: whatever the tracker's package raises.
    """
    folder = own_folder(name, run.path)
    folder.mkdir(parents=True, exist_ok=True)
    destination = destination_of(name, run.path, run.project, run.online)
    # Before the record is read: the earlier follower writes it until it ends.
    with _lock(folder, wait):
        fed = Fed.read(folder)
        tracker = open_tracker(name, destination)
        run_name = run.run_name or default_run_name(run.path)
        feeding = Follower(RunDirectory(run.path), tracker, fed, run_name, _say)
        try:
            yield feeding
        finally:
            feeding.close()


@contextmanager
def _lock(folder: Path, wait: float) -> Iterator[None]:
    """Hold a tracker's folder; wait for another follower that ends. Raises RunInUse."""
    deadline = time.monotonic() + wait
    with (folder / _LOCK_FILE).open("w") as file:
        while True:
            try:
                # The lock goes with the process, so a killed follower leaves none behind.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RunInUse(
                        f"{folder}: another process feeds this tracker, and two would send each row twice; wait until the "
                        "run or the other `dianoia track` has ended, and run the same command again"
                    ) from None
                time.sleep(0.1)
            except OSError:  # a file system without locks
                break
        yield


def _say(message: str) -> None:
    sys.stderr.write(f"dianoia: tracking: {message}\n")
    sys.stderr.flush()


# In the command ----------------------------------------------------------------------------------


class Followers:
    """The followers of the runs of a command. Use as a context manager around the runs."""

    def __init__(self, runs: Sequence[tuple[TrackedRun, Sequence[str]]]) -> None:
        """Keep the runs, each with the names of its trackers; no process starts yet."""
        self._runs = runs
        self._processes: list[tuple[TrackedRun, str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        for run, names in self._runs:
            # Once per tracker: a second follower would wait for the lock of the first.
            for name in dict.fromkeys(names):
                self._start(run, name)
        return self

    def _start(self, run: TrackedRun, name: str) -> None:
        arguments = [name, str(run.path.absolute()), run.run_name, run.project, run.online]
        try:
            process = subprocess.Popen(
                interpreter.command(f"{__name__}:serve", arguments),
                # Never written to: the system closes it when this process ends, however it ends.
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                # Ctrl-C in a terminal goes to a whole process group, and the last rows are still to be sent.
                start_new_session=True,
            )
        except OSError as error:  # a limit on processes or memory
            _say(
                f"{name} could not be started ({error}); the run goes on. {_advice(run.path, name)}"
            )
        else:
            self._processes.append((run, name, process))

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # All of them first, so that they finish at the same time.
        for _, _, process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        deadline = time.monotonic() + _END_SECONDS
        try:
            for run, name, process in self._processes:
                _wait(run, name, process, max(0.0, deadline - time.monotonic()))
        finally:
            # Also after a second Ctrl-C: the next command goes on from what the tracker holds.
            for _, _, process in self._processes:
                process.kill()
                process.wait()


def _wait(run: TrackedRun, name: str, process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for a follower, and print what to do if it has not sent everything and has not said why."""
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        how = f"has not taken the last rows within {_END_SECONDS:.0f} seconds"
    else:
        if status in (0, _REPORTED):
            return
        how = f"ended with status {status}"
    _say(f"{name} {how}; the run is not affected. {_advice(run.path, name)}")


def _advice(run: Path, name: str) -> str:
    log = own_folder(name, run) / LOG_FILE
    return (
        f"To send what is missing: dianoia track {shlex.quote(str(run))} --to {name}; more in {log}"
    )


# In a follower -----------------------------------------------------------------------------------


def serve(name: str, path: str, run_name: str | None, project: str | None, online: bool) -> None:
    """Feed a tracker with a run until standard input closes, then with the remainder."""
    # A batch system signals every process of a job; this one ends after the last row.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(10)
    run = TrackedRun(Path(path), run_name, project, online)
    # Messages keep the command's standard error; whatever packages print goes to the log.
    sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    try:
        log = own_folder(name, run.path) / LOG_FILE
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        # Descriptors, since libraries in C and child processes write there too.
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        with follower(run, name) as feeding:
            _feed_until_closed(feeding)
    except Exception as error:  # noqa: BLE001 - whatever a tracker's package raises must not reach the run
        reason = " ".join(str(error).split()) or type(error).__name__
        _say(
            f"{name} failed and is left out ({reason[:300]}); the run goes on. {_advice(run.path, name)}"
        )
        # Threads of the package may hang in what has failed.
        os._exit(_REPORTED)


def _feed_until_closed(feeding: Follower) -> None:
    ended = False
    while True:
        sent = feeding.feed()
        # One more look after the end: the command has written its last row before it closed the pipe.
        if ended and not sent:
            return
        if not ended:
            # Waits for the next look and for the end at the same time.
            ready, _, _ = select.select([0], [], [], _POLL_SECONDS)
            ended = bool(ready) and not os.read(0, 1)
