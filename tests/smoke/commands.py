"""The real command in a process of its own, with its own session, streams and environment.

A fresh interpreter imports PyTorch and transformers, which takes seconds. So `Command` forks from a server that has
imported them (`tests.fork_server`); from there on the process is as any other: signals and limits end it, the kernel
frees what it held. `fresh` is for what depends on the start of an interpreter.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from dianoia.cli import main
from dianoia.hardware import machine
from dianoia.models import tokenizer_probe
from tests.fork_server import Forked

SECONDS = 900
"""After which a command is taken to hang."""
Prepare = Callable[[], object]
"""Is called in the process before the command."""
Known = tuple[float, dict[tuple[object, ...] | None, int | None]]
"""Speed of a core (`machine.multiply_rate`), and sizes of tokenizers that were tried out (`tokenizer_probe`)."""


class Command:
    """A running command; at the end of a `with` block it is over. The process leads a group of its own."""

    def __init__(self, arguments: Sequence[str], prepare: Prepare | None = None) -> None:
        self._arguments = arguments
        self._folder = tempfile.TemporaryDirectory(prefix="command-")
        self._out, self._err = (Path(self._folder.name, name) for name in ("out", "err"))
        # Each takes a process a tenth of a second to find out, and this one has mostly done so already.
        known = machine.multiply_rate(), dict(tokenizer_probe._sizes)
        call = tuple(arguments), str(self._out), str(self._err), prepare, known
        self._process = Forked(f"{__name__}:work", call)
        self.pid = self._process.pid
        """Of the process, and of its group."""

    def poll(self) -> int | None:
        """Return the exit status, minus the number of the signal that ended it, or None while it runs."""
        return self._process.wait()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Return as soon as `true`; a command that ends first is an error."""
        deadline = time.monotonic() + SECONDS
        while not true():
            assert self.poll() is None, (
                f"the command ended early, status {self.poll()}{self._text()}"
            )
            assert time.monotonic() < deadline, "the command hangs"
            time.sleep(0.004)

    def finish(self) -> subprocess.CompletedProcess[str]:
        """Wait for the end; return status and output."""
        status = self._process.wait(SECONDS)
        assert status is not None, f"the command hangs{self._text()}"
        out, err = (
            path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            for path in (self._out, self._err)
        )
        return subprocess.CompletedProcess(self._arguments, status, out, err)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.kill()
        self._process.wait(None)
        self._process.close()
        self._folder.cleanup()

    def _text(self) -> str:
        return "".join(f"\n{path.read_text()}" for path in (self._out, self._err) if path.exists())


def run_command(
    arguments: Sequence[str], prepare: Prepare | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with Command(arguments, prepare) as command:
        return command.finish()


def fresh(arguments: Sequence[str]) -> list[str]:
    """Return the command line that starts a new interpreter for the command."""
    return [sys.executable, "-m", "dianoia", *arguments]


def work(
    arguments: Sequence[str], out: str, err: str, prepare: Prepare | None, known: Known
) -> None:
    """Run the command in a process that was just forked, as `python -m dianoia` does."""
    os.setsid()
    os.fsync = lambda _descriptor: (
        None
    )  # as in the tests' own process: a killed process loses nothing by it
    for descriptor, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
        os.close(file)
    rate, sizes = known
    machine.multiply_rate = lambda: rate  # type: ignore[assignment]
    tokenizer_probe._sizes.update(sizes)
    if prepare is not None:
        prepare()
    sys.exit(main(arguments))
