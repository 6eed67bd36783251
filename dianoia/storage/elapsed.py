"""How long commands have worked on a stage, all of them together, those that were killed too."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dianoia.base.faults import naming


@contextmanager
def worked(file: Path) -> Iterator[Callable[[], float]]:
    """Yields a function that gives the seconds so far, those in `file` included, and writes them there.

    A command that is killed has worked until it last called it. The number is written over in one write of fixed
    length, not whole and renamed: it is called at every step, and a kill cuts no such write.
    """
    earlier, began = _read(file), time.perf_counter()
    descriptor = _new(file, earlier)

    def seconds() -> float:
        found = earlier + time.perf_counter() - began
        with suppress(OSError):  # on a full disk the number stays what it was
            os.pwrite(descriptor, f"{found:20.6f}\n".encode(), 0)
        return found

    try:
        seconds()
        yield seconds
    finally:
        seconds()
        os.close(descriptor)


def _new(file: Path, earlier: float) -> int:
    """A new file of this name, open: what stands there is never written through, as it may be a link."""
    temporary = file.with_name(f"{file.name}.part")
    with naming(file):
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o644)
        with suppress(OSError):
            os.pwrite(descriptor, f"{earlier:20.6f}\n".encode(), 0)
        temporary.replace(file)
    return descriptor


def _read(file: Path) -> float:
    """Seconds of earlier commands; 0 where there was none, or where a crash of the machine has left no number."""
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            return 0.0
        seconds = float(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0
    return seconds if 0.0 <= seconds < float("inf") else 0.0
