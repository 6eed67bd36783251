"""Rollouts as a Parquet file, one row per rollout, for people and for the report; and sampled tokens.

Sampled tokens are what an interrupted evaluation need not sample again: they come back to the last bit.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

from dianoia.base.errors import DamagedFile
from dianoia.base.files import whole_file
from dianoia.base.records import Completion, Group
from dianoia.base.run_files import cure_of

_COLUMNS = {
    "checkpoint": pa.string(),
    "step": pa.int64(),
    "problem": pa.string(),
    "question": pa.string(),
    "gold": pa.string(),
    "domain": pa.string(),
    "language": pa.string(),
    "difficulty": pa.int64(),
    "sample": pa.int64(),
    "text": pa.string(),
    "thought": pa.string(),
    "answer": pa.string(),
    "vote": pa.int64(),
    "status": pa.string(),
    "fault": pa.string(),
    "tokens": pa.int64(),
    "reward": pa.float64(),
    "parts": pa.string(),
    "notes": pa.string(),
    "accuracy": pa.float64(),
    "format": pa.float64(),
    "advantage": pa.float64(),
}
_VERSION = "weights_version"
"""Column of runs whose rollouts may come from other weights than those of their step."""


def write_rollouts(
    path: Path,
    groups: Iterable[Group],
    *,
    checkpoint: str = "",
    step: int | None = None,
    advantages_PG: Iterable[Iterable[float]] | None = None,
    with_versions: bool = False,
) -> None:
    """Write every rollout of `groups`, atomically.

    Args:
        checkpoint: the model that was sampled, where a file has several.
        step: the optimizer step of the policy.
        advantages_PG: one advantage per rollout, in the order of the groups; None: the column is empty.
        with_versions: add a column with the optimizer step of the weights that drew each rollout.
    """
    groups = list(groups)
    advantages = (
        [list(advantages_G) for advantages_G in advantages_PG]
        if advantages_PG
        else [[]] * len(groups)
    )
    # One row per rollout, in the order of the groups.
    rows = [
        _row(group, index, checkpoint, step, advantages_G[index] if advantages_G else None)
        for group, advantages_G in zip(groups, advantages, strict=True)
        for index in range(len(group.rollouts))
    ]
    columns = _COLUMNS | ({_VERSION: pa.int64()} if with_versions else {})
    with whole_file(path) as temporary:
        pq.write_table(
            pa.Table.from_pylist(rows, schema=pa.schema(columns)),
            temporary,
            # Parquet has no checksum otherwise, and a flipped bit would come back as another number.
            write_page_checksum=True,
        )


def read_rollouts(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the rollouts of a file, one table per row; of all columns or of some. Raises DamagedFile if it cannot be read."""
    try:
        rows: list[dict[str, Any]] = pq.read_table(
            path, columns=columns, page_checksum_verification=True
        ).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DamagedFile(
            f"{path}: the rollouts cannot be read ({error}); {cure_of(path)}"
        ) from None
    return rows


def _row(
    group: Group, index: int, checkpoint: str, step: int | None, advantage: float | None
) -> Mapping[str, Any]:
    problem, rollout, score = group.problem, group.rollouts[index], group.scores[index]
    return {
        "checkpoint": checkpoint,
        "step": step,
        "problem": problem.id,
        "question": problem.question,
        "gold": problem.answer,
        "domain": problem.domain,
        "language": problem.language,
        "difficulty": problem.difficulty,
        "sample": rollout.sample,
        "text": rollout.text,
        "thought": rollout.thought,
        "answer": rollout.answer,
        "vote": None if group.votes_G is None else group.votes_G[index],
        "status": rollout.status.value,
        "fault": rollout.fault,
        "tokens": len(rollout.completion.ids),
        "reward": score.total,
        # Names of parts and notes differ between recipes, and Parquet needs fixed columns.
        "parts": json.dumps(dict(score.parts)),
        "notes": json.dumps(dict(score.notes), default=str) if score.notes else None,
        "accuracy": score.parts.get("accuracy"),
        "format": score.parts.get("format"),
        "advantage": advantage,
        # Left out by the schema where the file has no such column.
        _VERSION: rollout.completion.weights_version,
    }


# Sampled tokens ------------------------------------------------------------------------------------

_SCHEMA = pa.schema(
    {
        "problem": pa.int64(),
        "ids": pa.list_(pa.int64()),
        # The sampler's float32 values are exact in float64.
        "logprobs": pa.list_(pa.float64()),
        "stopped": pa.bool_(),
        "weights_version": pa.int64(),
    }
)


def write_completions(path: Path, completions_PG: Sequence[Sequence[Completion]]) -> None:
    """Write the samples of every problem, in order, atomically."""
    # Column by column: rows with a list each take several times as long to convert.
    completions = [completion for completions_G in completions_PG for completion in completions_G]
    sizes = [len(completions_G) for completions_G in completions_PG]
    lengths = [len(completion.ids) for completion in completions]
    starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int32)), dtype=np.int32)
    ids = np.fromiter(chain.from_iterable(c.ids for c in completions), np.int64, starts[-1])
    logprobs = np.fromiter(
        chain.from_iterable(c.logprobs for c in completions), np.float64, starts[-1]
    )
    columns = {
        "problem": np.repeat(np.arange(len(sizes)), np.array(sizes, dtype=np.int64)),
        "ids": pa.ListArray.from_arrays(starts, ids),
        "logprobs": pa.ListArray.from_arrays(starts, logprobs),
        "stopped": [completion.stopped for completion in completions],
        "weights_version": [completion.weights_version for completion in completions],
    }
    with whole_file(path) as temporary:
        table = pa.table(columns, schema=_SCHEMA)
        pq.write_table(table, temporary, write_page_checksum=True)


def read_completions(path: Path, problems: int, samples: int) -> list[list[Completion]]:
    """Return `samples` completions of each of `problems` problems. Raises DamagedFile for a file with others."""
    try:
        rows = pq.read_table(path, page_checksum_verification=True).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DamagedFile(
            f"{path}: these samples cannot be read ({error}); {cure_of(path)}"
        ) from error
    completions_PG: list[list[Completion]] = [[] for _ in range(problems)]
    for row in rows:
        # Rows beyond are counted below, where the message says how many there are.
        if row["problem"] < problems:
            completions_PG[row["problem"]].append(
                Completion(
                    tuple(row["ids"]),
                    tuple(row["logprobs"]),
                    row["stopped"],
                    row["weights_version"],
                )
            )
    if len(rows) != problems * samples or any(len(group) != samples for group in completions_PG):
        raise DamagedFile(
            f"{path}: it holds {len(rows):,} samples, and {problems} problems with {samples} each were sampled; "
            f"{cure_of(path)}"
        )
    return completions_PG
