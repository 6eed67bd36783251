"""Ends this process at an exact moment, or writes down the moments at which that could be done."""

import os
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Moment:
    """Right before the `count`-th event on a path that ends in a match of `pattern`."""

    pattern: str
    count: int = 1
    event: str = "os.rename"
    """`os.rename`: a file or folder that is written whole gets its name. `open`: a journal is appended to."""


def kill_at(moment: Moment) -> None:
    """Have SIGKILL end this process at the moment. Python's auditing names the events; a hook stays for good."""
    met = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal met
        if event != moment.event or not re.search(f"{moment.pattern}$", _path(event, arguments)):
            return
        met += 1
        if met == moment.count:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def log_renames(log: Path) -> None:
    """Append the new name of everything that this process renames to a file, one per line."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename":
            descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, f"{_path(event, arguments)}\n".encode())
            os.close(descriptor)

    sys.addaudithook(hook)


def _path(event: str, arguments: tuple[Any, ...]) -> str:
    return str(arguments[1] if event == "os.rename" else arguments[0])
