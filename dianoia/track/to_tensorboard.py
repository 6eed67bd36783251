"""TensorBoard: an event file per stage, written by TensorBoard's own records.

A row is one event, so that a kill leaves all of it or nothing; a part of an event at the end of the file is cut off before
more is appended. Values are float32, as TensorBoard keeps scalars. Rollouts and estimates are text, as it has no tables.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from dianoia.track.tracker import Destination, StageFeed, Table, TrackedRow, TrackedStage

MAX_TEXT_ROWS = 16
"""Rows of a table that are shown as text."""
MAX_CELL = 2000
"""Characters of a cell that are shown."""
_RESULTS = ("evaluation/", "counts/")
"""Prefixes of the numbers of a summary."""


def open_tracker(destination: Destination) -> "TensorBoard":
    """Return the tracker that writes to a folder."""
    return TensorBoard(destination)


class TensorBoard:
    """A folder with a folder per stage."""

    def __init__(self, destination: Destination) -> None:
        self._folder, self._is_shared = destination.folder, destination.is_shared

    def open(self, stage: TrackedStage) -> StageFeed:
        """Return the feed of a stage, whose event file is made, or repaired."""
        # In a folder that other runs may use, the run's name comes first.
        folder = self._folder / stage.run_name if self._is_shared else self._folder
        return _EventFile(folder / stage.title, stage)

    def close(self) -> None:
        """Do nothing: each stage has closed its file."""


class _EventFile(StageFeed):
    def __init__(self, folder: Path, stage: TrackedStage) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # One name per stage that began, so that going on appends to the same file.
        path = folder / f"events.out.tfevents.{int(stage.began):010d}.{stage.id}"
        self.last_step, self.has_summary, end = _held(path)
        self._file = path.open("ab")
        self._file.truncate(end)
        self._writer = RecordWriter(self._file)
        if end == 0:
            # The first event of every file names the version of the format.
            self._write(Event(wall_time=stage.began, file_version="brain.Event:2"))
            text = json.dumps(stage.configuration, indent=1, ensure_ascii=False)
            indented = "\n".join(f"    {line}" for line in text.splitlines())  # code in Markdown
            self._write(
                Event(
                    wall_time=stage.began,
                    step=0,
                    summary=Summary(value=[_text("recipe", indented)]),
                )
            )

    def add(self, rows: Sequence[TrackedRow]) -> None:
        for row in rows:
            values = [Summary.Value(tag=tag, simple_value=x) for tag, x in row.numbers.items()]
            values += [_text(table.name, _markdown(table)) for table in row.tables]
            self._write(Event(wall_time=row.time, step=row.step, summary=Summary(value=values)))
        self._file.flush()

    def summarize(self, results: TrackedRow) -> None:
        self.add([results])

    def close(self, done: bool) -> None:
        self._file.close()

    def _write(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())


def _held(path: Path) -> tuple[int, bool, int]:
    """Return the last step of a row in an event file, whether it has a summary, and where its last whole event ends."""
    last_step, has_summary, end = -1, False, 0
    for event, position in events(path):
        end = position
        tags = [value.tag for value in event.summary.value]
        if any(tag.startswith(_RESULTS) for tag in tags):
            has_summary = True
        elif tags and tags != ["recipe"]:
            last_step = max(last_step, event.step)
    return last_step, has_summary, end


def events(path: Path) -> Iterator[tuple[Any, int]]:
    """Yield each whole event of a file, and where it ends: length (8 bytes), its checksum (4), the event, its checksum (4)."""
    content = path.read_bytes() if path.exists() else b""
    position = 0
    while position + 16 <= len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        end = position + 12 + length + 4
        # Cut by a kill; the writer truncates the file where the last whole event ends.
        if end > len(content):
            return
        yield Event.FromString(content[position + 12 : end - 4]), end
        position = end


def _text(tag: str, text: str) -> Any:
    value = Summary.Value(
        tag=tag, metadata=create_summary_metadata(display_name="", description="")
    )
    value.tensor.dtype = DT_STRING
    value.tensor.string_val.append(text.encode("utf-8", "replace"))
    return value


def _markdown(table: Table) -> str:
    """Return the first rows of a table in Markdown."""
    lines = [" | ".join(table.columns), " | ".join("---" for _ in table.columns)]
    lines += [" | ".join(map(_cell, row)) for row in table.rows[:MAX_TEXT_ROWS]]
    left_out = len(table.rows) - MAX_TEXT_ROWS
    return "\n".join(lines) + (f"\n\nand {left_out} more rows" if left_out > 0 else "")


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return text[:MAX_CELL].replace("|", "\\|").replace("\r", "").replace("\n", "<br>")
