"""Journals: a JSON object a line, appended to while a stage runs, and cut back where it goes on.

A last line that a kill has cut is passed over. A line in the middle that is damaged is an error, which names it; a report
passes it over and says so.
"""

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from dianoia.base.disk_space import make_room
from dianoia.base.errors import DamagedFile
from dianoia.base.faults import naming
from dianoia.base.files import read_bytes, write_text

Metrics = Mapping[str, float | int | str | None]


class Journal:
    """Appends JSON lines; rows from `resume_at` on are dropped when a stage resumes there."""

    def __init__(self, path: Path, resume_at: int = 0) -> None:
        """Raises DamagedFile where a row that is kept cannot be read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(_line(row) for row in _kept(path, resume_at))
        write_text(path, text)
        self.path, self._bytes, self._digest = path, 0, hashlib.sha256()
        self._count(text.encode())
        _journals[path] = self

    def append(self, row: Metrics) -> None:
        """Write one row. The file is closed again, so that a kill loses at most the row in hand."""
        line = _line(row).encode()
        with naming(self.path):
            try:
                _append(self.path, line)
            except OSError as error:
                with suppress(OSError):
                    os.truncate(self.path, self._bytes)  # half a line would stand before the next
                if not make_room(error, self.path):
                    raise
                _append(self.path, line)
        self._count(line)

    def _count(self, text: bytes) -> None:
        self._bytes += len(text)
        self._digest.update(text)

    def reached(self) -> dict[str, Any]:
        """How far the journal has come: its bytes, and their SHA-256."""
        return {"bytes": self._bytes, "sha256": self._digest.hexdigest()}


_journals: WeakValueDictionary[Path, Journal] = WeakValueDictionary()


def journals_reached(folder: Path) -> dict[str, dict[str, Any]]:
    """How far each journal in the folder of a stage has come, by name, of those that are written now."""
    return {
        path.name: journal.reached()
        for path, journal in sorted(_journals.items())
        if path.parent == folder
    }


def _kept(path: Path, resume_at: int) -> Iterator[dict[str, Any]]:
    """Rows before `resume_at`; damage behind the first row that is dropped does not matter."""
    dropping = False
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
    with path.open("ab", buffering=0) as file:
        written = file.write(line)
        if written < len(line):  # the rest does not fit, and the system says so when it is tried
            file.write(line[written:])


def _line(row: Metrics) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a journal; a last line cut by a kill is passed over, as it never counted.

    Raises:
        DamagedFile: a line is no row; the message names it and how to remove it.
    """
    for number, line in _lines(path):
        yield _row(path, number, line)


def readable_rows(path: Path, say: Callable[[str], object]) -> Iterator[dict[str, Any]]:
    """Rows of a journal without those that are damaged, each of which is said."""
    for number, line in _lines(path):
        try:
            yield _row(path, number, line)
        except DamagedFile as error:
            say(str(error))


def _lines(path: Path) -> list[tuple[int, bytes]]:
    """Whole lines with their numbers. As bytes: a kill can cut a letter in two, and only whole lines are text."""
    if not path.exists():
        return []
    return list(enumerate(read_bytes(path).split(b"\n")[:-1], start=1))


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        row = None
    if isinstance(row, dict) and isinstance(row.get("step"), int | float):
        return row
    zeros = (
        "zero bytes, as after the machine lost power"
        if b"\0" in line
        else "no row of JSON with a step"
    )
    raise DamagedFile(
        f"{path}, line {number}: the line is damaged ({zeros}); remove it (sed -i {number}d {shlex.quote(str(path))}) and "
        "type the same command again: what it said is missing from curves, nothing else depends on it"
    )
