"""Weights & Biases: a run per stage, in the group of the run.

Offline, which is the default, a run is a folder `wandb/offline-run-*`, which `wandb sync` sends later. Going on in another
process makes another such folder with the same run id, and `wandb sync` joins them. Which steps they hold is read from their
files, LevelDB's log format. Online the server says it.
"""

import fcntl
import json
import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from wandb.proto.wandb_internal_pb2 import Record

# Nothing leaves the machine unasked, wandb's own errors included; read when it is imported.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb

from dianoia.base.errors import TrackerError
from dianoia.track.tracker import Destination, StageFeed, Table, TrackedRow, TrackedStage
from dianoia.track.trackers import DEFAULT_PROJECT

_SERVICE_LOG = "wandb-core.log"
_WAIT_SECONDS = 60.0
"""Longest wait for wandb's own process of a killed follower, which ends by itself."""


def open_tracker(destination: Destination) -> "WeightsAndBiases":
    """Return the tracker that writes to a folder, and sends if it is online."""
    return WeightsAndBiases(destination)


class WeightsAndBiases:
    """A folder and a project."""

    def __init__(self, destination: Destination) -> None:
        self._folder, self._online = destination.folder, destination.online
        self._project = destination.project or os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT
        self._folder.mkdir(parents=True, exist_ok=True)
        # wandb writes from a process of its own, which outlives a killed follower for a moment. It inherits this file and
        # with it the lock, so that what it holds is read only when it has ended.
        self._service_log = (destination.run_folder / _SERVICE_LOG).open("ab")
        _lock(self._service_log)

    def open(self, stage: TrackedStage) -> StageFeed:
        """Return the feed of a stage: a wandb run with the id of the stage."""
        last_step, has_summary = -1, False
        # Read before `init`, which opens another file for the same run id.
        if not self._online:
            last_step, has_summary = held(offline_files(self._folder, stage.id))
        settings = wandb.Settings(
            mode="online" if self._online else "offline",
            console="off",
            silent=True,
            # What this process uses says nothing about training.
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            disable_git=True,
            disable_code=True,
            x_save_requirements=False,
        )
        with _standard_output(self._service_log):
            run = wandb.init(
                project=self._project,
                id=stage.id,
                name=f"{stage.run_name}/{stage.title}",
                group=stage.run_name,
                job_type=stage.kind,
                config=stage.configuration,
                dir=str(self._folder),
                resume="allow" if self._online else None,
                reinit="create_new",
                settings=settings,
            )
        if self._online:
            # The server counts records, and a row's record has the row's step.
            last_step = run.starting_step - 1
        # As transformers' integration does: panels may be drawn over it beside its runs.
        run.define_metric("train/global_step")
        run.define_metric("*", step_metric="train/global_step")
        return _Run(run, last_step, has_summary)

    def close(self) -> None:
        """End wandb's own process."""
        wandb.teardown()
        self._service_log.close()


def _lock(file: BinaryIO) -> None:
    """Lock a file. Raises TrackerError if another process keeps the lock."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TrackerError(
                    f"wandb's own process of an earlier command still holds {file.name}; end it (wandb-core)"
                ) from None
            time.sleep(0.1)


@contextmanager
def _standard_output(file: BinaryIO) -> Iterator[None]:
    """In the block, processes that are started get the file as their standard output."""
    earlier = os.dup(1)
    os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(earlier, 1)
        os.close(earlier)


class _Run(StageFeed):
    def __init__(self, run: Any, last_step: int, has_summary: bool) -> None:
        self._run, self.last_step, self.has_summary = run, last_step, has_summary

    def add(self, rows: Sequence[TrackedRow]) -> None:
        for row in rows:
            self._log(row, row.step)

    def summarize(self, results: TrackedRow) -> None:
        # A record of its own, after the last row's. A run's summary has the last value of everything that was logged.
        self._log(results, self.last_step + 1)

    def _log(self, row: TrackedRow, record: int) -> None:
        values = {**row.numbers, **_tables(row.tables)}
        times = {"train/global_step": row.step, "_timestamp": row.time}
        # `commit`: otherwise it would be held back until the next one.
        self._run.log({**values, **times}, step=record, commit=True)

    def close(self, done: bool) -> None:
        self._run.finish(exit_code=0 if done else 1)


def _tables(tables: Sequence[Table]) -> dict[str, Any]:
    return {
        table.name: wandb.Table(
            columns=list(table.columns),
            data=[list(row) for row in table.rows],
            allow_mixed_types=True,
        )
        for table in tables
    }


# Offline files -------------------------------------------------------------------------------------
# A file is LevelDB's log format: seven bytes of header, then blocks of 32 KiB with records of a checksum (4 bytes), a length
# (2), a type (1) and data; a record that crosses a block is cut into a first, middle and last part. The data is a message of
# `wandb.proto.wandb_internal_pb2`.

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
