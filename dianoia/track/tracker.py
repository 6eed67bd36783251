"""What a tracker has to be: `Tracker` opens a stage, `StageFeed` takes its rows.

In: a stage's rows, tables and summary, in the order of steps. A new tracker is one module with these two, and a line in
`trackers`.

The law: a step is in the tracker once, and none is missing, however often the follower or the run was killed. So `StageFeed`
says what the tracker already holds (`last_step`, `has_summary`), read from the tracker's own files where it has any, and a
row with its tables is either held as a whole or not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to be read: rollouts, or estimates with their intervals."""

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class TrackedRow:
    """A row of `metrics.jsonl` as a tracker gets it, or the results of a stage."""

    step: int
    numbers: Mapping[str, float]
    """By their names in the tracker."""
    tables: Sequence[Table]
    """What belongs to the row."""
    time: float
    """Seconds since 1970 at which the stage came here, by the seconds of work in its rows."""


@dataclass(frozen=True, slots=True)
class TrackedStage:
    """One beginning of a stage: what becomes one run of the tracker."""

    run_name: str
    """Groups the stages of a run."""
    run_id: str
    """Tells the run apart from others of its name."""
    stage: str
    attempt: int
    """From 1; a stage that was run again from scratch has another."""
    kind: str
    id: str
    """Tells it apart from every other, in any project: letters, digits, `.`, `_` and `-`, at most 60."""
    began: float
    """Seconds since 1970."""
    settings: Mapping[str, Any]
    """The stage's table with every default."""
    recipe: Mapping[str, Any]
    """The whole resolved recipe."""

    @property
    def title(self) -> str:
        """The stage's name, with the attempt if it is not the first."""
        return self.stage if self.attempt == 1 else f"{self.stage}-{self.attempt}"

    @property
    def configuration(self) -> dict[str, Any]:
        """The stage's table, and the resolved recipe under the key `recipe`."""
        return {**self.settings, "recipe": dict(self.recipe)}


class StageFeed(Protocol):
    """A run of the tracker that takes the rows of one stage."""

    last_step: int
    """Last step that the tracker holds; -1 if it holds none."""
    has_summary: bool
    """Whether the tracker holds the summary."""

    def add(self, rows: Sequence[TrackedRow]) -> None:
        """Add rows, whose steps are beyond `last_step` and rise."""
        ...

    def summarize(self, results: TrackedRow) -> None:
        """Add the results of a stage that is done, as those of its last step."""
        ...

    def close(self, done: bool) -> None:
        """Write everything out. `done`: the stage is; otherwise more may follow in another process."""
        ...


class Tracker(Protocol):
    """A tracker and where it writes."""

    def open(self, stage: TrackedStage) -> StageFeed:
        """Return the feed of a stage, which goes on where the tracker's own data ends."""
        ...

    def close(self) -> None:
        """Release what is open."""
        ...


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the trackers of a run write."""

    folder: Path
    """For what the tracker writes on this machine."""
    run_folder: Path
    """The tracker's folder in the run directory; `folder`, unless the environment names another."""
    project: str | None
    """The tracker's project or experiment; None: by the environment, else `dianoia`."""
    online: bool
    """Whether numbers may leave this machine."""

    @property
    def is_shared(self) -> bool:
        """Return True if other runs may write to the folder too."""
        return self.folder != self.run_folder
