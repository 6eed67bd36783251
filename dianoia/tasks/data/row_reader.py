"""Read any row of a set of files by its index, with next to nothing in memory.

In: files of one format. Out: `Rows`. For JSON and CSV one pass finds the offset of each row. Arrow files are mapped into
memory. Parquet has no access to single rows, so that each file is first written as Arrow into the cache folder, once
(DIANOIA_CACHE, else dianoia in XDG_CACHE_HOME or ~/.cache); a file that is compressed as a whole is unpacked there, once.
Not here: what rows mean.
"""

import csv
import hashlib
import io
import os
import shutil
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
from dianoia.tasks.file_formats import (
    GZIP_ERRORS,
    format_of,
    is_compressed,
    not_unpacked,
    open_bytes,
)
from dianoia.tasks.json_files import columns_of, elements, form_of, json_object, raw_rows
from dianoia.tasks.table_files import (
    Row,
    arrow_batches,
    batch_rows,
    check_header,
    csv_reader,
    csv_row,
    is_blank,
    not_csv,
)

_CHUNK_BYTES = 16 * 2**20
_NEWLINE = 10
# Rows per batch of an Arrow copy. Parquet's own row groups may be larger than memory.
_BATCH_ROWS = 1024

Offsets = npt.NDArray[np.uint64]


class Rows(Protocol):
    """Rows by index, from 0."""

    def __len__(self) -> int:
        """Return the number of indices; a few of them may have no row."""
        ...

    def read(self, index: int) -> Row | None:
        """Return a row; None for a blank line. Raises ProblemFileError for a row that cannot be read."""
        ...


def open_rows(files: Sequence[Path]) -> Rows:
    """Open files of one format as one sequence of rows.

    Raises ProblemFileError for a file whose rows cannot be found.
    """
    parts = [_OPENERS[format_of(path)](path, _unpacked(path)) for path in files]
    return parts[0] if len(parts) == 1 else _Joined(parts)


def _unpacked(path: Path) -> Path:
    """Return the file itself, or the unpacked copy of one that is compressed; a changed file gets a new copy."""
    if not is_compressed(path):
        return path
    copy = _copy(path, "unpacked", format_of(path))
    if not copy.is_file():
        try:
            with (
                open_bytes(path) as packed,
                whole_file(copy) as temporary,
                temporary.open("wb") as out,
            ):
                shutil.copyfileobj(packed, out, _CHUNK_BYTES)
        except GZIP_ERRORS as error:
            raise not_unpacked(path, 0, error) from error
        except OSError as error:
            raise ProblemFileError(
                f"{path}: it could not be unpacked to {copy} ({error}); let {CACHE} name a folder with more room"
            ) from error
    return copy


def _copy(path: Path, subfolder: str, ending: str) -> Path:
    """Return the path of a file's copy in the cache folder."""
    status = path.stat()
    name = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    # The name has size and time, so that an outdated copy is never used.
    return cache_folder() / subfolder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}{ending}"


class _Joined:
    """Several files as one sequence."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = parts
        self.firsts = [0, *accumulate(map(len, parts))]

    def __len__(self) -> int:
        return self.firsts[-1]

    def read(self, index: int) -> Row | None:
        # bisect_right, so that an empty file, whose first index is also the next file's, is passed over.
        part = bisect_right(self.firsts, index) - 1
        return self.parts[part].read(index - self.firsts[part])


class _Bytes:
    """Parts of a file between offsets, read by `pread`: pages of a memory map would count as this process's memory.

    `path` is the file's name in messages, `source` may be an unpacked copy of it.
    """

    def __init__(self, path: Path, source: Path, offsets: Offsets) -> None:
        self.path, self.offsets = path, offsets
        self.descriptor = os.open(source, os.O_RDONLY)
        # The file stays open: a row must be the one that was indexed, also if the path is replaced meanwhile.
        finalize(self, os.close, self.descriptor)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, index: int) -> bytes:
        start, end = int(self.offsets[index]), int(self.offsets[index + 1])
        return os.pread(self.descriptor, end - start, start)


class _Lines(_Bytes):
    """A JSONL file."""

    def __init__(self, path: Path, source: Path) -> None:
        super().__init__(path, source, line_offsets(source))

    def read(self, index: int) -> Row | None:
        line, number = self.part(index), index + 1
        if not line.strip():
            return None
        return Row(self.path, number, json_object(self.path, number, line))


class _Elements(_Bytes):
    """A JSON document that is a list."""

    def __init__(self, path: Path, source: Path) -> None:
        with source.open("rb") as file:
            extents = [(offset, len(element)) for offset, element in elements(path, file)]
        self.lengths = np.array([length for _, length in extents], np.uint64)
        # The last entry is the end, of which nothing is read.
        offsets = [offset for offset, _ in extents]
        super().__init__(path, source, np.array([*offsets, source.stat().st_size], np.uint64))

    def part(self, index: int) -> bytes:
        return os.pread(self.descriptor, int(self.lengths[index]), int(self.offsets[index]))

    def read(self, index: int) -> Row | None:
        return Row(self.path, index + 1, json_object(self.path, index + 1, self.part(index)))


class _Document:
    """A JSON document that is an object, whose size is bounded: its rows in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = [columns_of(path, number, raw) for number, raw in raw_rows(path)]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> Row | None:
        return Row(self.path, index + 1, self.rows[index])


def _open_json(path: Path, source: Path) -> Rows:
    form = form_of(source)
    if form == "object":
        return _Document(path)
    return (_Lines if form == "lines" else _Elements)(path, source)


def line_offsets(path: Path) -> Offsets:
    """Return the offset of each line in bytes, and the end of the last line."""
    parts, base = [np.zeros(1, np.uint64)], 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            # numpy searches a chunk much faster than a loop over its lines.
            ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == _NEWLINE) + (base + 1)
            parts.append(ends.astype(np.uint64))
            base += len(chunk)
    offsets = np.concatenate(parts)
    # A last line without a newline ends at the end of the file.
    return offsets if int(offsets[-1]) == base else np.append(offsets, np.uint64(base))


class _Records(_Bytes):
    """A CSV file; a record may have line breaks between quotes."""

    def __init__(self, path: Path, source: Path) -> None:
        self.header, offsets = _record_offsets(source, path)
        super().__init__(path, source, offsets)

    def read(self, index: int) -> Row | None:
        text = self.part(index).decode("utf-8")
        if not text.strip():
            return None
        lines = io.StringIO(text, newline="\n")  # the same lines as in `_record_offsets`
        (cells,) = csv_reader(csv.DictReader, self.path, lines, self.header)
        if is_blank(cells):
            return None
        return Row(self.path, index + 1, csv_row(self.path, index + 1, dict(cells)))


def _record_offsets(source: Path, path: Path) -> tuple[list[str], Offsets]:
    """Return the header and the offset of each record after it; the last entry is the end of the file.

    `path` is the name in messages. A blank line is no record: it counts to the record before it.
    """
    position = 0

    def lines(file: Any) -> Iterator[str]:
        # The csv reader takes exactly the lines of one record, so that `position` is then the record's end.
        nonlocal position
        for line in file:
            position += len(line)
            yield line.decode("utf-8-sig" if position == len(line) else "utf-8")

    offsets: list[int] = []
    try:
        with source.open("rb") as file:
            records = csv_reader(csv.reader, path, lines(file))
            header: list[str] = next(records, [])
            check_header(path, header)
            offsets.append(position)
            for record in records:
                if not record:
                    offsets.pop()
                offsets.append(position)
    except (UnicodeDecodeError, csv.Error) as error:
        raise not_csv(path, max(0, len(offsets) - 1), error) from error
    return header, np.array(offsets, np.uint64)


class _Batches:
    """An Arrow file, mapped into memory; `mapped` is its copy if `path` is Parquet."""

    def __init__(self, path: Path, mapped: Path | None = None) -> None:
        self.path = path
        # Mapped, not read: the kernel loads the pages of a row when it is read.
        self.batches = arrow_batches(mapped or path)
        sizes: list[int] = [batch.num_rows for batch in self.batches]
        self.firsts = [0, *accumulate(sizes)]

    def __len__(self) -> int:
        return self.firsts[-1]

    def read(self, index: int) -> Row | None:
        batch = bisect_right(self.firsts, index) - 1
        row = self.batches[batch].slice(index - self.firsts[batch], 1)
        (columns,) = batch_rows(self.path, index, row)
        return Row(self.path, index + 1, columns)


def _open_parquet(path: Path, _source: Path) -> Rows:
    """Open the Arrow copy of a Parquet file; a changed file gets a new copy."""
    copy = _copy(path, "parquet", ".arrow")
    if not copy.is_file():
        _write_arrow(path, copy)
    return _Batches(path, copy)


def _write_arrow(path: Path, copy: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    try:
        with (
            pyarrow.parquet.ParquetFile(path) as file,
            # Written to a temporary file and renamed: processes that start together may both write it.
            whole_file(copy) as temporary,
            pyarrow.ipc.new_file(str(temporary), file.schema_arrow) as out,
        ):
            # Batch by batch: the file may be larger than memory.
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                out.write_batch(batch)
    except (pyarrow.ArrowException, OSError) as error:
        raise ProblemFileError(
            f"{path}: it could not be read as Parquet, or not be written as Arrow to {copy} ({error}); write the "
            f"file again, or let {CACHE} name a folder with more room"
        ) from error


_OPENERS: dict[str, Callable[[Path, Path], Rows]] = {
    ".jsonl": _Lines,
    ".ndjson": _Lines,
    ".json": _open_json,
    ".csv": _Records,
    ".tsv": _Records,
    ".parquet": _open_parquet,
    ".arrow": lambda path, _source: _Batches(path),
}
