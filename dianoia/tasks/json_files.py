"""Read the rows of JSON files: JSON Lines, and documents that hold all rows.

In: a path. Out: rows as bytes with their numbers, or, for a document that is an object, as columns. A `.json` file holds one
of these, as users of `datasets.load_dataset("json")` and pandas have them:
1. a list of rows, which is read row by row and never held in memory as a whole;
2. JSON Lines: the first line is an object, and more lines follow;
3. an object: the rows under `data` (or another of ROW_KEYS), one list per column, pandas' `columns` and `data`
   (orient="split") or one object per column (its default), or else a single row.
Rows are numbered from 1: lines of JSON Lines (blank ones too), elements of a list.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from dianoia.base.bounded_json import UnreadableJSON, parse_json
from dianoia.base.errors import ProblemFileError
from dianoia.tasks.cells import without_missing
from dianoia.tasks.file_formats import (
    GZIP_ERRORS,
    MAX_ROW_BYTES,
    Columns,
    format_of,
    lines_of,
    not_unpacked,
    open_bytes,
    too_long,
)

ROW_KEYS = ("data", "rows", "examples", "problems", "train")
"""Keys under which an object may hold its rows."""
_BOM = b"\xef\xbb\xbf"
_CHUNK_BYTES = 2**20
_HEAD_BYTES = 4096
# Bytes below 128 never are a part of another character in UTF-8.
_STRUCTURE = re.compile(rb'["{}\[\],]')
_IN_TEXT = re.compile(rb'["\\]')
_DEPTH = {b"[": 1, b"{": 1, b"]": -1, b"}": -1, b",": 0}


def form_of(path: Path) -> str:
    """Return the form of a file: "lines", "list" or "object"; raises ProblemFileError if it cannot be unpacked."""
    if format_of(path) != ".json":
        return "lines"
    try:
        with open_bytes(path) as file:
            # A list may be one line of gigabytes, so its first line is not read.
            if file.read(_HEAD_BYTES).removeprefix(_BOM).lstrip().startswith(b"["):
                return "list"
            file.seek(0)
            lines = (line for line in lines_of(path, file) if line.removeprefix(_BOM).strip())
            first = next(lines, b"").removeprefix(_BOM).strip()
            if first.startswith(b"["):
                return "list"
            if not (first.startswith(b"{") and first.endswith(b"}")):
                return "object"
            # An object in one line: of two lines the file is JSON Lines, else it is a whole document.
            return "lines" if next(lines, None) is not None else "object"
    except GZIP_ERRORS as error:
        raise not_unpacked(path, 0, error) from error


def raw_rows(path: Path) -> Iterator[tuple[int, bytes | Columns]]:
    """Yield the rows of a file, unread: as bytes, or as columns where the document is an object.

    Raises ProblemFileError for a file that is cut off or is no list of rows.
    """
    form, row = form_of(path), 0
    try:
        with open_bytes(path) as file:
            if form == "lines":
                for row, line in enumerate(lines_of(path, file), start=1):
                    if line.strip():
                        yield row, line
            elif form == "list":
                for row, (_, element) in enumerate(elements(path, file), start=1):
                    yield row, element
            else:
                for row, columns in enumerate(_document_rows(path, file), start=1):
                    yield row, columns
    except GZIP_ERRORS as error:
        raise not_unpacked(path, row, error) from error


def read_json(path: Path) -> Iterator[tuple[int, Columns]]:
    """Yield the rows of a file; raises ProblemFileError, naming file and row, for the first that cannot be read."""
    for row, raw in raw_rows(path):
        yield row, columns_of(path, row, raw)


def columns_of(path: Path, row: int, raw: bytes | Columns) -> Columns:
    """Return the columns of a row of `raw_rows`; raises ProblemFileError, naming file and row."""
    return json_object(path, row, raw) if isinstance(raw, bytes) else without_missing(raw)


def json_object(path: Path, row: int, line: bytes) -> Columns:
    """Return the object of a row as bytes; raises ProblemFileError, naming file and row."""
    is_lines = format_of(path) != ".json"
    try:
        columns = parse_json(line)
    except UnreadableJSON as error:
        row_word = "line" if is_lines else "row"
        advice = "it has to be an object, in UTF-8"
        if is_lines:
            advice = (
                "the file seems to hold one JSON array, and a JSONL file holds one object per line; name it .json"
                if line.lstrip()[:1] == b"["
                else "a JSONL file holds one object per line, in UTF-8"
            )
        raise ProblemFileError(
            f"{path}, row {row}: not a {row_word} of JSON that can be read ({error}): {line[:80]!r}; {advice}"
        ) from error
    if not isinstance(columns, dict):
        raise ProblemFileError(
            f"{path}, row {row}: a {type(columns).__name__}, not a JSON object: {line[:80]!r}; "
            'write one object per row, such as {"question": "2+3?", "answer": "5"}'
        )
    return without_missing(columns)


def elements(path: Path, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the elements of a JSON list with their offsets, one by one; the list's own brackets and commas are checked.

    Raises ProblemFileError for a list that is not closed, an empty place between two commas, or text after the list.
    """
    scanner = _Scanner(path)
    while chunk := file.read(_CHUNK_BYTES):
        yield from scanner.feed(chunk)
    if not scanner.is_closed:
        raise _not_closed(path, scanner.row)


@dataclass(slots=True)
class _Scanner:
    """Finds where the elements of a list begin and end; a text may hold any bracket or comma."""

    path: Path
    buffer: bytearray = field(default_factory=bytearray)
    base: int = 0
    """Offset of the buffer in the file."""
    start: int = 0
    """Where the present element begins in the buffer."""
    position: int = 0
    """Where the search goes on in the buffer, or behind its end if the next chunk begins with an escaped character."""
    depth: int = 0
    row: int = 0
    in_text: bool = False
    is_closed: bool = False

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the elements that end in the next part of the file."""
        self.buffer += chunk
        # `position` is behind the mark from here on, so that an element ends at `position - 1`.
        while not self.is_closed and (mark := self._mark()) is not None:
            self.depth += _DEPTH[mark]
            # The bracket of the list itself; that of an inner list has raised the depth to 2.
            if self.depth == 1 and mark == b"[":
                self.start = self.position
            self.is_closed = self.depth == 0
            if self.is_closed and mark != b"]":
                raise _not_closed(self.path, self.row)
            if self.is_closed or (self.depth == 1 and mark == b","):
                yield from self._element()
        if self.is_closed and self.buffer[self.position :].strip():
            extra = bytes(self.buffer[self.position :].strip()[:80])
            raise ProblemFileError(
                f"{self.path}, after row {self.row}: text after the end of the list: {extra!r}; write one list, or JSON Lines"
            )
        # Asked per chunk, so that a row without an end is refused before it has filled the memory.
        if len(self.buffer) - self.start > MAX_ROW_BYTES:
            raise too_long(self.path, self.row + 1)
        self._drop()

    def _mark(self) -> bytes | None:
        """Return the next bracket or comma outside of texts; None where the buffer ends before one."""
        while True:
            match = (_IN_TEXT if self.in_text else _STRUCTURE).search(self.buffer, self.position)
            if match is None:
                # It may be one beyond the end, where a backslash was the last byte: the next chunk begins with what
                # it escapes.
                self.position = max(self.position, len(self.buffer))
                return None
            mark, self.position = match[0], match.end()
            if not self.in_text and mark != b'"':
                return mark
            # The character after a backslash is a part of the text, whatever it is.
            self.position += mark == b"\\"
            self.in_text = not self.in_text or mark != b'"'

    def _element(self) -> Iterator[tuple[int, bytes]]:
        """Yield the element that ends before the present mark; none for `[]`."""
        element = bytes(self.buffer[self.start : self.position - 1])
        # Nothing between the brackets is an empty list; nothing between two commas, or behind one, is an error.
        if element.strip() or self.row or not self.is_closed:
            self.row += 1
            if not element.strip():
                comma_position = (
                    "before the end of the list" if self.is_closed else "without a row before it"
                )
                raise ProblemFileError(
                    f"{self.path}, row {self.row}: a comma {comma_position}, which JSON does not allow; remove it"
                )
            yield self.base + self.start, element
        self.start = self.position

    def _drop(self) -> None:
        """Drop what was yielded, so that the memory is that of one element."""
        size = len(self.buffer) if self.is_closed else self.start
        del self.buffer[:size]
        self.base += size
        self.start, self.position = self.start - size, max(0, self.position - size)


def _not_closed(path: Path, row: int) -> ProblemFileError:
    return ProblemFileError(
        f"{path}, after row {row}: the list is not closed, so the file is cut off or lacks a quote or a bracket; "
        "write it again"
    )


def _document_rows(path: Path, file: IO[bytes]) -> list[Columns]:
    """Return the rows of a document that is an object, in one of its forms."""
    text = file.read(MAX_ROW_BYTES + 1)
    if len(text) > MAX_ROW_BYTES:
        raise ProblemFileError(
            f"{path}: one JSON object of more than {MAX_ROW_BYTES >> 20} MiB cannot be read; write a list of rows, or "
            "JSON Lines"
        )
    if not text.removeprefix(_BOM).strip():
        return []
    try:
        value = parse_json(text)
    except UnreadableJSON as error:
        raise ProblemFileError(
            f"{path}, row 1: not a document of JSON that can be read ({error}): {text[:80]!r}; a .json file holds a "
            "list of rows, an object with rows, or one object per line, in UTF-8"
        ) from error
    if not isinstance(value, dict):
        raise ProblemFileError(
            f"{path}: a {type(value).__name__}, not rows; a .json file holds a list of rows"
        )
    return _rows_of(value)


def _rows_of(value: Columns) -> list[Columns]:
    # Rows under a key come before columns: an object with both has its columns as a list of names.
    for key in ROW_KEYS:
        rows = value.get(key)
        names = value.get("columns")
        if isinstance(rows, list) and rows and all(map(_is_row, rows)):
            return rows
        if (
            isinstance(rows, list)
            and isinstance(names, list)
            and all(_fits(row, names) for row in rows)
        ):
            return [dict(zip(names, row, strict=True)) for row in rows]
    columns = list(value.values())
    # A single row of messages is no list per column, although each of its values is a list.
    if all(isinstance(column, list) for column in columns) and not any(
        _is_messages(column) for column in columns
    ):
        if columns and len(set(map(len, columns))) == 1:
            return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    elif all(_is_indexed(column) and column.keys() == columns[0].keys() for column in columns):
        return [{name: value[name][index] for name in value} for index in columns[0]]
    return [value]


def _is_row(value: object) -> bool:
    return isinstance(value, dict) and not _is_message(value)


def _fits(row: object, names: list[Any]) -> bool:
    return isinstance(row, list) and len(row) == len(names)


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and bool(
        {"role", "content"} <= value.keys() or {"from", "value"} <= value.keys()
    )


def _is_messages(column: list[Any]) -> bool:
    return bool(column) and all(map(_is_message, column))


def _is_indexed(column: object) -> bool:
    """Return True for a column as pandas writes it, an object of values by the row's number."""
    return isinstance(column, dict) and bool(column) and all(key.isdigit() for key in column)
