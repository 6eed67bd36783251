"""Any row of a set of files by its number, while next to nothing is in memory.

In: files of one kind. Out: `Rows`. JSONL and CSV are read through where their lines begin, which one pass finds;
Arrow files are mapped; Parquet, whose rows cannot be reached one by one, is first written as Arrow into the
cache folder, once a file (DIANOIA_CACHE, else dianoia in XDG_CACHE_HOME or ~/.cache). Left out: what rows mean.
"""

import csv
import hashlib
import io
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol
from weakref import finalize

import numpy as np
import numpy.typing as npt

from dianoia.base.errors import ProblemFileError
from dianoia.base.files import CACHE, cache_folder, whole_file
from dianoia.tasks.table_files import (
    Row,
    arrow_batches,
    batch_rows,
    check_header,
    csv_reader,
    csv_row,
    json_object,
    not_csv,
)

_CHUNK = 16 * 2**20
_NEWLINE = 10
_BATCH_ROWS = 1024

Offsets = npt.NDArray[np.uint64]


class Rows(Protocol):
    """Rows by place, from 0."""

    def __len__(self) -> int:
        """Places; a few may hold no row."""
        ...

    def read(self, place: int) -> Row | None:
        """The row of a place; None for a blank line. Raises ProblemFileError for one that cannot be read."""
        ...


def open_rows(files: Sequence[Path]) -> Rows:
    """The rows of files of one kind, one file after another.

    Raises ProblemFileError for a file whose rows cannot be found at all.
    """
    opened = [_OPENERS[path.suffix.lower()](path) for path in files]
    return opened[0] if len(opened) == 1 else _Joined(opened)


class _Joined:
    """Several files as one."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = parts
        self.firsts = [0, *accumulate(map(len, parts))]

    def __len__(self) -> int:
        return self.firsts[-1]

    def read(self, place: int) -> Row | None:
        part = bisect_right(self.firsts, place) - 1
        return self.parts[part].read(place - self.firsts[part])


# Lines -------------------------------------------------------------------------------------------


class _Bytes:
    """Stretches of a file, read by `pread`: pages of a map would count as this process's memory."""

    def __init__(self, path: Path, begins: Offsets) -> None:
        self.path, self.begins = path, begins
        self.descriptor = os.open(path, os.O_RDONLY)
        finalize(self, os.close, self.descriptor)

    def __len__(self) -> int:
        return len(self.begins) - 1

    def stretch(self, place: int) -> bytes:
        begin, end = int(self.begins[place]), int(self.begins[place + 1])
        return os.pread(self.descriptor, end - begin, begin)


class _Lines(_Bytes):
    """A JSONL file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, line_begins(path))

    def read(self, place: int) -> Row | None:
        line = self.stretch(place)
        if not line.strip():
            return None
        return Row(self.path, place + 1, json_object(self.path, place + 1, line))


def line_begins(path: Path) -> Offsets:
    """Where each line begins, in bytes, and where the last one ends."""
    found, base = [np.zeros(1, np.uint64)], 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == _NEWLINE) + (base + 1)
            found.append(ends.astype(np.uint64))
            base += len(chunk)
    begins = np.concatenate(found)
    return begins if int(begins[-1]) == base else np.append(begins, np.uint64(base))


class _Records(_Bytes):
    """A CSV file; a record may hold line breaks between quotes."""

    def __init__(self, path: Path) -> None:
        self.header, begins = _record_begins(path)
        super().__init__(path, begins)

    def read(self, place: int) -> Row | None:
        text = self.stretch(place).decode("utf-8")
        if not text.strip():
            return None
        lines = io.StringIO(text, newline="\n")  # lines as `_record_begins` has them
        (cells,) = csv_reader(csv.DictReader, lines, self.header)
        return Row(self.path, place + 1, csv_row(self.path, place + 1, dict(cells)))


def _record_begins(path: Path) -> tuple[list[str], Offsets]:
    """The header, and where each record after it begins; the last entry is the end of the file."""
    at = 0

    def lines(file: Any) -> Iterator[str]:
        nonlocal at
        for line in file:
            at += len(line)
            yield line.decode("utf-8-sig" if at == len(line) else "utf-8")

    begins: list[int] = []
    try:
        with path.open("rb") as file:
            records = csv_reader(csv.reader, lines(file))
            header: list[str] = next(records, [])
            check_header(path, header)
            begins.append(at)
            for _ in records:
                begins.append(at)
    except (UnicodeDecodeError, csv.Error) as error:
        raise not_csv(path, max(0, len(begins) - 1), error) from error
    return header, np.array(begins, np.uint64)


# Arrow -------------------------------------------------------------------------------------------


class _Batches:
    """An Arrow file, mapped."""

    def __init__(self, path: Path, mapped: Path | None = None) -> None:
        self.path = path
        self.batches = arrow_batches(mapped or path)
        sizes: list[int] = [batch.num_rows for batch in self.batches]
        self.firsts = [0, *accumulate(sizes)]

    def __len__(self) -> int:
        return self.firsts[-1]

    def read(self, place: int) -> Row | None:
        batch = bisect_right(self.firsts, place) - 1
        (columns,) = batch_rows(
            self.path, place, self.batches[batch].slice(place - self.firsts[batch], 1)
        )
        return Row(self.path, place + 1, columns)


def _parquet(path: Path) -> Rows:
    about = path.stat()
    name = f"{path.resolve()} {about.st_size} {about.st_mtime_ns}"
    copy = cache_folder() / "parquet" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.arrow"
    if not copy.is_file():
        _as_arrow(path, copy)
    return _Batches(path, copy)


def _as_arrow(path: Path, copy: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    try:
        with (
            pyarrow.parquet.ParquetFile(path) as file,
            whole_file(copy) as temporary,
            pyarrow.ipc.new_file(str(temporary), file.schema_arrow) as out,
        ):
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                out.write_batch(batch)
    except (pyarrow.ArrowException, OSError) as error:
        raise ProblemFileError(
            f"{path}: it could not be read as Parquet, or not be written as Arrow to {copy} ({error}); write the "
            f"file again, or let {CACHE} name a folder with more room"
        ) from error


_OPENERS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": _Lines,
    ".csv": _Records,
    ".parquet": _parquet,
    ".arrow": _Batches,
}
