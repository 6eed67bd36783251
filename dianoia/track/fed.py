"""The record of what a tracker has been fed: `track/TRACKER/fed.json`, written atomically.

It says which beginnings each stage has had, so that a stage that was run again becomes another run of the tracker; and which
of them are finished, so that those are not opened again. It is no more than that: which steps a tracker holds is read from
the tracker itself where it has a file, and `step` counts only where it has none.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from dianoia.base.files import read_table, write_json

FED_FILE = "fed.json"
"""In the folder of a tracker in the run directory; `base.run_files` has the version of its format."""


@dataclass(slots=True)
class Attempt:
    """A beginning of a stage, and how far the tracker has been fed with it."""

    hash: str
    """Of its `begun.json`."""
    step: int = -1
    """Last step that was sent."""
    is_finished: bool = False
    """Every row and the summary were sent."""


@dataclass(slots=True)
class Fed:
    """The record of one tracker in one run directory."""

    path: Path
    run_id: str
    """Tells the run apart from others of its name."""
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    """By stage, in the order in which they began."""

    @classmethod
    def read(cls, folder: Path) -> "Fed":
        """Read the record in a folder, or begin one. Raises DamagedFile, UnknownFormat."""
        path = folder / FED_FILE
        if not path.exists():
            # Random: two run directories may have the same name, and one tracker.
            return cls(path, uuid4().hex[:12])
        record = read_table(path)
        stages: dict[str, list[dict[str, Any]]] = record["stages"]
        return cls(
            path,
            record["run_id"],
            {name: [Attempt(**attempt) for attempt in row] for name, row in stages.items()},
        )

    def write(self) -> None:
        """Replace the file."""
        stages = {
            name: [
                {"hash": item.hash, "step": item.step, "is_finished": item.is_finished}
                for item in attempts
            ]
            for name, attempts in self.attempts.items()
        }
        # Replaced as a whole, so that a kill leaves the earlier record.
        write_json(self.path, {"run_id": self.run_id, "stages": stages}, checked=True)

    def attempt(self, stage: str, begun: str) -> tuple[int, Attempt]:
        """Return the number of a beginning, from 1, and its record; a new one is added."""
        attempts = self.attempts.setdefault(stage, [])
        for number, attempt in enumerate(attempts, start=1):
            # The same beginning: the stage was resumed, or is looked at once more.
            if attempt.hash == begun:
                return number, attempt
        attempts.append(Attempt(begun))
        return len(attempts), attempts[-1]
