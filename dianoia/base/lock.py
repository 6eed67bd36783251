"""One process at work in a folder at a time: an advisory lock that the system takes back from whoever dies.

The lock is `flock` on a file `.lock`, which names its holder and is removed by it. A file that a kill left behind
holds nobody up. Left out: file systems without locks, where `at_work` says so and nobody is noticed.
"""

import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dianoia.base.errors import RunInUse

LOCK_FILE = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def at_work(folder: Path) -> Iterator[bool]:
    """Hold a folder, which is made where there is none and removed again if the block leaves nothing in it.

    Yields whether the folder is held, False on a file system without locks.

    Raises:
        RunInUse: another process holds it; nothing was touched.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    file, descriptor = folder / LOCK_FILE, None
    try:
        descriptor = _held(file)
        yield descriptor is not None
    finally:
        if descriptor is not None:
            file.unlink(
                missing_ok=True
            )  # while it is held: who waits for this very file looks again
            os.close(descriptor)
        with suppress(OSError):  # something is in it
            for path in made:
                path.rmdir()


def _held(file: Path) -> int | None:
    """The open lock file, held; None where the file system has no locks."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(file, descriptor):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()} {platform.node()}".encode())
                return descriptor
        except BlockingIOError:
            who = os.read(descriptor, 1000).decode(errors="replace")
            os.close(descriptor)
            raise RunInUse(_refusal(file.parent, who)) from None
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


def _refusal(folder: Path, who: str) -> str:
    pid, _, host = who.partition(" ")
    process = f"process {pid} on {host}" if pid else "another process"
    end = f"end it (kill {pid}, on {host})" if pid else "end it"
    return (
        f"{process} is at work in the run directory {folder}, and two would overwrite each other's files; wait "
        f"until it is done, or {end} and type the same command again, which goes on from the last state, or give "
        "another --out"
    )
