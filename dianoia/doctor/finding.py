"""One thing that was looked at, and whether something has to be done about it."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but slower, or not everything does."""
    BROKEN = "broken"
    """A run, or this recipe, would fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report."""

    topic: str
    """Such as `memory`."""
    value: str
    """What is there, or what is wrong with it."""
    status: Status = Status.OK
    advice: str = ""
    """What to do; empty where nothing has to be done."""


def warning(topic: str, value: str, advice: str) -> Finding:
    """Return a finding of something that limits what works."""
    return Finding(topic, value, Status.WARNING, advice)


def broken(topic: str, value: str, advice: str) -> Finding:
    """Return a finding of something without which a run fails."""
    return Finding(topic, value, Status.BROKEN, advice)
