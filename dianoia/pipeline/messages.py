"""Messages between the process of a stage and the command that started it. No torch."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from dianoia.recipe.graph import Recipe
from dianoia.storage.run_directory import RunDirectory

END_NOW = signal.SIGUSR1
"""Signal to the stage's process: end without finishing the current step."""
STOP = "stop"
"""Message to the stage's process: finish the current step, write a state, and end."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """To the stage's process: which stage to run, and how."""

    name: str
    title: str
    """The stage's name, with the seed where several runs are at work."""
    recipe: Recipe
    run: RunDirectory
    threads: int
    """Of each rank."""
    sandbox: str
    ranks: int = 1
    """Processes that run the stage together."""


@dataclass(frozen=True, slots=True)
class Total:
    """The stage knows its total."""

    total: int


@dataclass(frozen=True, slots=True)
class Update:
    """The stage has come further."""

    done: int
    metrics: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """A line to print."""

    text: str


@dataclass(frozen=True, slots=True)
class At:
    """What a rank begins to do: `sample in step 12`."""

    point: str


@dataclass(frozen=True, slots=True)
class Done:
    """The stage is done and its manifest is written."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The stage has ended by an error."""

    text: str
    """The message of an error that the user can fix; the traceback of any other."""
    error: str | None
    """Name of its class in `base.errors`; None for an error of the program."""


Message = Total | Update | Line | At | Done | Failed
