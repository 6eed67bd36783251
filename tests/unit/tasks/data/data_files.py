"""Files of problems in every form, for the tests of this folder."""

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped, unused-ignore]
import pyarrow.parquet  # type: ignore[import-untyped, unused-ignore]

Rows = Sequence[dict[str, Any]]


def sums(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Problems that all differ."""
    return [
        {"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(first, first + count)
    ]


def write(file: Path, rows: Rows) -> Path:
    """Rows in the form that the file's ending names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    plain = file.with_name(file.name.removesuffix(".gz"))
    _WRITERS[plain.suffix](plain, rows)
    if plain != file:
        file.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    return file


def _jsonl(file: Path, rows: Rows) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _json(file: Path, rows: Rows) -> None:
    file.write_text(json.dumps(rows, indent=2), encoding="utf-8")


def _csv(file: Path, rows: Rows) -> None:
    delimiter = "\t" if file.suffix == ".tsv" else ","
    with file.open("w", newline="", encoding="utf-8-sig") as out:
        writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def _parquet(file: Path, rows: Rows) -> None:
    table = pyarrow.Table.from_pylist(list(rows))
    pyarrow.parquet.write_table(table, file, row_group_size=7)


def _arrow(file: Path, rows: Rows) -> None:
    """Return the bytes that `datasets` writes: a stream."""
    table = pyarrow.Table.from_pylist(list(rows))
    with pyarrow.ipc.new_stream(str(file), table.schema) as out:
        for batch in table.to_batches(max_chunksize=5):
            out.write_batch(batch)


def saved(folder: Path, rows: Rows) -> Path:
    """A folder as `Dataset.save_to_disk` leaves it, in two shards."""
    names = [f"data-0000{shard}-of-00002.arrow" for shard in range(2)]
    middle = len(rows) // 2
    for name, part in zip(names, (rows[:middle], rows[middle:]), strict=True):
        write(folder / name, part)
    state = {"_data_files": [{"filename": name} for name in names], "_split": None}
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    (folder / "dataset_info.json").write_text("{}", encoding="utf-8")
    return folder


_WRITERS = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
}
ENDINGS = (*_WRITERS, ".jsonl.gz", ".json.gz", ".csv.gz", ".tsv.gz")
