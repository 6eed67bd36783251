"""What each tracker holds, read from its own files: numbers by step and name, per stage, and how often each was written."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from dianoia.track.stage_files import tracked_numbers

Numbers = dict[str, dict[int, dict[str, float]]]
"""Numbers by stage, step and name."""


def written(run: Path) -> Numbers:
    """The numbers of every `metrics.jsonl`."""
    return {
        path.parent.name: {
            row["step"]: tracked_numbers(row)
            for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
        }
        for path in sorted(run.glob("stages/*/metrics.jsonl"))
    }


def _collect(points: list[tuple[str, int, str, float]]) -> Numbers:
    doubled = [key for key, n in Counter(point[:3] for point in points).items() if n > 1]
    assert not doubled, doubled[:5]
    numbers: Numbers = {}
    for stage, step, name, value in points:
        if name.startswith(("train/", "eval/")) and name != "train/global_step":
            numbers.setdefault(stage, {}).setdefault(step, {})[name] = value
    return numbers


def tensorboard(run: Path) -> Numbers:
    """By TensorBoard's own reader."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    return _collect(
        [
            (file.parent.name, event.step, value.tag, value.simple_value)
            for file in (run / "track/tensorboard").rglob("*tfevents*")
            for event in loader.LegacyEventFileLoader(str(file)).Load()
            for value in event.summary.value
            if value.WhichOneof("value") == "simple_value"
        ]
    )


def wandb(run: Path) -> Numbers:
    """From the offline files, over all folders of a run id."""
    pytest.importorskip("wandb")
    files = import_module("dianoia.track.to_wandb")
    points = []
    for file in sorted((run / "track/wandb/wandb").glob("offline-run-*/run-*.wandb")):
        stage = file.stem.removeprefix("run-").rpartition("-")[0]
        for row in map(files.history_row, files.records(file)):
            points += [
                (stage, row["_step"], name, value)
                for name, value in row.items()
                if name.startswith(("train/", "eval/"))
            ]
    return _collect(points)


def mlflow(run: Path) -> Numbers:
    """From the tables of the database."""
    database = sqlite3.connect(run / "track/mlflow/mlflow.db")
    rows = database.execute(
        "select runs.name, step, key, value from metrics join runs on runs.run_uuid = metrics.run_uuid"
    ).fetchall()
    database.close()
    return _collect(rows)


def trackio(run: Path) -> Numbers:
    """From the table of the database."""
    database = sqlite3.connect(run / "track/trackio/dianoia.db")
    rows = database.execute("select run_name, step, metrics from metrics").fetchall()
    database.close()
    return _collect(
        [
            (stage.rpartition("/")[2], step, name, value)
            for stage, step, metrics in rows
            for name, value in json.loads(metrics).items()
            if not isinstance(value, dict)
        ]
    )


READERS: dict[str, Callable[[Path], Numbers]] = {
    "tensorboard": tensorboard,
    "wandb": wandb,
    "mlflow": mlflow,
    "trackio": trackio,
}


def assert_holds(name: str, run: Path, times: bool = True) -> None:
    """A tracker holds the numbers of `metrics.jsonl`: no step twice, none missing.

    `times`: also those that differ where a step was done again after a kill.
    """
    held, expected = READERS[name](run), written(run)
    assert {stage: sorted(rows) for stage, rows in held.items()} == {
        stage: sorted(rows) for stage, rows in expected.items()
    }
    for stage, rows in expected.items():
        for step, row in rows.items():
            for key, value in row.items():
                if not times and key.endswith(("seconds", "_per_second", "step_time")):
                    continue
                got = held[stage][step][key.replace("@", "_at_") if name == "mlflow" else key]
                # TensorBoard keeps float32.
                assert abs(got - value) <= (1e-6 * abs(value) if name == "tensorboard" else 0), key
