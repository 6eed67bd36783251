"""Rows of a JSONL, CSV, Parquet or Arrow file, one after another.

In: a path. Out: `(row, columns)` pairs, row counted from 1: the line of a JSONL file, the record of
a CSV file (its header not counted), the row of a Parquet or Arrow file; `Row` is one that knows how to complain. A
file is never held in memory as a whole. Left out: what the columns mean. Blank lines of a JSONL file are
skipped but counted. A number that is not one (NaN; pandas writes it for an empty cell) is an absent value, as null is.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dianoia.base.bounded_json import UnreadableJSON, other_encoding, parse_json
from dianoia.base.errors import ProblemFileError
from dianoia.tasks.message_cells import Message, UnreadableMessages, messages_in
from dianoia.tasks.missing_values import is_missing, without_missing

Columns = dict[str, Any]
_BATCH_ROWS = 1024
_MAX_CELL_CHARS = 16 * 2**20
"""Of a CSV file. Python's own limit for the process, 128 KiB, is too small for test cases."""
_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True)
class Row:
    """A row on its way to a record; it knows how to complain."""

    path: Path
    number: int
    columns: Columns

    @property
    def place(self) -> str:
        """File and row, for messages."""
        return f"{self.path}, row {self.number}"

    def error(self, column: str, why: str, advice: str) -> ProblemFileError:
        """Names file, row, column and value."""
        value = _shown(self.columns.get(column))
        return ProblemFileError(f"{self.place}, column {column!r}, value {value}: {why}; {advice}")

    def has(self, column: str) -> bool:
        """Whether the column is there and filled."""
        return not is_missing(self.columns.get(column))

    def messages(self, column: str) -> list[Message] | None:
        """The messages of a column, also where they stand as text; None for anything else.

        Raises ProblemFileError for text that begins as messages do and is broken.
        """
        return self.messages_of(column, self.columns.get(column))

    def messages_of(self, column: str, value: object) -> list[Message] | None:
        """The messages of a value that stands in a column, as `messages`."""
        try:
            return messages_in(value)
        except UnreadableMessages as error:
            raise self.error(
                column, str(error), 'write messages such as [{"role": "user", "content": "2+3?"}]'
            ) from None

    def check(self, column: str, text: str) -> None:
        """Raise ProblemFileError for text that is blank or that no tokenizer takes."""
        if not text.strip():
            raise self.error(column, "it is blank", "fill it or remove the row")
        # JSON can write half of a surrogate pair.
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            raise self.error(column, "it holds half a character", "repair its encoding")


def _shown(value: object) -> str:
    """A value for a message, cut; of a number with too many digits to be written, what it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."


def read_rows(path: Path) -> Iterator[tuple[int, Columns]]:
    """The rows of a file, read while they are asked for.

    Raises ProblemFileError for a missing file, an unknown ending, or a row that cannot be read.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ProblemFileError(
            f"{path}: cannot read problems from a {path.suffix or 'file without an ending'}; "
            f"convert it to one of {', '.join(_READERS)}"
        )
    if not path.is_file():
        raise ProblemFileError(f"{path}: no such file of problems; check the path")
    return reader(path)


def rows_or_errors(path: Path) -> Iterator[Row | ProblemFileError]:
    """Every row, or what is wrong with it; of a JSONL file those after a broken line too.

    Raises ProblemFileError where `read_rows` does at once.
    """
    rows = read_rows(path)
    if path.suffix.lower() == ".jsonl":
        with path.open("rb") as file:
            yield from (_row(path, n, line) for n, line in enumerate(file, start=1) if line.strip())
        return
    try:
        for number, columns in rows:
            yield Row(path, number, columns)
    except ProblemFileError as error:
        yield error


def _row(path: Path, number: int, line: bytes) -> Row | ProblemFileError:
    try:
        return Row(path, number, json_object(path, number, line))
    except ProblemFileError as error:
        return error


def _read_jsonl(path: Path) -> Iterator[tuple[int, Columns]]:
    with path.open("rb") as file:
        for row, line in enumerate(file, start=1):
            if line.strip():
                yield row, json_object(path, row, line)


def json_object(path: Path, row: int, line: bytes) -> Columns:
    """The object of a line of a JSONL file; raises ProblemFileError, naming file and row."""
    try:
        columns = parse_json(line)
    except UnreadableJSON as error:
        whole = "[" if line.lstrip()[:1] == b"[" else ""
        advice = (
            "the file seems to hold one JSON array, and a JSONL file holds one object a line"
            if whole
            else "a JSONL file holds one object a line, in UTF-8"
        )
        raise ProblemFileError(
            f"{path}, row {row}: not a line of JSON that can be read ({error}): {line[:80]!r}; {advice}"
        ) from error
    if not isinstance(columns, dict):
        raise ProblemFileError(
            f"{path}, row {row}: a {type(columns).__name__}, not a JSON object: {line[:80]!r}; "
            'write one object a line, such as {"question": "2+3?", "answer": "5"}'
        )
    return without_missing(columns)


def _read_csv(path: Path) -> Iterator[tuple[int, Columns]]:
    row = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv_reader(csv.DictReader, file)
            check_header(path, reader.fieldnames or [])
            for row, cells in enumerate(reader, start=1):
                yield row, csv_row(path, row, cells)
    except (UnicodeDecodeError, csv.Error) as error:
        raise not_csv(path, row, error) from error


def csv_reader(kind: Any, lines: Any, *header: Any) -> Any:
    """A reader of the csv module, strict, with room for long cells: the module has one limit for the process."""
    csv.field_size_limit(_MAX_CELL_CHARS)
    return kind(lines, *header, strict=True)


def not_csv(path: Path, row: int, error: Exception) -> ProblemFileError:
    """What to say of a file that stops being CSV after a row."""
    with path.open("rb") as file:
        instead = other_encoding(file.read(4))
    return ProblemFileError(
        f"{path}, after row {row}: not readable as CSV in UTF-8 ({instead or error}); check the quotes "
        "and the encoding of the next row"
    )


def check_header(path: Path, names: list[str]) -> None:
    """Raise ProblemFileError for a column named twice: only one of the two could be read."""
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise ProblemFileError(
            f"{path}: the header has the column {twice[0]!r} twice, and only one can count; rename or remove one"
        )


def csv_row(path: Path, row: int, cells: dict[str | Any, str | Any]) -> Columns:
    """The columns of a record; raises ProblemFileError where it does not fit the header.

    csv puts cells without a header under None, and None into headers without a cell.
    """
    if None in cells or None in cells.values():
        raise ProblemFileError(
            f"{path}, row {row}: it has {'more' if None in cells else 'fewer'} cells than the "
            f"header {list(filter(None, cells))}; quote cells that contain a comma"
        )
    # An empty cell is an absent value: CSV has no other way to say so.
    return {name: cell if cell != "" else None for name, cell in cells.items()}


def _read_parquet(path: Path) -> Iterator[tuple[int, Columns]]:
    # Here, so that JSONL and CSV do not pay for loading it.
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
    """The rows of a record batch that stands after `before` rows of its file.

    Raises ProblemFileError, naming the row, for a value that Python has no form for, such as a date in the year
    300,000 or text that is not UTF-8.
    """
    try:
        return [without_missing(columns) for columns in batch.to_pylist()]
    except Exception as error:  # pyarrow raises whatever the type's conversion does
        if batch.num_rows == 1:
            raise ProblemFileError(
                f"{path}, row {before + 1}: a value cannot be read ({error}); write it as text or as a number"
            ) from error
    return [
        columns
        for index in range(batch.num_rows)
        for columns in batch_rows(path, before + index, batch.slice(index, 1))
    ]


def arrow_batches(path: Path) -> list[Any]:
    """The record batches of an Arrow file, mapped into memory and not read: as `datasets` writes it, or IPC.

    Raises ProblemFileError for a file that is neither.
    """
    import pyarrow

    try:
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
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
}
ENDINGS = tuple(_READERS)
"""Of the files that can be read."""
