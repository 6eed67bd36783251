"""How long commands have worked on a stage, all of them together, those that were killed too."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def worked(file: Path) -> Iterator[Callable[[], float]]:
    """Yields a function that gives the seconds so far, those in `file` included, and writes them there.

    A command that is killed has worked until it last called it. The number is written over in one write of fixed
    length, not whole and renamed: it is called at every step, and a kill cuts no such write.
    """
    earlier, began = _read(file), time.perf_counter()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)

    def seconds() -> float:
        found = earlier + time.perf_counter() - began
        os.pwrite(descriptor, f"{found:20.6f}\n".encode(), 0)
        return found

    try:
        seconds()
        yield seconds
    finally:
        seconds()
        os.close(descriptor)


def _read(file: Path) -> float:
    """Seconds of earlier commands; 0 where there was none, or where a crash of the machine has left no number."""
    try:
        return float(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return 0.0
