"""Seconds of work on a stage, over all commands, killed ones included."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dianoia.base.faults import error_path


@contextmanager
def record_seconds(file: Path) -> Iterator[Callable[[], float]]:
    """Yield a function that returns the seconds of work so far, those in `file` included, and writes them there.

    The time of a killed command counts until its last call. The function is called at every step, so it overwrites the
    number in place instead of renaming a new file. A kill cannot cut such a short write of fixed length.
    """
    earlier, start = _read(file), time.perf_counter()
    descriptor = _create(file, earlier)

    def seconds() -> float:
        total = earlier + time.perf_counter() - start
        with suppress(OSError):  # on a full disk the file keeps the last number
            os.pwrite(descriptor, f"{total:20.6f}\n".encode(), 0)
        return total

    try:
        seconds()  # the file exists from the beginning, also if the block never calls the function
        yield seconds
    finally:
        seconds()
        os.close(descriptor)


def _create(file: Path, earlier: float) -> int:
    """Replace the file by a new one and return it, open. The old one is never written to, since it may be a link."""
    # The new file is complete, number included, before it gets its name.
    temporary = file.with_name(f"{file.name}.part")
    with error_path(file):
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o644)
        with suppress(OSError):
            os.pwrite(descriptor, f"{earlier:20.6f}\n".encode(), 0)
        temporary.replace(file)
    return descriptor


def _read(file: Path) -> float:
    """Return the seconds of earlier commands; 0 if there was none, or if a crash of the machine left no number."""
    try:
        # Reading a pipe would block, and a link may point to anything.
        if not stat.S_ISREG(file.lstat().st_mode):
            return 0.0
        seconds = float(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0
    # The file has no checksum, so its number is checked: neither NaN nor infinity.
    return seconds if 0.0 <= seconds < float("inf") else 0.0
