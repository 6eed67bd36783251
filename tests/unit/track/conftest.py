"""A run directory as stages write it, row by row, and a tracker that remembers what it was given."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dianoia.base.files import write_json
from dianoia.storage.journal import Journal
from dianoia.storage.run_directory import RunDirectory, StageDirectory
from dianoia.track.fed import Fed
from dianoia.track.follower import Follower
from dianoia.track.stage_files import tracked_numbers
from dianoia.track.tracker import TrackedRow, TrackedStage


@dataclass
class WrittenRun:
    """A run of one `rl` stage `zero` and one `evaluate` stage `evaluation`, written by hand."""

    path: Path
    beginnings: int = 0
    journal: Journal | None = None

    def __post_init__(self) -> None:
        stages = {"zero": {"kind": "rl", "steps": 4}, "evaluation": {"kind": "evaluate"}}
        self.path.mkdir(parents=True)
        write_json(RunDirectory(self.path).recipe, {"name": "written", "seed": 1, "stages": stages})

    @property
    def zero(self) -> StageDirectory:
        return RunDirectory(self.path).stage("zero")

    def begin(self, kind: str = "rl", name: str = "zero") -> None:
        """A stage begins from scratch."""
        directory = RunDirectory(self.path).stage(name)
        directory.start_from_scratch()
        self.beginnings += 1
        began = f"2026-11-30T04:38:{self.beginnings:02d}+00:00"
        configuration = {"kind": kind, "steps": 4, "optimizer": {"learning_rate": 0.1}}
        record = {
            "hash": f"{self.beginnings:x}".ljust(64, "0"),
            "began": began,
            "configuration": configuration,
        }
        write_json(directory.begun, record, checked=True)
        if name == "zero":
            self.journal = Journal(directory.metrics)

    def rows(self, *steps: int, seconds: float = 2.0) -> None:
        """The stage writes the rows of some steps."""
        for step in steps:
            row = {"step": step, "reward": step / 7, "kl": None, "update_seconds": seconds}
            assert self.journal is not None
            self.journal.append(row)

    def resume(self, step: int) -> None:
        """The stage resumes from a state: rows from `step` on are dropped."""
        self.journal = Journal(self.zero.metrics, resume_at=step)

    def rollouts(self, name: str, count: int = 2, stage: str = "zero") -> None:
        """The stage writes rollouts to be read."""
        path = RunDirectory(self.path).stage(stage).rollouts(name)
        path.parent.mkdir(exist_ok=True)
        columns = {
            "question": [f"{name} | {number}\n?" for number in range(count)],
            "reward": [0.5] * count,
            "notes": [None] * count,
        }
        pq.write_table(pa.table(columns), path)

    def finish(self) -> None:
        """The stage is done."""
        write_json(self.zero.manifest, {"seconds": 12.5}, checked=True)

    def evaluate(self) -> None:
        """The second stage runs, to its end."""
        self.begin("evaluate", "evaluation")
        directory = RunDirectory(self.path).stage("evaluation")
        estimate = {"value": 0.25, "low": 0.1, "high": 0.4, "n": 8}
        evaluations = {"zero": {"math": {"pass@1": estimate}}}
        write_json(directory.evaluation, {"evaluations": evaluations})
        self.rollouts("zero", stage="evaluation")
        write_json(directory.manifest, {"seconds": 3.0}, checked=True)

    def numbers(self) -> dict[int, dict[str, float]]:
        """The numbers of `metrics.jsonl` by step, under their names in a tracker."""
        rows = map(json.loads, self.zero.metrics.read_text(encoding="utf-8").splitlines())
        return {row["step"]: tracked_numbers(row) for row in rows}


@dataclass
class Held:
    """What a tracker holds of one stage."""

    stage: TrackedStage
    rows: list[TrackedRow] = field(default_factory=list)
    summaries: list[TrackedRow] = field(default_factory=list)
    closed: list[bool] = field(default_factory=list)


@dataclass
class Memory:
    """A tracker whose runs outlive it; `fails_after` so many rows it raises before it takes another."""

    held: dict[str, Held] = field(default_factory=dict)
    fails_after: int | None = None

    def open(self, stage: TrackedStage) -> "MemoryFeed":
        return MemoryFeed(self, self.held.setdefault(stage.id, Held(stage)))

    def close(self) -> None:
        pass


class MemoryFeed:
    """A stage of `Memory`."""

    def __init__(self, tracker: Memory, held: Held) -> None:
        self.tracker, self.held = tracker, held
        self.last_step = held.rows[-1].step if held.rows else -1
        self.has_summary = bool(held.summaries)

    def add(self, rows: Sequence[TrackedRow]) -> None:
        for row in rows:
            if self.tracker.fails_after == len(self.held.rows):
                raise ConnectionError("the disk of the tracker is full")
            self.held.rows.append(row)

    def summarize(self, results: TrackedRow) -> None:
        self.held.summaries.append(results)

    def close(self, done: bool) -> None:
        self.held.closed.append(done)


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    """A run of which nothing has begun."""
    return WrittenRun(tmp_path / "first")


def following(run: WrittenRun, tracker: Any) -> Follower:
    """A follower as a new process has it: with the record on the disk, and nothing in memory."""
    folder = run.path / "track" / "memory"
    folder.mkdir(parents=True, exist_ok=True)
    reports: list[str] = []
    return Follower(RunDirectory(run.path), tracker, Fed.read(folder), "first", reports.append)
