"""What a follower reads of a stage: new rows of `metrics.jsonl`, rollouts to read, results and counts; names of metrics
in a tracker.

The files are written by another process meanwhile. A row is taken once its line is whole; a journal that a resumed stage has
cut back and rewritten is read again from its beginning, and the follower drops what it has had.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

from dianoia.base.files import read_table
from dianoia.storage.run_directory import StageDirectory
from dianoia.track.tracker import Table

ROLLOUT_COLUMNS = (
    "checkpoint", "step", "problem", "domain", "question", "gold", "sample", "text", "answer",
    "status", "tokens", "reward", "accuracy", "format", "advantage",
)  # fmt: skip
"""Columns of a rollout in a tracker's table."""
MAX_ROLLOUTS = 128
"""Rollouts of a file that a tracker gets; the file has all of them."""
_STEP_FILE = re.compile(r"step-(\d+)")


class Rows:
    """The rows of a journal, as they come."""

    def __init__(self, path: Path, report: Callable[[str], object]) -> None:
        """Begin before the first row; `report` takes a message on a line that cannot be read."""
        self._path, self._report = path, report
        self._file: tuple[int, int] | None = None
        """Device and inode: a rewritten journal is another file."""
        self._offset = 0
        self._seconds = self._tokens = 0.0
        self._damaged = set[int]()

    def new(self) -> Iterator[tuple[dict[str, Any], float]]:
        """Yield each new row, with the seconds of work up to it; after a rewrite, every row once more."""
        try:
            with self._path.open("rb") as file:
                # Of the open file, not of the path, which may be replaced meanwhile.
                about = os.fstat(file.fileno())
                identity = (about.st_dev, about.st_ino)
                if identity != self._file or about.st_size < self._offset:
                    self._file, self._offset, self._seconds, self._tokens = identity, 0, 0.0, 0.0
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return
        # A line without its end is still being written; it is read next time.
        end = content.rfind(b"\n") + 1
        for line in content[:end].splitlines(keepends=True):
            # Moved on row by row: if the caller stops half-way, the others come again.
            start = self._offset
            self._offset += len(line)
            row = self._row(line, start)
            if row is not None:
                self._seconds += self._work(row)
                yield row, self._seconds

    def _row(self, line: bytes, start: int) -> dict[str, Any] | None:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            return row
        # One message per line, however often the file is read again.
        if start not in self._damaged:
            self._damaged.add(start)
            self._report(f"{self._path}: the line at byte {start} is damaged and was left out")
        return None

    def _work(self, row: Mapping[str, Any]) -> float:
        """Return the seconds that a row says it took."""
        seconds = sum(
            float(value)
            for name, value in row.items()
            if name.endswith("_seconds") and isinstance(value, int | float)
        )
        tokens, rate = row.get("tokens"), row.get("tokens_per_second")
        if isinstance(tokens, int | float) and rate:
            # Fine-tuning and pretraining write their speed in place of seconds.
            seconds += max(0.0, float(tokens) - self._tokens) / float(rate)
            self._tokens = float(tokens)
        return seconds


def rollouts_between(stage: StageDirectory, first: int, end: int) -> list[Table]:
    """Return the rollouts that were sampled at steps from `first` to before `end`, a table per file."""
    steps = {file: _STEP_FILE.fullmatch(file.stem) for file in stage.rollout_files()}
    return [
        _rollouts(file, "rollouts")
        for file, match in steps.items()
        if match and first <= int(match[1]) < end
    ]


def other_rollouts(stage: StageDirectory) -> list[Table]:
    """Return the rollouts that belong to no step, a table per file: those of evaluated checkpoints."""
    return [
        _rollouts(file, f"rollouts/{file.stem}")
        for file in stage.rollout_files()
        if not _STEP_FILE.fullmatch(file.stem) and not file.stem.startswith("stopped-")
    ]


def _rollouts(file: Path, name: str) -> Table:
    # Cut before it becomes Python objects: a file may hold many thousand rollouts.
    table = pq.read_table(file).slice(0, MAX_ROLLOUTS)
    columns = tuple(column for column in ROLLOUT_COLUMNS if column in table.column_names)
    rows = [[row[column] for column in columns] for row in table.select(columns).to_pylist()]
    return Table(name, columns, rows)


# Results and counts ------------------------------------------------------------------------------

_ESTIMATE = ("value", "low", "high", "n")


def results(stage: StageDirectory) -> tuple[dict[str, float], list[Table]]:
    """Return the numbers and tables of a stage that is done: estimates, counts, seconds.

    Estimates are under `evaluation/`, with their intervals in a table; counts are under `counts/`.
    """
    numbers: dict[str, float] = {}
    estimates: list[Sequence[Any]] = []
    if stage.evaluation.is_file():
        content = read_table(stage.evaluation)
        # A reward model's estimates stand under one key, an evaluation's by checkpoint and domain.
        for key in ("evaluations", "reward_model"):
            for name, estimate in _estimates(content.get(key, {})):
                numbers[f"evaluation/{_plain(name)}"] = estimate["value"]
                estimates.append([name, *(estimate.get(column) for column in _ESTIMATE)])
        numbers |= _leaves(content.get("data", {}), "counts/data")
    for file in (stage.sampling, stage.preferences, stage.demonstrations):
        if file.is_file():
            numbers |= _leaves(read_table(file), "counts")
    numbers |= _leaves({"seconds": read_table(stage.manifest).get("seconds")}, "counts")
    tables = [Table("evaluations", ("name", *_ESTIMATE), estimates)] if estimates else []
    return numbers, [*tables, *other_rollouts(stage)]


def _estimates(value: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each estimate in nested tables under its path, such as `zero/math/pass@1`."""
    if not isinstance(value, dict):
        return
    if isinstance(value.get("value"), int | float):
        yield name, value
        return
    for key, inner in value.items():
        yield from _estimates(inner, f"{name}/{key}" if name else str(key))


def _plain(name: str) -> str:
    """Return a path without empty parts and dots, which trackers refuse: a checkpoint may be named by its folder."""
    return "/".join(part for part in name.split("/") if part.strip("."))


def _leaves(value: Any, name: str) -> dict[str, float]:
    """Return the numbers in nested tables by their paths."""
    if isinstance(value, dict):
        return {
            k: v for key, inner in value.items() for k, v in _leaves(inner, f"{name}/{key}").items()
        }
    return {name: value} if isinstance(value, int | float) and not isinstance(value, bool) else {}


# Names of metrics ----------------------------------------------------------------------------------
# Those that dashboards made for TRL and transformers expect: numbers are under `train/` and `eval/`. Names that TRL has are
# TRL's already (`metrics.definitions`); RENAMED has those that differ.

RENAMED = {"tokens": "num_tokens", "step_seconds": "step_time"}
"""TRL's name by ours, where both mean the same."""
_EVALUATED = ("eval_", "heldout/")
"""Prefixes of metrics of held-out data."""


def tracked_name(name: str) -> str:
    """Return the name in a tracker of a metric of a row: `train/reward`, `eval/loss`, `eval/pass@1`."""
    for prefix in _EVALUATED:
        if name.startswith(prefix):
            return f"eval/{name.removeprefix(prefix)}"
    return f"train/{RENAMED.get(name, name)}"


def tracked_numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a row by their names in a tracker, without the step and what was not measured."""
    return {
        tracked_name(name): value
        for name, value in row.items()
        # True is an int in Python, and no metric.
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }
