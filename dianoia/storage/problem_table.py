"""Means per problem as a Parquet file, one row per problem: what two checkpoints are compared by, problem by problem.

Rollouts are kept of a few problems alone; these means are of all. The file's metadata have the name of the checkpoint and the version of the columns.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

from dianoia.base.errors import DamagedFile, UnknownFormat
from dianoia.base.files import whole_file
from dianoia.base.records import Problem
from dianoia.base.run_files import FORMAT_VERSION, cure_of

VERSION = 1
"""Of the columns. Raise it when an older Dianoia would misread the file."""
_CHECKPOINT = "checkpoint"
"""Key of the metadata; file names are not those of checkpoints, which may hold slashes."""
_COLUMNS = {
    "problem": pa.string(),
    "question": pa.string(),
    "domain": pa.string(),
    "difficulty": pa.int64(),
    "samples": pa.int64(),
    "accuracy": pa.float64(),
    "majority": pa.float64(),
    "format": pa.float64(),
    "truncated": pa.float64(),
    "thoughts": pa.int64(),
    "thought_tokens": pa.float64(),
    "reflection": pa.float64(),
    "reflecting": pa.float64(),
    "target_language": pa.float64(),
}


@dataclass(frozen=True, slots=True)
class ProblemMeans:
    """A problem with the means over its samples; one field per column."""

    problem: str
    """Its id."""
    question: str
    """Digest of what is asked and of the gold answer: two files may give one id to two problems."""
    domain: str
    difficulty: int | None
    samples: int
    accuracy: float
    """Mean grade: the share of right samples."""
    majority: float
    """Grade of the majority's answer."""
    format: float
    truncated: float
    thoughts: int
    """Samples with a thought; the means below are over them, and None where no thought has the value."""
    thought_tokens: float | None
    reflection: float | None
    reflecting: float | None
    target_language: float | None


def question_digest(problem: Problem) -> str:
    """Return 16 hexadecimal digits that differ between problems that differ in what is asked or in the gold answer."""
    texts = [turn.text for turn in problem.messages] + [problem.answer]
    # Each with its length, so that no two lists of texts are one text.
    joined = "".join(f"{len(text)}:{text}" for text in texts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def write_problem_means(path: Path, checkpoint: str, means: Iterable[ProblemMeans]) -> None:
    """Write the means of every problem of a checkpoint, in order, atomically."""
    metadata = {FORMAT_VERSION: str(VERSION), _CHECKPOINT: checkpoint}
    table = pa.Table.from_pylist(
        [asdict(row) for row in means], schema=pa.schema(_COLUMNS, metadata=metadata)
    )
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True)


def read_problem_means(path: Path) -> tuple[str, list[ProblemMeans]]:
    """Return the name of the checkpoint and its means of every problem, in order.

    Raises:
        DamagedFile: the file cannot be read.
        UnknownFormat: its columns are of another version.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}  # fmt: skip
        version = metadata.get(FORMAT_VERSION)
        if version == str(VERSION):
            rows = table.select(list(_COLUMNS)).to_pylist()
            return metadata[_CHECKPOINT], [ProblemMeans(**row) for row in rows]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DamagedFile(
            f"{path}: the means per problem cannot be read ({error}); {cure_of(path)}"
        ) from None
    raise UnknownFormat(
        f"{path}: {FORMAT_VERSION} = {version or 'none'}, and this Dianoia reads version {VERSION}; use the Dianoia that "
        "wrote the run (its version is in run.json), or give another --out"
    )
