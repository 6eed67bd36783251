"""Feeds one tracker with one run, as far as the run has come: `Follower.feed`, again and again.

In: the files of a run directory, also while stages write them. Out: rows, tables and summaries in the tracker, in the order
of steps. A row is sent if its step is beyond the last that the tracker holds. A resumed stage writes the steps after its
last state once more, with the same numbers, times aside; the tracker keeps those of the first time.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dianoia.base.files import read_table
from dianoia.storage.run_directory import RunDirectory, StageDirectory
from dianoia.track.fed import Attempt, Fed
from dianoia.track.stage_files import Rows, results, rollouts_between, tracked_numbers
from dianoia.track.tracker import StageFeed, TrackedRow, TrackedStage, Tracker

_AT_ONCE = 200
"""Rows that a tracker gets at once."""


@dataclass(slots=True)
class Count:
    """What was sent of a stage by this follower."""

    rows: int = 0
    tables: int = 0


@dataclass(slots=True)
class _OpenStage:
    """A stage that is being fed."""

    stage: TrackedStage
    attempt: Attempt
    directory: StageDirectory
    rows: Rows
    feed: StageFeed | None = None
    """Opened with the first thing that there is to send."""
    last_step: int = -1
    """Last step read of the journal; rollouts before the next row's step belong to that row."""
    time: float = 0.0


@dataclass(slots=True)
class Follower:
    """One tracker and one run directory."""

    run: RunDirectory
    tracker: Tracker
    fed: Fed
    run_name: str
    report: Callable[[str], object]
    """Takes a message on a file that cannot be read."""
    counts: dict[str, Count] = field(default_factory=dict)
    """By stage, of what this follower has sent."""
    _open: dict[str, _OpenStage] = field(default_factory=dict)

    def feed(self) -> bool:
        """Send everything that is new; return True if there was anything. Raises whatever the tracker raises."""
        if not self.run.recipe.is_file():
            return False
        sent = False
        # The order of the recipe; a stage that it no longer has is left alone.
        recipe: dict[str, Any] = read_table(self.run.recipe)
        for name in recipe["stages"]:
            sent |= self._feed_stage(name)
        return sent

    @property
    def is_complete(self) -> bool:
        """True if every stage of the recipe is done and was sent."""
        if not self.run.recipe.is_file():
            return False
        stages = read_table(self.run.recipe)["stages"]
        return all(
            self.run.stage(name).done
            and (attempts := self.fed.attempts.get(name))
            and attempts[-1].is_finished
            for name in stages
        )

    def close(self) -> None:
        """Write out what is open, and close the tracker."""
        for stage in self._open.values():
            if stage.feed is not None:
                stage.feed.close(done=False)
        self._open.clear()
        self.tracker.close()

    def _feed_stage(self, name: str) -> bool:
        directory = self.run.stage(name)
        # What the stage is made from identifies its attempt: a stage run again from scratch writes another record.
        record = _begun(directory)
        if record is None:
            return False
        # Finished attempts are never opened again, so a later call costs a look at `begun.json` only.
        number, attempt = self.fed.attempt(name, record["hash"])
        if attempt.is_finished:
            return False
        stage = self._opened(name, number, attempt, record)
        # Looked at before the rows: what the manifest covers was written by then.
        done = directory.done
        rows = list(stage.rows.new())  # a tracker takes many at once much faster
        # The stage may have begun again since: these rows would be another attempt's.
        if _begun(directory) != record:
            return True
        sent = False
        for start in range(0, len(rows), _AT_ONCE):
            sent |= self._send(stage, rows[start : start + _AT_ONCE])
        if done:
            self._finish(stage)
        # After the tracker has the rows: a kill in between sends nothing twice, as `last_step` is read from the tracker.
        elif sent:
            self.fed.write()
        return sent or done

    def _opened(
        self, name: str, number: int, attempt: Attempt, record: dict[str, Any]
    ) -> _OpenStage:
        """Return the stage as it is open; one that has begun again is closed and opened anew."""
        stage = self._open.get(name)
        if stage is not None and stage.attempt is attempt:
            return stage
        if stage is not None and stage.feed is not None:
            stage.feed.close(done=False)
        about = TrackedStage(
            run_name=self.run_name,
            run_id=self.fed.run_id,
            stage=name,
            attempt=number,
            kind=record["configuration"]["kind"],
            id=f"{name[:40]}-{attempt.hash[:12]}",
            began=datetime.fromisoformat(record["began"]).timestamp(),
            settings=record["configuration"],
            recipe=read_table(self.run.recipe),
        )
        directory = self.run.stage(name)
        rows = Rows(directory.metrics, self.report)
        self._open[name] = _OpenStage(about, attempt, directory, rows, time=about.began)
        # Before anything is sent: after a kill the attempt has the same number, and the run the same id.
        self.fed.write()
        return self._open[name]

    def _feed_of(self, stage: _OpenStage) -> StageFeed:
        if stage.feed is None:
            stage.feed = self.tracker.open(stage.stage)
        return stage.feed

    def _send(self, stage: _OpenStage, rows: Sequence[tuple[dict[str, Any], float]]) -> bool:
        """Send rows but those that the tracker holds; return True if any was sent."""
        feed, new = self._feed_of(stage), list[TrackedRow]()
        for row, seconds in rows:
            step, first = row["step"], stage.last_step
            # Also of rows that the tracker holds: their rollouts and seconds are not those of the next row.
            stage.last_step, stage.time = step, stage.stage.began + seconds
            # The second condition drops the steps that a resumed stage writes once more within one reading.
            if step > feed.last_step and (not new or step > new[-1].step):
                tables = rollouts_between(stage.directory, first, step)
                new.append(TrackedRow(step, tracked_numbers(row), tables, stage.time))
        if not new:
            return False
        feed.add(new)
        feed.last_step = stage.attempt.step = new[-1].step
        self._count(stage, len(new), sum(len(row.tables) for row in new))
        return True

    def _count(self, stage: _OpenStage, rows: int, tables: int) -> None:
        count = self.counts.setdefault(stage.stage.stage, Count())
        count.rows += rows
        count.tables += tables

    def _finish(self, stage: _OpenStage) -> None:
        """Send the results of a stage that is done, and close it."""
        feed = self._feed_of(stage)
        # The tracker may have it from a follower that was killed before it wrote `fed.json`.
        if not feed.has_summary:
            numbers, tables = results(stage.directory)
            feed.summarize(TrackedRow(max(feed.last_step, 0), numbers, tables, stage.time))
            self._count(stage, 0, len(tables))
        feed.close(done=True)
        # Written last, so that a kill before it leads to a look at the tracker, never to a missing summary.
        stage.attempt.is_finished = True
        del self._open[stage.stage.stage]
        self.fed.write()


def _begun(directory: StageDirectory) -> dict[str, Any] | None:
    """Return the record that a stage has written when it began; None before that."""
    try:
        return read_table(directory.begun)
    except FileNotFoundError:
        return None


def default_run_name(run: Path) -> str:
    """Return the name of a run: its folder's, and for one seed of several also that of the folder above."""
    folder = run.absolute()
    seed = re.fullmatch(r"seed-\d+", folder.name)
    return f"{folder.parent.name}-{folder.name}" if seed else folder.name
