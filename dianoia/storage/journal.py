"""Journals: files with one JSON object per line, appended to while a stage runs and cut back when it resumes.

A last line that a kill has cut is skipped. A damaged line in the middle is an error that names it; a report skips it and
says so. `record_seconds` keeps the time that all commands have worked on a stage, killed ones included.
"""

import hashlib
import json
import os
import shlex
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakValueDictionary

from dianoia.base.disk_space import free_reserve
from dianoia.base.errors import DamagedFile
from dianoia.base.faults import error_path
from dianoia.base.files import read_bytes, write_text

Metrics = Mapping[str, float | int | str | None]


class Rows(Protocol):
    """Where a stage writes its rows."""

    def append(self, row: Metrics) -> None:
        """Write one row."""
        ...


class UnwrittenJournal:
    """The journal of a process that writes no files."""

    def append(self, row: Metrics) -> None:
        """Drop the row."""


class Journal:
    """Appends JSON lines; rows from `resume_at` on are dropped when a stage resumes there."""

    def __init__(self, path: Path, resume_at: int = 0) -> None:
        """Open a journal and drop rows from `resume_at` on. Raises DamagedFile if another row cannot be read."""
        # Rewritten at every start: a resumed stage repeats the steps after its last state, and would log them twice.
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(_line(row) for row in _rows_before(path, resume_at))
        write_text(path, text)
        self.path, self._bytes, self._digest = path, 0, hashlib.sha256()
        self._count(text.encode())
        # A weak reference: a journal that its stage has dropped is not in a later state.
        _journals[path] = self

    def append(self, row: Metrics) -> None:
        """Write one row. The file is closed again, so that a kill loses at most the current row."""
        line = _line(row).encode()
        with error_path(self.path):
            try:
                _append(self.path, line)
            except OSError as error:
                with suppress(OSError):
                    os.truncate(self.path, self._bytes)  # remove a part of the line
                # The disk may be full: the space reserved for the next state is used for this row.
                if not free_reserve(error, self.path):
                    raise
                _append(self.path, line)
        self._count(line)

    def _count(self, text: bytes) -> None:
        # Counted here, not read from the file: a state records the position of what was written, so that damage shows.
        self._bytes += len(text)
        self._digest.update(text)

    def position(self) -> dict[str, Any]:
        """Return the length of the journal in bytes, and the SHA-256 of its content."""
        return {"bytes": self._bytes, "sha256": self._digest.hexdigest()}


_journals: WeakValueDictionary[Path, Journal] = WeakValueDictionary()
"""The open journals of this process, for `journal_positions`."""


def journal_positions(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the position of each open journal in the folder of a stage, by file name."""
    return {
        path.name: journal.position()
        for path, journal in sorted(_journals.items())
        if path.parent == folder
    }


def _rows_before(path: Path, resume_at: int) -> Iterator[dict[str, Any]]:
    """Yield the rows before `resume_at`; damage after the first dropped row does not matter."""
    dropping = False
    # Rows are in the order of steps, so everything after the first dropped row is dropped too.
    for number, line in _lines(path):
        try:
            row = _row(path, number, line)
        except DamagedFile:
            if dropping:
                continue
            raise
        if row["step"] < resume_at:
            yield row
        else:
            dropping = True


def _append(path: Path, line: bytes) -> None:
    # Unbuffered: a row is one write, so that a kill cuts the last row at most.
    with path.open("ab", buffering=0) as file:
        written = file.write(line)
        if written < len(line):  # the disk is full; writing the remainder raises the error
            file.write(line[written:])


def _line(row: Metrics) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a journal, without a last line that a kill has cut.

    Raises:
        DamagedFile: a line is not a row; the message names it and how to remove it.
    """
    for number, line in _lines(path):
        yield _row(path, number, line)


def readable_rows(path: Path, report: Callable[[str], object]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a journal that can be read, and call `report` with a message on each of the others."""
    for number, line in _lines(path):
        try:
            yield _row(path, number, line)
        except DamagedFile as error:
            report(str(error))


def _lines(path: Path) -> list[tuple[int, bytes]]:
    """Return the whole lines with their numbers, from 1. As bytes: a kill can cut a character of the last line in two."""
    if not path.exists():
        return []
    # The last element is empty, or the part of a line that a kill has cut.
    return list(enumerate(read_bytes(path).split(b"\n")[:-1], start=1))


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        row = None
    if isinstance(row, dict) and isinstance(row.get("step"), int | float):
        return row
    damage = (
        "zero bytes, as after the machine lost power"
        if b"\0" in line
        else "it is not a JSON object with a step"
    )
    raise DamagedFile(
        f"{path}, line {number}: the line is damaged ({damage}); remove it (sed -i {number}d {shlex.quote(str(path))}) and "
        "run the same command again: curves will lack this row, and nothing else depends on it"
    )


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
        descriptor = os.open(temporary, flags, 0o666)
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
