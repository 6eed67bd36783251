"""Data as a Parquet file: a row a sample, in the columns that TRL and `sft` stages read."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped, unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

from dianoia.base.errors import DamagedFile
from dianoia.base.files import whole_file
from dianoia.base.run_files import cure_of

_MESSAGES = pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
COLUMNS = {
    "problem": pa.string(),
    "domain": pa.string(),
    "language": pa.string(),
    "difficulty": pa.int64(),
    "question": pa.string(),
    "gold": pa.string(),
    "prompt": _MESSAGES,
    "completion": _MESSAGES,
    "messages": _MESSAGES,
    "thought": pa.string(),
    "answer": pa.string(),
    "summary": pa.string(),
    "sampled_thought": pa.string(),
    "stage": pa.string(),
    "checkpoint": pa.string(),
    "sample": pa.int64(),
    "tokens": pa.int64(),
    "thought_tokens": pa.int64(),
    "accuracy": pa.float64(),
    "target_language": pa.float64(),
    "repetition": pa.float64(),
    "paragraph": pa.int64(),
}
WHY = {"reason": pa.string(), "detail": pa.string()}
"""Further columns of samples that were not kept."""
_SECONDS = "seconds"
_VERDICTS = "verdicts"
_LOT = 1024
"""Rows that are written together."""


@dataclass(frozen=True, slots=True)
class Row:
    """One sample; the names are those of the columns."""

    problem: str
    domain: str
    language: str
    difficulty: int | None
    question: str
    gold: str
    prompt: list[dict[str, str]]
    completion: list[dict[str, str]]
    messages: list[dict[str, str]]
    thought: str | None
    answer: str | None
    summary: str | None
    sampled_thought: str | None
    """Before rewriting; None where nothing was rewritten."""
    stage: str
    checkpoint: str
    sample: int
    tokens: int | None
    """Of the sampled response, end token included; None where nobody sampled it."""
    thought_tokens: int | None
    accuracy: float | None
    target_language: float | None
    repetition: float
    paragraph: int
    reason: str | None
    """None: kept."""
    detail: str | None


assert [field.name for field in fields(Row)] == [*COLUMNS, *WHY], "one column a field"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What counts need of a row."""

    problem: str
    domain: str
    reason: str | None
    detail: str | None
    tokens: int
    thought_tokens: int


def write_part(
    path: Path,
    rows: Sequence[Row],
    seconds: float,
    verdicts: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """Write the rows of a batch, kept and rejected, the seconds they took, and verdicts counted by verifier."""
    write_rows(path, [asdict(row) for row in rows], COLUMNS | WHY, seconds, verdicts)


def write_rows(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Any],
    seconds: float,
    verdicts: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """Write a batch of rows in these columns, the seconds they took, and verdicts counted by verifier."""
    table = pa.Table.from_pylist(list(rows), schema=pa.schema(list(columns.items())))
    with whole_file(path) as temporary:
        told = {_SECONDS: repr(seconds), _VERDICTS: json.dumps(verdicts or {})}
        pq.write_table(table.replace_schema_metadata(told), temporary, write_page_checksum=True)


def write_data(path: Path, rows: Iterable[Row]) -> None:
    """One file, whole, of rows that are all kept, written while they come."""
    schema, source = pa.schema(COLUMNS), iter(rows)
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer,
    ):
        while lot := [asdict(row) for row in islice(source, _LOT)]:
            writer.write_table(pa.Table.from_pylist(lot, schema=schema))


def seconds_of(part: Path) -> float:
    """The seconds that a batch took."""
    with undamaged(part):
        return float(pq.read_schema(part).metadata[_SECONDS.encode()])


def verdicts_of(part: Path) -> dict[str, dict[str, int]]:
    """The verdicts of a batch, counted by verifier."""
    with undamaged(part):
        told = pq.read_schema(part).metadata.get(_VERDICTS.encode(), b"{}")
        found: dict[str, dict[str, int]] = json.loads(told)
    return found


def read_part(part: Path, columns: Sequence[str] | None = None) -> Any:
    """The table of a batch. Raises DamagedFile where it is not what was written."""
    with undamaged(part):
        return pq.read_table(part, columns=columns, page_checksum_verification=True)


@contextmanager
def undamaged(part: Path) -> Iterator[None]:
    """Raises DamagedFile where the block cannot read a file of ours."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        said = str(error).partition("\n")[0] or type(error).__name__
        raise DamagedFile(f"{part}: the file is damaged ({said}); {cure_of(part)}") from error


def outcomes(parts: Sequence[Path]) -> list[Outcome]:
    """What became of every sample, in order."""
    names = [field.name for field in fields(Outcome)]
    return [Outcome(**row) for part in parts for row in read_part(part, names).to_pylist()]


def gather(parts: Sequence[Path], path: Path, *, kept: bool) -> None:
    """One file, whole, of the kept rows of all batches, or of the rejected ones with their reasons.

    A batch at a time is in memory.
    """
    schema = pa.schema(COLUMNS if kept else COLUMNS | WHY)
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer,
    ):
        for part in parts:
            table = read_part(part)
            chosen = table.filter(
                pc.is_null(table["reason"]) if kept else pc.is_valid(table["reason"])
            )
            writer.write_table(chosen.select(schema.names).replace_schema_metadata(None))
