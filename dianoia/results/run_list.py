"""The runs of a folder, one summary each.

In: a folder that holds run directories, or folders of one run per seed; or one run directory. Out: `RunSummary`s, the latest first.
A run that cannot be read is summarized as damaged, with the reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import Any

from dianoia.base.errors import ConfigError, UserError
from dianoia.base.faults import fault_message
from dianoia.inference.checkpoints import is_run
from dianoia.results.run_results import DONE, FAILED, INTERRUPTED, RUNNING, Run, load_run
from dianoia.storage.run_directory import RunDirectory, statuses_below

DAMAGED = "damaged"
_ACCURACY = "pass@1"


@dataclass(frozen=True, slots=True)
class Best:
    """The best accuracy of a run."""

    checkpoint: str
    domain: str
    """The first domain that the run has evaluated."""
    value: float


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in one line."""

    path: Path
    name: str | None
    """Of the recipe; None for a damaged run."""
    seed: int | None
    state: str
    """`done`, `running`, `interrupted`, `failed` or `damaged`."""
    reason: str | None
    """The stage at which the run was interrupted or is at work, or the stage and error that ended it; None if it is done."""
    stages_done: int
    stages: int
    best: Best | None
    """None until a stage has evaluated a checkpoint."""
    changed: datetime
    """When a stage last began or ended."""
    size: int
    """Bytes of all files."""
    holder: dict[str, Any] | None = None
    """What is known of the process at work, as in `Run.holder_as_json`."""

    def as_json(self) -> dict[str, Any]:
        """Return the summary as a JSON object."""
        best = self.best and {name: getattr(self.best, name) for name in ("checkpoint", "domain", "value")}  # fmt: skip
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "path": str(self.path), "changed": self.changed.isoformat(), "best": best}


def list_runs(folder: str | Path) -> list[RunSummary]:
    """Return the runs of a folder, the latest first. Raises ConfigError if there is no such folder."""
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ConfigError(
            f"{folder}: there is no such folder; give the one that holds run directories, such as runs/, in which "
            "`dianoia run` writes them"
        )
    summaries = [summarize(run) for run in sorted(_runs(path))]
    return sorted(summaries, key=lambda summary: summary.changed, reverse=True)


def _runs(folder: Path) -> Iterator[Path]:
    if is_run(folder):
        yield folder
        return
    for inside in folder.iterdir():
        if is_run(inside):
            yield inside
        elif inside.is_dir():
            # One run per seed: OUT/seed-N.
            yield from (run for run in inside.glob("seed-*") if is_run(run))


def summarize(path: Path) -> RunSummary:
    """Return the summary of a run directory."""
    changed = _changed(RunDirectory(path))
    size = sum(status.st_size for status in statuses_below(path) if S_ISREG(status.st_mode))
    try:
        run = load_run(path)
    except (UserError, OSError) as error:
        reason = fault_message(error) or str(error)
        return RunSummary(path, None, None, DAMAGED, reason, 0, 0, None, changed, size)
    stages = list(run.stages.values())
    return RunSummary(
        path=path,
        name=run.name,
        seed=run.seed,
        state=run.state,
        reason=_reason(run),
        stages_done=sum(stage.status == DONE for stage in stages),
        stages=len(stages),
        best=_best(run),
        changed=changed,
        size=size,
        holder=run.holder_as_json(),
    )


def _changed(directory: RunDirectory) -> datetime:
    files = [
        file for file in (directory.results, directory.about, directory.recipe) if file.is_file()
    ]
    seconds = max(file.stat().st_mtime for file in files) if files else 0.0
    return datetime.fromtimestamp(seconds, UTC)


def _reason(run: Run) -> str | None:
    """Return where a run that is not done stands."""
    if run.state == DONE:
        return None
    for state in (FAILED, RUNNING, INTERRUPTED):
        for stage in run.stages.values():
            if stage.status == state:
                message = (stage.failure or "").partition("\n")[0]
                return f"{stage.name}: {message}" if message else stage.name
    # Between two stages, or a stage that has to run again.
    return next((s.name for s in run.stages.values() if s.status != DONE), None)


def _best(run: Run) -> Best | None:
    """Return the best accuracy on the first domain of the run."""
    domains = [domain for by_domain in run.evaluations.values() for domain in by_domain]
    candidates = [
        Best(checkpoint, domains[0], by_domain[domains[0]][_ACCURACY].value)
        for checkpoint, by_domain in run.evaluations.items()
        if _ACCURACY in by_domain.get(domains[0], {})
    ]
    return max(candidates, key=lambda best: best.value, default=None)
