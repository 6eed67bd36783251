"""One command per run directory at a time: an advisory lock, which the system releases when its holder dies.

The lock is `flock` on the file `.lock`, which names its holder and which the holder removes. A file that a kill left
blocks nobody. A process that the holder starts may inherit the open file and then holds the lock too: a command that
comes after the holder was killed waits for that process to end. On a file system without locks `lock_directory` yields
None and a second command is not noticed.
"""

import errno
import fcntl
import os
import platform
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path

from dianoia.base.errors import MachineFault, RunInUse
from dianoia.base.faults import error_path

LOCK_FILE = ".lock"
_MAX_WAIT = 20.0
"""Seconds to wait for processes that a killed holder has left."""
_CLOCK_SLACK = 60.0
"""Seconds by which the clocks of the system and of the file system may differ."""
_PROCESSES = Path("/proc")
# Errors of flock that mean: this file system has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def lock_directory(folder: Path) -> Iterator[int | None]:
    """Create a folder if it is missing, and lock it for the block. Folders that the block leaves empty are removed again.

    Yields the open lock file, or None on a file system without locks.

    Raises:
        RunInUse: another process holds the lock; nothing was touched.
        MachineFault: the folder cannot be created or written, or `.lock` is another file's second name.
    """
    # Innermost first, the order in which empty folders can be removed.
    created = [path for path in (folder, *folder.parents) if not _exists(path)]
    with error_path(folder):
        folder.mkdir(parents=True, exist_ok=True)
    file, descriptor = folder / LOCK_FILE, None
    try:
        descriptor = _acquire(file)
        yield descriptor
    finally:
        if descriptor is not None:
            # Removed while it is locked: a process that waits for this very file then opens the new one.
            file.unlink(missing_ok=True)
            os.close(descriptor)
        with suppress(OSError):  # raised for a folder that is not empty
            for path in created:
                path.rmdir()


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that a lock names."""

    pid: int | None
    """None if the file does not say it."""
    host: str
    since: datetime
    """When it took the lock, by the clock of the file system."""

    @property
    def is_here(self) -> bool:
        """Return True if it is on this machine, so that it is known to be alive; of another one nothing is known."""
        return self.host == platform.node()


def holder_of(folder: Path) -> Holder | None:
    """Return who holds the lock of a folder: a process that is alive, or one on another machine; None if nobody does.

    It reads who holds the lock and does not touch it: a command that starts at this moment must not find it taken.
    """
    file = folder / LOCK_FILE
    try:
        text, changed = file.read_text(encoding="utf-8", errors="replace"), file.stat().st_mtime
    except OSError:
        return None  # nobody, or nobody that this user may see
    if not text or _has_ended(text, changed):
        return None
    pid, _, host = text.partition(" ")
    since = datetime.fromtimestamp(changed, UTC)
    return Holder(int(pid) if pid.isdecimal() else None, host, since)


def _exists(path: Path) -> bool:
    """Return True if the path exists; False also if its parent is a file, or if the system cannot tell."""
    try:
        return path.exists()
    except OSError:
        return False


def _open(file: Path) -> int:
    """Open the lock file; refuse a link and a second name of another file, which would be overwritten."""
    with error_path(file.parent):
        # O_NONBLOCK: opening a pipe under this name must not wait for a writer.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(file, flags, 0o666)
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
        os.close(descriptor)
        raise MachineFault(
            f"{file}: this is a second name of another file, a pipe or a device, and the lock of a run directory would "
            "overwrite it; remove it, and run the same command again"
        )
    return descriptor


def _acquire(file: Path) -> int | None:
    """Return the open lock file, locked; None if the file system has no locks."""
    deadline = time.monotonic() + _MAX_WAIT
    while True:
        descriptor = _open(file)
        try:
            # flock, not lockf: its lock belongs to the open file, which processes started here may inherit.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same_file(file, descriptor):
                # The holder writes its name only now: before, the file still belongs to another holder.
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()} {platform.node()}".encode())
                return descriptor
        except BlockingIOError:
            holder = os.read(descriptor, 1000).decode(errors="replace")
            since = os.fstat(descriptor).st_mtime
            os.close(descriptor)
            # A holder that has ended leaves processes that end by themselves within seconds; anything else keeps the lock.
            has_ended = _has_ended(holder, since)
            if not has_ended or time.monotonic() > deadline:
                raise RunInUse(_refusal(file.parent, holder, has_ended)) from None
            time.sleep(0.05)
            continue
        except OSError as error:
            os.close(descriptor)
            if error.errno not in _NO_LOCKS:
                raise
            file.unlink(missing_ok=True)
            return None
        # Locked a file that its last holder had just removed; open the one that is there now.
        os.close(descriptor)


def _is_same_file(file: Path, descriptor: int) -> bool:
    """Return True unless the last holder has removed the file after it was opened here."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _has_ended(holder: str, since: float) -> bool:
    """Return True if the process that the lock names has ended; processes that it started may still be at work.

    since: when the lock was taken, in seconds since 1970. A process that began later only has the number of the holder.
    """
    pid, _, host = holder.partition(" ")
    # Process ids mean nothing on another machine, which may share the disk.
    if not pid.isdecimal() or host != platform.node():
        return False
    try:
        # Signal 0 is not delivered; it tells whether the process exists.
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it exists and belongs to another user
        pass
    return _begin_of(int(pid)) > since + _CLOCK_SLACK


def _begin_of(pid: int) -> float:
    """Return when a process began, in seconds since 1970; -inf if the system does not say."""
    try:
        # Behind the name, which may hold blanks and brackets: the 22nd field is in clock ticks since the machine's start.
        about = (_PROCESSES / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2]
        ticks = int(about.split()[19])
        lines = (_PROCESSES / "stat").read_text(encoding="ascii").splitlines()
        start = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
        return start + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return -inf


def _refusal(folder: Path, holder: str, has_ended: bool) -> str:
    """Return the message on a folder that another process holds."""
    pid, _, host = holder.partition(" ")
    process = f"process {pid} on {host}" if pid else "another process"
    end = f"end it (kill {pid}, on {host})" if pid else "end it"
    if has_ended:
        process, end = f"a process that {process} started before it ended", "end it"
    return (
        f"{process} is using the run directory {folder}, and two would overwrite each other's files; wait "
        f"until it is done, or {end} and run the same command again, which resumes from the last state, or give "
        "another --out"
    )
