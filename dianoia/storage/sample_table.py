"""Samples as a Parquet file, one row per sample, in the columns that TRL and `sft` stages read."""

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
SAMPLE_COLUMNS = {
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
REASON_COLUMNS = {"reason": pa.string(), "detail": pa.string()}
"""Additional columns of samples that were rejected."""
_SECONDS = "seconds"
_VERDICTS = "verdicts"
"""Keys of the file's metadata."""
_ROWS_PER_WRITE = 1024


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One sample; one field per column."""

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
    """The thought before rewriting; None if it was not rewritten."""
    stage: str
    checkpoint: str
    sample: int
    tokens: int | None
    """Tokens of the sampled response, end token included; None if no model sampled it."""
    thought_tokens: int | None
    accuracy: float | None
    target_language: float | None
    repetition: float
    paragraph: int
    reason: str | None
    """Why it was rejected; None: it was kept."""
    detail: str | None


# Rows become columns by `asdict`.
assert [field.name for field in fields(SampleRow)] == [*SAMPLE_COLUMNS, *REASON_COLUMNS], (
    "one column per field"
)


@dataclass(frozen=True, slots=True)
class SampleOutcome:
    """The columns of a sample that counts need."""

    problem: str
    domain: str
    reason: str | None
    detail: str | None
    tokens: int
    thought_tokens: int


def write_part(
    path: Path,
    rows: Sequence[SampleRow],
    seconds: float,
    verdicts: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """Write a batch of samples, kept and rejected; see `write_rows`."""
    write_rows(
        path, [asdict(row) for row in rows], SAMPLE_COLUMNS | REASON_COLUMNS, seconds, verdicts
    )


def write_rows(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Any],
    seconds: float,
    verdicts: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """Write a batch of rows, atomically.

    Args:
        columns: Arrow types by name.
        seconds: what the batch took.
        verdicts: number of verdicts, by verifier and verdict.
    """
    # An explicit schema: a column that is None in every row of a batch would otherwise get another type.
    table = pa.Table.from_pylist(list(rows), schema=pa.schema(list(columns.items())))
    with whole_file(path) as temporary:
        metadata = {_SECONDS: repr(seconds), _VERDICTS: json.dumps(verdicts or {})}
        pq.write_table(table.replace_schema_metadata(metadata), temporary, write_page_checksum=True)


def write_data(path: Path, rows: Iterable[SampleRow]) -> None:
    """Write one file of kept samples, atomically, while an iterator yields them."""
    schema, iterator = pa.schema(SAMPLE_COLUMNS), iter(rows)
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer,
    ):
        # In row groups of bounded size: the rows are never in memory together.
        while chunk := [asdict(row) for row in islice(iterator, _ROWS_PER_WRITE)]:
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))


def read_seconds(part: Path) -> float:
    """Read the seconds that a batch took."""
    with damage_reported(part):
        return float(pq.read_schema(part).metadata[_SECONDS.encode()])


def read_verdicts(part: Path) -> dict[str, dict[str, int]]:
    """Read the number of verdicts of a batch, by verifier and verdict."""
    with damage_reported(part):
        # A batch of an earlier version has no verdicts.
        text = pq.read_schema(part).metadata.get(_VERDICTS.encode(), b"{}")
        verdicts: dict[str, dict[str, int]] = json.loads(text)
    return verdicts


def read_part(part: Path, columns: Sequence[str] | None = None) -> Any:
    """Read the Arrow table of a batch. Raises DamagedFile if it is not what was written."""
    with damage_reported(part):
        # Without page checksums a flipped bit would be read as other data.
        return pq.read_table(part, columns=columns, page_checksum_verification=True)


@contextmanager
def damage_reported(part: Path) -> Iterator[None]:
    """Raise DamagedFile if the block cannot read a file that a stage wrote."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        # A fault of the machine is not damage: it is reported as such elsewhere.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DamagedFile(f"{part}: the file is damaged ({reason}); {cure_of(part)}") from error


def read_outcomes(parts: Sequence[Path]) -> list[SampleOutcome]:
    """Read the outcome of every sample, in order."""
    names = [field.name for field in fields(SampleOutcome)]
    return [SampleOutcome(**row) for part in parts for row in read_part(part, names).to_pylist()]


def merge_parts(parts: Sequence[Path], path: Path, *, rejected: bool) -> None:
    """Write one file with the samples of all batches that were kept, or with the rejected ones and their reasons.

    Only one batch is in memory at a time.
    """
    schema = pa.schema(SAMPLE_COLUMNS | REASON_COLUMNS if rejected else SAMPLE_COLUMNS)
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer,
    ):
        for part in parts:
            table = read_part(part)
            is_selected = pc.is_valid if rejected else pc.is_null
            rows = table.filter(is_selected(table["reason"]))
            # The metadata is that of a batch and must not describe the merged file.
            writer.write_table(rows.select(schema.names).replace_schema_metadata(None))
