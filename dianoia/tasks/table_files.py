"""Read the rows of a JSON, CSV, Parquet or Arrow file, one after another.

In: a path. Out: `(number, columns)` pairs, numbered from 1: the line of a JSONL file, the element of a JSON list, the record
of a CSV or TSV file (its header and blank lines not counted), the row of a Parquet or Arrow file. A `Row` is such a pair with
the messages about what is wrong with it. A file is never held in memory as a whole, also if it is compressed. Not here: what the columns mean (`problem_files`, `conversation_files`,
`preference_files`), rows by number (`data.row_reader`).

Blank lines of a JSONL file are skipped but counted, and so is a record of CSV whose cells are all empty, as spreadsheets
write them below a table. NaN, which pandas writes for an empty cell, is a missing value like null; the text `nan` is a text.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dianoia.base.bounded_json import other_encoding
from dianoia.base.errors import ProblemFileError
from dianoia.tasks.cells import (
    Message,
    UnreadableMessages,
    is_missing,
    messages_in,
    without_missing,
)
from dianoia.tasks.file_formats import (
    ENDINGS,
    GZIP_ERRORS,
    Columns,
    format_of,
    lines_of,
    not_unpacked,
    open_bytes,
)
from dianoia.tasks.json_files import columns_of, raw_rows, read_json

_BATCH_ROWS = 1024
_MAX_CELL_CHARS = 16 * 2**20
"""Longest cell of a CSV file. Python's default limit, 128 KiB, is too small for test cases."""
_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file, with the messages about what is wrong with it."""

    path: Path
    number: int
    columns: Columns

    @property
    def place(self) -> str:
        """File and row, for messages."""
        return f"{self.path}, row {self.number}"

    def error(self, column: str, why: str, advice: str) -> ProblemFileError:
        """Return an error that names file, row, column and value; `why` says what is wrong, `advice` what to do."""
        value = _shortened(self.columns.get(column))
        return ProblemFileError(f"{self.place}, column {column!r}, value {value}: {why}; {advice}")

    def has(self, column: str) -> bool:
        """Return True if the column exists and is filled."""
        return not is_missing(self.columns.get(column))

    def messages(self, column: str) -> list[Message] | None:
        """Return the messages of a column, also if they are written as text; None for any other value.

        Raises ProblemFileError for text that begins like messages and is broken.
        """
        return self.messages_of(column, self.columns.get(column))

    def messages_of(self, column: str, value: object) -> list[Message] | None:
        """Return the messages of a value in a column, like `messages`."""
        try:
            return messages_in(value)
        except UnreadableMessages as error:
            raise self.error(
                column, str(error), 'write messages such as [{"role": "user", "content": "2+3?"}]'
            ) from None

    def check(self, column: str, text: str) -> None:
        """Raise ProblemFileError for text that is blank or that no tokenizer accepts."""
        if not text.strip():
            raise self.error(column, "it is blank", "fill it or remove the row")
        # JSON can escape half of a surrogate pair.
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            raise self.error(column, "it holds half a character", "repair its encoding")


def _shortened(value: object) -> str:
    """Return a value for a message, cut; the type of a value that cannot be written, such as a number of 5,000 digits."""
    # `repr` of an int of more than 4,300 digits raises ValueError.
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."


def read_rows(path: Path) -> Iterator[tuple[int, Columns]]:
    """Yield the rows of a file, read one by one as the caller takes them.

    Raises ProblemFileError for a missing file, an unknown extension, or a row that cannot be read.
    """
    # The extension decides, not the content: an error names the file before anything is read.
    reader = _READERS.get(format_of(path))
    if reader is None:
        raise ProblemFileError(
            f"{path}: cannot read problems from a {path.suffix or 'file without an ending'}; "
            f"convert it to one of {', '.join(ENDINGS)}"
        )
    if not path.is_file():
        raise ProblemFileError(f"{path}: no such file of problems; check the path")
    # A generator, which opens the file at the first row; the checks above run at the call.
    return reader(path)


def rows_or_errors(path: Path) -> Iterator[Row | ProblemFileError]:
    """Yield each row, or the error of a row that cannot be read. Only JSON can be read on after a broken row.

    Raises ProblemFileError for a missing file or an unknown extension.
    """
    rows = read_rows(path)
    try:
        # Lines are independent in JSONL, as are elements of a list; in other formats the reader stops at the first error.
        if _READERS[format_of(path)] is read_json:
            yield from (_row(path, number, raw) for number, raw in raw_rows(path))
            return
        for number, columns in rows:
            yield Row(path, number, columns)
    except ProblemFileError as error:
        yield error


def _row(path: Path, number: int, raw: bytes | Columns) -> Row | ProblemFileError:
    try:
        return Row(path, number, columns_of(path, number, raw))
    except ProblemFileError as error:
        return error


def _read_csv(path: Path) -> Iterator[tuple[int, Columns]]:
    row = 0
    try:
        with (
            open_bytes(path) as packed,
            io.TextIOWrapper(packed, encoding="utf-8-sig", newline="") as file,
        ):
            reader = csv_reader(csv.DictReader, path, lines_of(path, file))
            check_header(path, reader.fieldnames or [])
            # The header is no row.
            for row, cells in enumerate(reader, start=1):
                if not is_blank(cells):
                    yield row, csv_row(path, row, cells)
    except GZIP_ERRORS as error:
        raise not_unpacked(path, row, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise not_csv(path, row, error) from error


def csv_reader(reader_type: Any, path: Path, lines: Any, *header: Any) -> Any:
    """Make a strict reader of the csv module (`csv.reader` or `csv.DictReader`) that accepts long cells."""
    csv.field_size_limit(_MAX_CELL_CHARS)  # one limit per process: the module has no other
    return reader_type(
        lines, *header, strict=True, delimiter="\t" if format_of(path) == ".tsv" else ","
    )


def not_csv(path: Path, row: int, error: Exception) -> ProblemFileError:
    """Return the error about a file that cannot be read as CSV after row `row`."""
    with path.open("rb") as file:
        encoding = other_encoding(file.read(4))
    return ProblemFileError(
        f"{path}, after row {row}: not readable as CSV in UTF-8 ({encoding or error}); check the quotes "
        "and the encoding of the next row"
    )


def check_header(path: Path, names: list[str]) -> None:
    """Raise ProblemFileError for a column named twice, of which only one could be read, and for another separator."""
    is_csv = format_of(path) in (".csv", ".tsv")
    separator = next((mark for mark in ";\t|" if len(names) == 1 and mark in names[0]), None)
    if is_csv and separator is not None:
        raise ProblemFileError(
            f"{path}: the header is one column, {names[0]!r}, because its cells are separated by {separator!r}; save it "
            "with commas" + (", or name it .tsv" if separator == "\t" else "")
        )
    # Columns without a name may repeat: no key can name them.
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise ProblemFileError(
            f"{path}: the header has the column {twice[0]!r} twice, and only one can count; rename or remove one"
        )


def is_blank(cells: dict[str | Any, Any]) -> bool:
    """Return True for a record whose cells are all empty, cells without a header included."""
    return not any(any(cell) if isinstance(cell, list) else cell for cell in cells.values())


def csv_row(path: Path, row: int, cells: dict[str | Any, str | Any]) -> Columns:
    """Return the columns of a record; raises ProblemFileError if it does not fit the header.

    The csv module puts cells without a header under None, and None into headers without a cell.
    """
    # Commas at the end of a line, which spreadsheets write, add cells that hold nothing.
    if None in cells and not any(cells[None]):
        cells = {name: cell for name, cell in cells.items() if name is not None}
    # A broken quote moves cells to other columns: better an error than a wrong problem.
    if None in cells or None in cells.values():
        raise ProblemFileError(
            f"{path}, row {row}: it has {'more' if None in cells else 'fewer'} cells than the "
            f"header {list(filter(None, cells))}; quote cells that contain a comma"
        )
    # An empty cell is a missing value: CSV has no other way to write one.
    return {name: cell if cell != "" else None for name, cell in cells.items()}


def _read_parquet(path: Path) -> Iterator[tuple[int, Columns]]:
    # Imported here, so that readers of JSONL and CSV do not pay for it.
    import pyarrow  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet  # type: ignore[import-untyped, unused-ignore]

    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            check_header(path, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for columns in batch_rows(path, row, batch):
                    row += 1
                    yield row, columns
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        raise ProblemFileError(
            f"{path}, after row {row}: not readable as Parquet ({error}); write the file again, "
            "for example with datasets.Dataset.to_parquet"
        ) from error


def _read_arrow(path: Path) -> Iterator[tuple[int, Columns]]:
    row = 0
    for batch in arrow_batches(path):
        for first in range(0, batch.num_rows, _BATCH_ROWS):
            for columns in batch_rows(path, row, batch.slice(first, _BATCH_ROWS)):
                row += 1
                yield row, columns


def batch_rows(path: Path, before: int, batch: Any) -> list[Columns]:
    """Return the rows of a record batch; `before` rows of the file come before it.

    Raises ProblemFileError, naming the row, for a value that Python cannot represent, such as a date in the year 300,000 or
    text that is not UTF-8.
    """
    try:
        return [without_missing(columns) for columns in batch.to_pylist()]
    except Exception as error:  # pyarrow raises whatever the type's conversion does
        if batch.num_rows == 1:
            raise ProblemFileError(
                f"{path}, row {before + 1}: a value cannot be read ({error}); write it as text or as a number"
            ) from error
    # Row by row, to find the one with the unreadable value.
    return [
        columns
        for index in range(batch.num_rows)
        for columns in batch_rows(path, before + index, batch.slice(index, 1))
    ]


def arrow_batches(path: Path) -> list[Any]:
    """Return the record batches of an Arrow file, mapped into memory and not read.

    Two formats are read: the stream that `datasets` writes, and the IPC file. Raises ProblemFileError for a file that is
    neither.
    """
    import pyarrow

    try:
        # Two formats have the extension .arrow; the stream has no footer, so that it is tried first.
        source = pyarrow.memory_map(str(path))
        try:
            return list(pyarrow.ipc.open_stream(source))
        except pyarrow.ArrowInvalid:
            source.seek(0)
            reader = pyarrow.ipc.open_file(source)
            return [reader.get_batch(index) for index in range(reader.num_record_batches)]
    except (pyarrow.ArrowException, OSError) as error:
        raise ProblemFileError(
            f"{path}: not readable as an Arrow file ({error}); write the data set again, for example with "
            "datasets.Dataset.save_to_disk"
        ) from error


_READERS: dict[str, Callable[[Path], Iterator[tuple[int, Columns]]]] = {
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".json": read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
}
