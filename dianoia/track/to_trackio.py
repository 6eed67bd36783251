"""trackio: a run per stage, in the group of the run, in trackio's local database.

Rows go through trackio's storage with an id each, which it takes once. Its client is not used: that writes from a thread of
its own, in its own time, and starts a new run of the same name when it goes on.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from trackio.sqlite_storage import SQLiteStorage

from dianoia.track.tracker import Destination, StageFeed, Table, TrackedRow, TrackedStage
from dianoia.track.trackers import DEFAULT_PROJECT


def open_tracker(destination: Destination) -> "Trackio":
    """Return the tracker that writes to a folder."""
    return Trackio(destination)


class Trackio:
    """A folder and a project."""

    def __init__(self, destination: Destination) -> None:
        self._project = destination.project or DEFAULT_PROJECT
        destination.folder.mkdir(parents=True, exist_ok=True)

    def open(self, stage: TrackedStage) -> StageFeed:
        """Return the feed of a stage."""
        return _Rows(self._project, stage)

    def close(self) -> None:
        """Do nothing: every row was written when it came."""


class _Rows(StageFeed):
    def __init__(self, project: str, stage: TrackedStage) -> None:
        self._project, self._stage = project, stage
        self._name = f"{stage.run_name}/{stage.title}"
        step = SQLiteStorage.get_max_step_for_run(project, run=self._name, run_id=stage.id)
        self.last_step = -1 if step is None else step
        # A summary that comes twice has the same id, so it need not be looked for.
        self.has_summary = False

    def add(self, rows: Sequence[TrackedRow]) -> None:
        self._add(rows, [str(row.step) for row in rows])

    def summarize(self, results: TrackedRow) -> None:
        self._add([results], ["summary"])

    def close(self, done: bool) -> None:
        pass

    def _add(self, rows: Sequence[TrackedRow], keys: Sequence[str]) -> None:
        """Add rows in one transaction; a key is taken once."""
        began = datetime.fromtimestamp(self._stage.began, UTC).isoformat()
        SQLiteStorage.bulk_log(
            self._project,
            self._name,
            [{**row.numbers, **_tables(row.tables)} for row in rows],
            steps=[row.step for row in rows],
            timestamps=[datetime.fromtimestamp(row.time, UTC).isoformat() for row in rows],
            # The keys that its own client adds; the dashboard groups by them.
            config={**self._stage.configuration, "_Group": self._stage.run_name, "_Created": began},
            # Trackio drops a row whose id it has, which makes sending it twice harmless.
            log_ids=[f"{self._stage.id}:{key}" for key in keys],
            run_id=self._stage.id,
        )


def _tables(tables: Sequence[Table]) -> dict[str, Any]:
    return {
        table.name: {
            "_type": "trackio.table",
            "_value": [dict(zip(table.columns, row, strict=True)) for row in table.rows],
        }
        for table in tables
    }
