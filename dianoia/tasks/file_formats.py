"""Formats of data files: their endings, and opening them, compressed with gzip or not.

In: a path. Out: the format that its name says, or the file as bytes. The name decides and not the content: an error can
name the file before anything is read. Not here: rows (`table_files`, `json_files`).
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, AnyStr, cast

from dianoia.base.errors import ProblemFileError

Columns = dict[str, Any]
"""A row: its values by column."""
MAX_ROW_BYTES = 256 * 2**20
"""Largest row. A few kilobytes of gzip may unpack to a line of gigabytes."""

_TEXT = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
GZIP = ".gz"
ENDINGS = (*_TEXT, ".parquet", ".arrow", *(f"{ending}{GZIP}" for ending in _TEXT))
"""Endings of files that can be read. Parquet and Arrow are compressed inside."""
FORMATS = "JSON, JSONL, CSV, TSV (each also as .gz), Parquet or Arrow"
"""The formats for messages."""
GZIP_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)
"""Errors of reading a file that is cut, damaged or not compressed at all."""


def ending_of(path: Path) -> str:
    """Return the ending of a file that can be read, such as `.csv.gz`, in lower case; empty for any other name."""
    name = path.name.lower()
    return max((ending for ending in ENDINGS if name.endswith(ending)), key=len, default="")


def format_of(path: Path) -> str:
    """Return the ending without `.gz`; empty for a name of another format."""
    return ending_of(path).removesuffix(GZIP)


def is_compressed(path: Path) -> bool:
    """Return True for the name of a file that is compressed as a whole."""
    return ending_of(path).endswith(GZIP)


def stem_of(path: Path) -> str:
    """Return the name without its ending: the same for `sums.csv` and `sums.jsonl.gz`."""
    ending = ending_of(path)
    return path.name[: -len(ending)] if ending else path.stem


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked as it is read; raises GZIP_ERRORS then if it cannot be unpacked."""
    if not is_compressed(path):
        return path.open("rb")
    return cast(IO[bytes], gzip.open(path, "rb"))


def unpacked_size(path: Path) -> int:
    """Return the size of a compressed file when it is unpacked, in bytes; at least four times its own."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 4))
        # gzip ends with the size, modulo 2**32, of its last member; most files have a single one.
        return max(4 * size, int.from_bytes(file.read(4), "little"))


def lines_of(path: Path, file: IO[AnyStr]) -> Iterator[AnyStr]:
    """Yield the lines of an open file; raises ProblemFileError for one above MAX_ROW_BYTES, without reading it whole."""
    number = 0
    while line := file.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > MAX_ROW_BYTES:
            raise too_long(path, number)
        yield line


def too_long(path: Path, row: int) -> ProblemFileError:
    """Return the error about a row that is too long to be read."""
    return ProblemFileError(
        f"{path}, row {row}: it is longer than {MAX_ROW_BYTES >> 20} MiB, so it is hardly one row; check the line breaks"
    )


def not_unpacked(path: Path, row: int, error: Exception) -> ProblemFileError:
    """Return the error about a compressed file that ends or is damaged after row `row`."""
    if isinstance(error, EOFError):
        why, advice = "it is cut off", "copy or download it again"
    elif "Not a gzipped file" in str(error):
        why, advice = "it is not compressed with gzip", "take .gz off its name"
    else:
        why, advice = f"it is damaged ({error})", "copy or download it again"
    return ProblemFileError(f"{path}, after row {row}: {why}; {advice}")
