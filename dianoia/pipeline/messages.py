"""What the process of a stage and the command that started it tell one another. No torch."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from dianoia.recipe.graph import Recipe
from dianoia.storage.run_directory import RunDirectory

END_NOW = signal.SIGUSR1
"""To the stage's process: end without finishing the step in hand."""
STOP = "stop"
"""To the stage's process: finish the step in hand, write a state, and end."""


@dataclass(frozen=True, slots=True)
class Request:
    """To the stage's process: what to run, and how."""

    name: str
    recipe: Recipe
    run: RunDirectory
    threads: int
    sandbox: str
    capture: bool
    """Whether what is printed is told too, as a terminal's moving lines would tear it."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The total is this."""

    total: int


@dataclass(frozen=True, slots=True)
class Moved:
    """The stage has come further."""

    done: int
    figures: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Told:
    """A line that stays."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The stage is done; its manifest is written."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The stage has ended by an error."""

    text: str
    """The message of an error that a person can put right; of any other its traceback."""
    kind: str | None
    """Its class in `base.errors`; None of an error that nobody is meant to see."""


Message = Expected | Moved | Told | Done | Failed
