"""On a node of the cluster: what the node is and sees, and the process of one rank. Ray makes it an actor.

Every call returns within a second, so that a driver that gets no answer knows that the node is lost.
"""

import os
import platform
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

PACKAGES = ("torch", "transformers", "tokenizers")
"""Packages whose versions decide results."""
_NOT_STARTED = 1
"""Exit status of a rank whose process could not be started."""


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "none"
    return installed


def size_of(path: Path) -> int | None:
    """Return the bytes of a file, or of all files in a folder; None for what is not there."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an actor is."""

    address: str
    port: int
    """A port that was free a moment ago."""
    gpus: tuple[str, ...]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class News:
    """What a rank has printed since the last time, and its exit status."""

    lines: tuple[tuple[bool, str], ...]
    """Whether each went to standard error, and the line with its end."""
    status: int | None
    """Minus the signal that ended the process; None while it runs."""


class RankActor:
    """The process of one rank."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []

    def place(self) -> Place:
        """Return where this is."""
        import ray

        address = ray.util.get_node_ip_address()
        # At the node's own address: a port that is free on the loopback may be taken there.
        with socket.create_server((address, 0)) as server:
            port = server.getsockname()[1]
        return Place(address, port, tuple(str(gpu) for gpu in ray.get_gpu_ids()), versions())

    def answers(self, folder: str, token: str) -> bool:
        """Write `.TOKEN-answer` beside the file `.TOKEN` of the driver; return False if that is not in the folder."""
        with suppress(OSError):
            if Path(folder, f".{token}").read_text(encoding="ascii") == token:
                Path(folder, f".{token}-answer").write_text(token, encoding="ascii")
                return True
        return False

    def sizes(self, paths: Sequence[str]) -> list[int | None]:
        """Return the bytes of each file, and of all files in each folder; None for what is not here."""
        return [size_of(Path(path)) for path in paths]

    def start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the process, with a copy of this environment changed by the one that is given; `news` says if it cannot be."""
        # Ray sets the threads of a worker by its CPUs; a stage sets them itself.
        inherited = {name: text for name, text in os.environ.items() if name != "OMP_NUM_THREADS"}
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "dianoia.cluster.end_with", *arguments],
                # Never written to: it closes when this process ends, by which `end_with` notices, see there.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                env={**inherited, "PYTHONUNBUFFERED": "1", **environment},
                # A group of its own, which `end_with` can kill without killing the worker of Ray.
                start_new_session=True,
            )
        except OSError as error:
            # Printed, not raised: the driver waits for no answer to this call, and would never see the error.
            self._lines.put(
                (True, f"dianoia: the process of this rank cannot be started: {error}\n")
            )
            return
        self._process = process
        outputs = (process.stdout, False), (process.stderr, True)
        self._readers = [
            threading.Thread(target=self._read, args=output, daemon=True) for output in outputs
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], is_error: bool) -> None:
        # In a thread per stream: a program blocks once a pipe that nobody reads is full.
        for line in stream:
            self._lines.put((is_error, line))

    def news(self, seconds: float) -> News:
        """Return what is new, after waiting for it for so long."""
        lines = []
        with suppress(queue.Empty):
            lines.append(self._lines.get(timeout=seconds))
        # Before the queue is emptied: what was printed before this end is then part of this answer, which may be the last.
        status = _NOT_STARTED if self._process is None else self._process.poll()
        if status is not None:
            for reader in self._readers:
                # A program that the rank has left behind may hold the pipe.
                reader.join(1.0)
        with suppress(queue.Empty):
            while True:
                lines.append(self._lines.get_nowait())
        return News(tuple(lines), status)

    def send(self, number: int) -> None:
        """Send a signal to the rank."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.Signals(number))
