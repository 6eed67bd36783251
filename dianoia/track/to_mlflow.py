"""MLflow: a run per stage below the run, in an experiment of a local SQLite file or of a server.

The numbers of a row are one transaction. A table is a JSON file among the artifacts, which MLflow's page shows as a table.
Signs that names of metrics may not hold become words: `pass@1` is `pass_at_1`.
"""

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Nothing leaves the machine unasked; read when mlflow is imported.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from dianoia.track.tracker import Destination, StageFeed, Table, TrackedRow, TrackedStage
from dianoia.track.trackers import DEFAULT_PROJECT

_DATABASE = "mlflow.db"
_ID, _SUMMARY = "dianoia.id", "dianoia.summary"
"""Tags: which stage a run is, and that it has the stage's results."""
_TABLES = "mlflow.loggedArtifacts"
"""Tag by which MLflow's page knows tables among artifacts."""
_STEP = "train/global_step"
"""In every row, as transformers' integration has it; its last step is the last row's."""
_MAX_PARAM = 500
"""Characters of a parameter; the whole recipe is an artifact."""
_MAX_PARAMS, _MAX_METRICS = 100, 1000
"""In one request."""
_FORBIDDEN = re.compile(r"[^\w\-. :/]")
"""What a name of MLflow may not hold."""
_SIGNS = {"@": "at", ">": "gt", "<": "lt", "=": "eq"}
"""Words for signs; any other becomes its code point."""


def open_tracker(destination: Destination) -> "MLflow":
    """Return the tracker that writes to a SQLite file in a folder, or to MLFLOW_TRACKING_URI."""
    return MLflow(destination)


class MLflow:
    """A store and an experiment in it."""

    def __init__(self, destination: Destination) -> None:
        logging.getLogger("alembic").setLevel(logging.WARNING)
        folder = destination.folder.absolute()
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            _make_database(folder)
        self._parent: Any = None
        self._client = MlflowClient(uri or f"sqlite:///{folder / _DATABASE}")
        name = destination.project or os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_PROJECT
        # Looked for first, as creating one that exists is an error.
        experiment = self._client.get_experiment_by_name(name)
        # Of an own file the artifacts lie beside it; of another store it decides itself.
        artifacts = (folder / "artifacts").as_uri() if uri is None else None
        self._experiment: str = (
            self._client.create_experiment(name, artifact_location=artifacts)
            if experiment is None
            else experiment.experiment_id
        )

    def open(self, stage: TrackedStage) -> StageFeed:
        """Return the feed of a stage, whose run is made below that of the whole run."""
        # Searched by our own tag: names of runs need not be unique in MLflow.
        self._parent = self._find(stage.run_id) or self._client.create_run(
            self._experiment,
            start_time=int(1000 * stage.began),
            run_name=stage.run_name,
            tags={_ID: stage.run_id},
        )
        run = self._find(stage.id)
        if run is None:
            run = self._client.create_run(
                self._experiment,
                start_time=int(1000 * stage.began),
                run_name=stage.title,
                tags={"mlflow.parentRunId": self._parent.info.run_id, "dianoia.kind": stage.kind},
            )
            _write_configuration(self._client, run.info.run_id, stage)
            # Last: a run without it was cut short, and another takes its place.
            self._client.set_tag(run.info.run_id, _ID, stage.id)
            run = self._client.get_run(run.info.run_id)
        return _Run(self._client, run)

    def close(self) -> None:
        """Say that nothing more comes now."""
        if self._parent is not None:
            self._client.set_terminated(self._parent.info.run_id)

    def _find(self, run_id: str) -> Any:
        matching_runs = self._client.search_runs([self._experiment], f"tags.`{_ID}` = '{run_id}'")
        return matching_runs[0] if matching_runs else None


class _Run(StageFeed):
    def __init__(self, client: MlflowClient, run: Any) -> None:
        self._client, self._id = client, run.info.run_id
        self._shown: list[dict[str, str]] = json.loads(run.data.tags.get(_TABLES, "[]"))
        steps = client.get_metric_history(self._id, _STEP)
        self.last_step = max((metric.step for metric in steps), default=-1)
        self.has_summary = _SUMMARY in run.data.tags
        self._end_time: int | None = run.info.end_time
        """In milliseconds, by the work of the stage: its duration in MLflow is then its own."""
        # Going on after the end of a process that had closed it.
        if run.info.status != "RUNNING":
            self._client.update_run(self._id, status="RUNNING")

    def add(self, rows: Sequence[TrackedRow]) -> None:
        self._end_time = int(1000 * rows[-1].time)
        # Tables first, under the same name if they come twice: the row says that they are there.
        for row in rows:
            for number, table in enumerate(row.tables):
                self._add_table(table, f"{table.name}/{row.step:06d}-{number}.json")
        batch: list[Metric] = []
        for row in rows:
            metrics = _metrics(row, {_STEP: row.step, **row.numbers})
            # A row is never divided between two requests.
            if len(batch) + len(metrics) > _MAX_METRICS:
                self._client.log_batch(self._id, metrics=batch)
                batch = []
            batch += metrics
        self._client.log_batch(self._id, metrics=batch)

    def summarize(self, results: TrackedRow) -> None:
        self._end_time = int(1000 * results.time)
        for table in results.tables:
            self._add_table(table, f"{table.name}.json")
        # The same number at the same time is one of MLflow's, so a kill in between does no harm.
        metrics = _metrics(results, results.numbers)
        for start in range(0, len(metrics), _MAX_METRICS):
            self._client.log_batch(self._id, metrics=metrics[start : start + _MAX_METRICS])
        self._client.set_tag(self._id, _SUMMARY, "true")

    def close(self, done: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if done else "KILLED", self._end_time)

    def _add_table(self, table: Table, file: str) -> None:
        content = {"columns": list(table.columns), "data": [list(row) for row in table.rows]}
        self._client.log_dict(self._id, content, file)
        entry = {"path": file, "type": "table"}
        # MLflow's page lists the tables that this tag names; a table sent twice stands there once.
        if entry not in self._shown:
            self._shown.append(entry)
            self._client.set_tag(self._id, _TABLES, json.dumps(self._shown))


def _make_database(folder: Path) -> None:
    """Make the database of a folder if there is none: under another name, since one that a kill has cut short stays unusable."""
    database = folder / _DATABASE
    if database.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{_DATABASE}.part"
    for file in folder.glob(f"{unfinished.name}*"):  # with SQLite's own journal
        file.unlink()
    # The first question makes the tables.
    MlflowClient(f"sqlite:///{unfinished}").search_experiments(max_results=1)
    unfinished.replace(database)


def metric_name(name: str) -> str:
    """Return a name that MLflow accepts; different names stay different."""
    return _FORBIDDEN.sub(lambda sign: f"_{_SIGNS.get(sign[0], f'x{ord(sign[0]):x}')}_", name)


def _metrics(row: TrackedRow, numbers: Mapping[str, float]) -> list[Metric]:
    time = int(1000 * row.time)
    return [Metric(metric_name(name), x, time, row.step) for name, x in numbers.items()]


def _write_configuration(client: MlflowClient, run_id: str, stage: TrackedStage) -> None:
    params = [Param(name, value[:_MAX_PARAM]) for name, value in _leaves(stage.settings) if value]
    for start in range(0, len(params), _MAX_PARAMS):
        client.log_batch(
            run_id, params=params[start : start + _MAX_PARAMS], tags=[RunTag("stage", stage.stage)]
        )
    client.log_dict(run_id, dict(stage.recipe), "recipe.json")


def _leaves(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Return the values in nested tables as texts, by their paths."""
    if not isinstance(value, Mapping):
        return [(name, value if isinstance(value, str) else json.dumps(value))]
    return [
        leaf
        for key, inner in value.items()
        for leaf in _leaves(inner, f"{name}.{key}" if name else str(key))
    ]
