"""Space on the disk of a run: looked for before a stage begins and before each state, and kept for the next state.

A stage keeps a file of the size of its next state, without content. Before a state or checkpoint is written the file
makes room for it, and what else was written to the disk meanwhile cannot have taken that room. Where a line does not
fit on a full disk the room is given up, the line is written, and the stage is asked to stop, which writes a state.

Left out: file systems that cannot set space aside; there free space is compared alone.
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
RESERVE = ".reserve"
"""In the folder of a stage at work: room for its next state."""
SMALL = 65_536
"""Bytes that any stage needs besides: its journals, its manifest."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_AGAIN = "then type the same command again, which goes on from the last state"

_held: list[Path] = []


def free_bytes(folder: Path) -> float | None:
    """Bytes that are free where a folder is or will be; None where nothing says so."""
    for path in (folder, *folder.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(path).free
    return None


def need(folder: Path, wanted: float, what: str) -> None:
    """Raise MachineFault where the disk of a folder has less than `wanted` bytes free; `what` needs them."""
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise MachineFault(_too_little(folder, wanted, free, what))


def hold(folder: Path, wanted: int, what: str) -> None:
    """Set room aside in the folder of a stage.

    Raises:
        MachineFault: there is less than `wanted` bytes; nothing is set aside.
    """
    release()
    need(folder, wanted + SMALL, what)
    file = folder / RESERVE
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        number = _allocate(descriptor, wanted)
    finally:
        os.close(descriptor)
    if number == 0:
        _held.append(file)
        return
    file.unlink(missing_ok=True)
    if number in _FULL:
        raise MachineFault(_too_little(folder, wanted, shutil.disk_usage(folder).free, what))


def keep(folder: Path, wanted: int) -> None:
    """Set room aside for the next state, if there is any; where there is none, that state will say so."""
    with suppress(MachineFault):
        hold(folder, wanted, "the next state")


def release() -> bool:
    """Give the room up that is set aside; whether there was any."""
    given = bool(_held)
    while _held:
        with suppress(OSError):
            _held.pop().unlink(missing_ok=True)
    return given


def twice(write: Callable[[], T], path: Path) -> T:
    """Write, and once more where the disk is full and room can be made."""
    try:
        return write()
    except OSError as error:
        if not make_room(error, path):
            raise
    return write()


def make_room(error: OSError, path: Path) -> bool:
    """After an error of writing to `path`: whether room was made, so that it may be tried once more."""
    if error.errno not in _FULL or not release():
        return False
    stopping.ask(
        MachineFault(
            f"{path}: there is no space left on the disk; the stage stopped after the step in hand and wrote a state. "
            f"Free some space there, {_AGAIN}"
        )
    )
    return True


def _allocate(descriptor: int, size: int) -> int:
    """Have the file system set space aside; 0, or the number of the error."""
    try:
        allocate = ctypes.CDLL(None, use_errno=True).fallocate64
    except (AttributeError, OSError):
        return errno.EOPNOTSUPP
    allocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return 0 if allocate(descriptor, 0, 0, max(1, size)) == 0 else ctypes.get_errno()


def _too_little(folder: Path, wanted: float, free: float, what: str) -> str:
    return (
        f"{folder}: {what} needs {_megabytes(wanted)} of the disk, and {_megabytes(free)} are free; free "
        f"{_megabytes(max(0.0, wanted - free))} or more there, or give --out on a larger disk; {_AGAIN}"
    )


def _megabytes(size: float) -> str:
    """Rounded up, so that nobody frees too little."""
    return f"{-(-size // 1e5) / 10:,.1f} MB"
