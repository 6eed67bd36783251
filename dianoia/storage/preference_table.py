"""Judged responses as Parquet files: a row a pair or a labelled response, in the columns that reward models read."""

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
"""Columns of what was left out; batches of responses in hand have them too."""


@dataclass(frozen=True, slots=True)
class Response:
    """One sampled response; the names are those of the columns."""

    problem: str
    domain: str
    checkpoint: str
    sample: int
    response: str
    """All of it, with the tag that the prompt opened."""
    reason: str | None = None
    """None: it is in the data, or nothing has been decided yet."""
    detail: str | None = None
    """The rule that a malformed response breaks."""


assert [field.name for field in fields(Response)] == list(RESPONSES), "one column a field"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What counts need of a response."""

    problem: str
    domain: str
    checkpoint: str
    reason: str | None


def write_responses(path: Path, responses: Sequence[Response], seconds: float) -> None:
    """Write a batch of responses."""
    write_rows(path, [asdict(one) for one in responses], RESPONSES, seconds)


def read_responses(path: Path) -> list[Response]:
    """The responses of a batch."""
    return [Response(**row) for row in read_part(path).to_pylist()]


def outcomes(parts: Sequence[Path]) -> list[Outcome]:
    """What became of every response, in order; without texts, which may be long."""
    names = [field.name for field in fields(Outcome)]
    return [Outcome(**row) for part in parts for row in read_part(part, names).to_pylist()]


def column_of(path: Path, name: str) -> list[Any]:
    """The values of one column."""
    values: list[Any] = read_part(path, [name])[name].to_pylist()
    return values


def gather_rows(parts: Sequence[Path], path: Path, columns: dict[str, Any]) -> None:
    """One file, whole, of the rows of all batches."""
    with whole_file(path) as temporary, _writer(temporary, columns) as writer:
        for part in parts:
            writer.write_table(read_part(part).replace_schema_metadata(None))


def gather_left_out(parts: Sequence[Path], path: Path) -> None:
    """One file, whole, of the responses that have a reason."""
    with whole_file(path) as temporary, _writer(temporary, RESPONSES) as writer:
        for part in parts:
            table = read_part(part)
            chosen = table.filter(pc.is_valid(table["reason"]))
            writer.write_table(chosen.replace_schema_metadata(None))


def _writer(path: Path, columns: dict[str, Any]) -> Any:
    return pq.ParquetWriter(path, pa.schema(columns), write_page_checksum=True)
