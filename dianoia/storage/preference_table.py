"""Judged responses as Parquet files, one row per pair or labelled response, in the columns that reward models read."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped, unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

from dianoia.base.files import whole_file
from dianoia.storage.sample_table import read_part, write_rows

_MESSAGES = pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
_PROBLEM = {
    "prompt": _MESSAGES,
    "problem": pa.string(),
    "domain": pa.string(),
    "language": pa.string(),
    "stage": pa.string(),
}
PAIRWISE = {
    **_PROBLEM,
    "responses": pa.list_(pa.string()),
    "verdicts": pa.list_(pa.string()),
    "checkpoints": pa.list_(pa.string()),
    "samples": pa.list_(pa.int64()),
}
POINTWISE = {
    **_PROBLEM,
    "response": pa.string(),
    "label": pa.bool_(),
    "checkpoint": pa.string(),
    "sample": pa.int64(),
}
RESPONSES = {
    "problem": pa.string(),
    "domain": pa.string(),
    "checkpoint": pa.string(),
    "sample": pa.int64(),
    "response": pa.string(),
    "reason": pa.string(),
    "detail": pa.string(),
}
"""Columns of responses that were left out, and of a batch before it is judged."""


@dataclass(frozen=True, slots=True)
class Response:
    """One sampled response; one field per column of `RESPONSES`."""

    problem: str
    domain: str
    checkpoint: str
    sample: int
    response: str
    """The whole text, with the tag that the prompt opened."""
    reason: str | None = None
    """Why it was left out; None: it is in the data, or not judged yet."""
    detail: str | None = None
    """The rule that a malformed response breaks."""


# Responses become rows by `asdict`.
assert [field.name for field in fields(Response)] == list(RESPONSES), "one column per field"


@dataclass(frozen=True, slots=True)
class ResponseOutcome:
    """The columns of a response that counts need."""

    problem: str
    domain: str
    checkpoint: str
    reason: str | None


def write_responses(path: Path, responses: Sequence[Response], seconds: float) -> None:
    """Write a batch of responses, and the seconds that sampling them took."""
    write_rows(path, [asdict(response) for response in responses], RESPONSES, seconds)


def read_responses(path: Path) -> list[Response]:
    """Read the responses of a batch."""
    return [Response(**row) for row in read_part(path).to_pylist()]


def read_outcomes(parts: Sequence[Path]) -> list[ResponseOutcome]:
    """Read the outcome of every response, in order. The texts, which may be long, are not read."""
    names = [field.name for field in fields(ResponseOutcome)]
    return [ResponseOutcome(**row) for part in parts for row in read_part(part, names).to_pylist()]


def read_column(path: Path, name: str) -> list[Any]:
    """Read the values of one column."""
    values: list[Any] = read_part(path, [name])[name].to_pylist()
    return values


def merge_parts(parts: Sequence[Path], path: Path, columns: dict[str, Any]) -> None:
    """Write one file with the rows of all batches, atomically."""
    with whole_file(path) as temporary, _writer(temporary, columns) as writer:
        for part in parts:
            # One batch at a time: all of them may not fit into memory.
            writer.write_table(read_part(part).replace_schema_metadata(None))


def merge_rejected(parts: Sequence[Path], path: Path) -> None:
    """Write one file with the responses that were left out, atomically."""
    with whole_file(path) as temporary, _writer(temporary, RESPONSES) as writer:
        for part in parts:
            table = read_part(part)
            rejected = table.filter(pc.is_valid(table["reason"]))
            writer.write_table(rejected.replace_schema_metadata(None))


def _writer(path: Path, columns: dict[str, Any]) -> Any:
    return pq.ParquetWriter(path, pa.schema(columns), write_page_checksum=True)
