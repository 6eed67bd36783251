"""One process at work in a folder at a time: an advisory lock that the system takes back from whoever dies.

The lock is `flock` on a file `.lock`, which names its holder and is removed by it. A file that a kill left behind
holds nobody up. A process that the holder starts may be given the open file: it then holds the folder too, and who
comes after the holder was killed waits for it to end. Left out: file systems without locks, where `at_work` says so
and nobody is noticed.
"""

import errno
import fcntl
import os
import platform
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dianoia.base.errors import MachineFault, RunInUse
from dianoia.base.faults import naming

LOCK_FILE = ".lock"
_PATIENCE = 20.0
"""Seconds for which processes that a killed holder has left may take to end."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def at_work(folder: Path) -> Iterator[int | None]:
    """Hold a folder, which is made where there is none and removed again if the block leaves nothing in it.

    Yields the open lock, None on a file system without locks.

    Raises:
        RunInUse: another process holds it; nothing was touched.
        MachineFault: the folder cannot be made or written, or its lock is no file of its own.
    """
    made = [path for path in (folder, *folder.parents) if not _exists(path)]
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    file, descriptor = folder / LOCK_FILE, None
    try:
        descriptor = _held(file)
        yield descriptor
    finally:
        if descriptor is not None:
            file.unlink(
                missing_ok=True
            )  # while it is held: who waits for this very file looks again
            os.close(descriptor)
        with suppress(OSError):  # something is in it
            for path in made:
                path.rmdir()


def _exists(path: Path) -> bool:
    """Whether there is something; False too where its parent is a file, or the system says nothing."""
    try:
        return path.exists()
    except OSError:
        return False


def _open(file: Path) -> int:
    """The lock file, open. Written through neither a link nor a second name of another file."""
    with naming(file.parent):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(file, flags, 0o644)
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
        os.close(descriptor)
        raise MachineFault(
            f"{file}: the lock of a run directory is a file of its own, and this is another file's second name, a pipe or "
            "a device, which would be overwritten; remove it, and type the same command again"
        )
    return descriptor


def _held(file: Path) -> int | None:
    """The open lock file, held; None where the file system has no locks."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        descriptor = _open(file)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(file, descriptor):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()} {platform.node()}".encode())
                return descriptor
        except BlockingIOError:
            who = os.read(descriptor, 1000).decode(errors="replace")
            os.close(descriptor)
            gone = _is_gone(who)
            if not gone or time.monotonic() > deadline:
                raise RunInUse(_refusal(file.parent, who, gone)) from None
            time.sleep(0.05)
            continue
        except OSError as error:
            os.close(descriptor)
            if error.errno not in _NO_LOCKS:
                raise
            file.unlink(missing_ok=True)
            return None
        os.close(descriptor)


def _is_still(file: Path, descriptor: int) -> bool:
    """Whether the file is the one that was opened, and not removed by its last holder since."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _is_gone(who: str) -> bool:
    """Whether the process that the file names has ended; what it started may be at work still."""
    pid, _, host = who.partition(" ")
    if not pid.isdecimal() or host != platform.node():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _refusal(folder: Path, who: str, gone: bool) -> str:
    pid, _, host = who.partition(" ")
    process = f"process {pid} on {host}" if pid else "another process"
    end = f"end it (kill {pid}, on {host})" if pid else "end it"
    if gone:
        process, end = f"what {process}, which is gone, has started", "end it"
    return (
        f"{process} is at work in the run directory {folder}, and two would overwrite each other's files; wait "
        f"until it is done, or {end} and type the same command again, which goes on from the last state, or give "
        "another --out"
    )
