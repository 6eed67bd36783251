"""Reads the files that wandb writes offline: which steps they hold.

A file is LevelDB's log format: seven bytes of header, then blocks of 32 KiB with records of a checksum (4 bytes), a length (2),
a type (1) and data; a record that crosses a block is cut into a first, middle and last part. The data is a message of
`wandb.proto.wandb_internal_pb2`.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_HEADER, _PREFIX, _BLOCK = 7, 7, 32768
_FULL, _FIRST, _LAST = 1, 2, 4
RESULTS = ("evaluation/", "counts/")
"""Prefixes of the numbers of a summary."""


def offline_files(folder: Path, run_id: str) -> list[Path]:
    """Return the files of a run id, oldest first."""
    return sorted(folder.glob(f"wandb/offline-run-*-{run_id}/run-{run_id}.wandb"))


def held(files: Sequence[Path]) -> tuple[int, bool]:
    """Return the last step with numbers of a row, -1 if there is none, and whether there is a summary."""
    last_step, has_summary = -1, False
    for row in (history_row(record) for file in files for record in records(file)):
        if any(name.startswith(RESULTS) for name in row):
            has_summary = True
        elif row:
            last_step = max(last_step, int(row["_step"]))
    return last_step, has_summary


def history_row(record: Any) -> dict[str, Any]:
    """Return the row of a history record, empty for any other; a nested value is under its path with dots."""
    return {
        item.key or ".".join(item.nested_key): json.loads(item.value_json)
        for item in record.history.item
    }


def records(file: Path) -> Iterator[Any]:
    """Yield the whole records of a file; what a kill has cut at its end is left out."""
    # LevelDB's log format: blocks of 32 KiB, in which a record is whole or divided into fragments.
    content, position, data = file.read_bytes(), _HEADER, b""
    while position + _PREFIX <= len(content):
        block_space = _BLOCK - position % _BLOCK
        if block_space < _PREFIX:  # too short for another record: filled with zeros
            position += block_space
            continue
        _, length, fragment_type = struct.unpack_from("<IHB", content, position)
        start, position = position + _PREFIX, position + _PREFIX + length
        # Type 0 is space that was set aside and never written.
        if position > len(content) or fragment_type == 0:
            return
        data = (
            content[start:position]
            if fragment_type in (_FULL, _FIRST)
            else data + content[start:position]
        )
        if fragment_type in (_FULL, _LAST):
            yield Record.FromString(data)
