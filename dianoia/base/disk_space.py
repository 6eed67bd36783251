"""Disk space of a run: checked before a stage and before each state, and reserved for the next state.

A stage reserves the size of its next state in a file without content. The file is removed right before a state or
checkpoint is written, so that nothing else on the disk can have taken the space. If a line does not fit on a full disk,
the reserve is freed, the line is written, and the stage is requested to stop, which writes a state.

On a file system that cannot reserve space, only the free space is checked.
"""

import ctypes
import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from dianoia.base import stopping
from dianoia.base.errors import MachineFault

T = TypeVar("T")
RESERVE_FILE = ".reserve"
"""Name of the reserve in the folder of a stage at work."""
SMALL_FILES_BYTES = 65_536
"""Bytes that any stage needs in addition, for its journals and its manifest."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_AGAIN = "then run the same command again, which resumes from the last state"

# At most one reserve per process: a new one replaces the last.
_reserves: list[Path] = []


def free_bytes(folder: Path) -> float | None:
    """Return the free bytes on the disk of a folder, which may not exist yet; None if the system does not say."""
    # The nearest ancestor that exists is on the same disk, unless a disk is mounted in between later.
    for path in (folder, *folder.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(path).free
    return None


def require_space(folder: Path, size: float, user: str) -> None:
    """Raise MachineFault unless the disk of a folder has `size` bytes free; `user` names what needs them."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise MachineFault(_shortage(folder, size, free, user))


def reserve_space(folder: Path, size: int, user: str) -> None:
    """Reserve `size` bytes in the folder of a stage, in place of an earlier reserve.

    Raises:
        MachineFault: the disk has less; nothing is reserved.
    """
    release_space()
    require_space(folder, size + SMALL_FILES_BYTES, user)
    file = folder / RESERVE_FILE
    # A new file, never an existing one: under this name could be a link to a file elsewhere.
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        error_number = _allocate(descriptor, size)
    finally:
        os.close(descriptor)
    if error_number == 0:
        _reserves.append(file)
        return
    file.unlink(missing_ok=True)
    # Any other error: the file system cannot reserve space, and the check above has to do.
    if error_number in _FULL:
        raise MachineFault(_shortage(folder, size, shutil.disk_usage(folder).free, user))


def try_reserve_space(folder: Path, size: int) -> None:
    """Reserve space for the next state. If the disk has too little, writing that state will report it."""
    with suppress(MachineFault):
        reserve_space(folder, size, "the next state")


def release_space() -> bool:
    """Free the reserve. Return True if there was one."""
    had_reserve = bool(_reserves)
    while _reserves:
        with suppress(OSError):
            _reserves.pop().unlink(missing_ok=True)
    return had_reserve


def retry_when_full(write: Callable[[], T], path: Path) -> T:
    """Call `write`; if the disk is full and there is a reserve, free it and call `write` once more."""
    try:
        return write()
    except OSError as error:
        if not free_reserve(error, path):
            raise
    return write()


def free_reserve(error: OSError, path: Path) -> bool:
    """Free the reserve after an error of writing to `path`, and request a stop. Return True if that may help."""
    # Without a reserve a second attempt would fail in the same way.
    if error.errno not in _FULL or not release_space():
        return False
    stopping.request_stop(
        MachineFault(
            f"{path}: there is no space left on the disk; the stage stopped after the current step and wrote a state. "
            f"Free some space there, {_AGAIN}"
        )
    )
    return True


def _allocate(descriptor: int, size: int) -> int:
    """Have the file system allocate bytes to an open file. Return 0, or the error number."""
    # Not os.posix_fallocate: on file systems without support, glibc emulates it by writing every block.
    try:
        allocate = ctypes.CDLL(None, use_errno=True).fallocate64
    except (AttributeError, OSError):
        return errno.EOPNOTSUPP
    # Offset and length have 64 bits; without types ctypes would pass them as 32-bit integers.
    allocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    # Mode 0 also extends the file. A length of 0 would be refused (EINVAL).
    return 0 if allocate(descriptor, 0, 0, max(1, size)) == 0 else ctypes.get_errno()


def _shortage(folder: Path, size: float, free: float, user: str) -> str:
    """Return the message on a disk with too little space."""
    return (
        f"{folder}: {user} needs {_megabytes(size)} of disk space, and {_megabytes(free)} are free; free "
        f"{_megabytes(max(0.0, size - free))} or more there, or give --out on a larger disk; {_AGAIN}"
    )


def _megabytes(size: float) -> str:
    """Format bytes, rounded up, so that the user does not free too little."""
    return f"{-(-size // 1e5) / 10:,.1f} MB"
