"""Sampled tokens as a Parquet file, one row per sample: what an interrupted evaluation need not sample again.

In: completions per problem. Out: the same, to the last bit. Not here: texts and scores, which follow from the tokens.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

from dianoia.base.errors import DamagedFile
from dianoia.base.files import whole_file
from dianoia.base.records import Completion
from dianoia.base.run_files import cure_of

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
    rows = [
        {
            "problem": number,
            "ids": list(completion.ids),
            "logprobs": list(completion.logprobs),
            "stopped": completion.stopped,
            "weights_version": completion.weights_version,
        }
        for number, completions_G in enumerate(completions_PG)
        for completion in completions_G
    ]
    with whole_file(path) as temporary:
        table = pa.Table.from_pylist(rows, schema=_SCHEMA)
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
