"""A process that is told what to do, a line of JSON at a time, and answers each with one.

In the parent `Child`, in the child `Link`. What the child prints goes to the child's standard error, which is a log file; a
child that fails says so by ending, and the log tells why.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """`python -m module` with so many threads. Use as a context manager: it ends with the block."""

    def __init__(self, python: Path | str, module: str, threads: int, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log, self._name = log, module
        with log.open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [str(python), "-m", module], env=surroundings(threads), cwd=ROOT, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip

    def ask(self, command: str, **arguments: Any) -> Any:
        """Have it done; the answer. Raises SystemExit if the child has ended."""
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None and pipe_out is not None, "both are pipes"
        try:
            pipe_in.write(json.dumps([command, arguments]) + "\n")
            pipe_in.flush()
            line = pipe_out.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._process.wait()
            raise SystemExit(f"{self._name} ended at {command!r} ({status}); see {self._log}")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None, "a pipe"
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def surroundings(threads: int) -> dict[str, str]:
    """Environment of a measured process: its threads, which wait asleep, and no network."""
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


class Link:
    """The child's end."""

    def __init__(self) -> None:
        """Keeps the way to the parent for itself; prints go to the log."""
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def receive(self) -> tuple[str, dict[str, Any]] | None:
        """The next command; None once the parent has nothing more to say."""
        line = sys.stdin.readline()
        if not line:
            return None
        command, arguments = json.loads(line)
        return command, arguments

    def reply(self, value: Any) -> None:
        """Answer the last command."""
        self._out.write(json.dumps(value) + "\n")
        self._out.flush()

    def serve(self, commands: Mapping[str, Callable[..., Any]]) -> None:
        """Do what is asked until the parent is done."""
        while (asked := self.receive()) is not None:
            command, arguments = asked
            self.reply(commands[command](**arguments))


def peak_bytes() -> int:
    """Most main memory that this process has had so far."""
    told = Path("/proc/self/status")
    if told.exists():  # the other count begins with what the parent had
        lines = told.read_text(encoding="utf-8").splitlines()
        (line,) = [line for line in lines if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
