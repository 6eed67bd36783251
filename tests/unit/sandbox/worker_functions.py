"""The function that the workers of `test_workers.py` run."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path


def _loop() -> None:
    while True:
        pass


def _fail() -> None:
    raise ValueError("no")


def _once(mark: str) -> str:
    """Die unless the file exists, as a worker does that is killed from outside."""
    if not Path(mark).exists():
        os.kill(os.getpid(), signal.SIGTERM)
    return "second"


def _files() -> list[str]:
    folder = "/proc/self/fd"
    paths = [f"{folder}/{fd}" for fd in os.listdir(folder)]  # noqa: PTH208
    return sorted(os.readlink(path) for path in paths if os.path.lexists(path))  # noqa: PTH115


def _about() -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "environment": dict(os.environ),
        "torch": "torch" in sys.modules,
    }


_ACTIONS: dict[str, Callable[..., object]] = {
    "echo": lambda value: value,
    "loop": _loop,
    "power": lambda: len(str(3 ** (10**9))),  # one call of C code: no signal handler interrupts it
    "sleep": lambda: time.sleep(1000),
    "exit": lambda: os._exit(3),
    "fault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "memory": lambda: len(bytearray(2**40)),
    "raise": _fail,
    "once": _once,
    "files": _files,
    "about": _about,
}


def run(item: list[str]) -> object:
    """Do what the item's first word names, with the other words as arguments."""
    return _ACTIONS[item[0]](*item[1:])
