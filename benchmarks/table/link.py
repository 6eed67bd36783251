"""A child process that receives commands as lines of JSON and answers each with a line.

`Child` is the parent's end, `Link` the child's. Output that the child prints goes to its standard error, which is a
log file. A child that fails ends, and the log says why.
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
    """A process `python -m module` with a number of threads. A context manager: the process ends with the block."""

    def __init__(self, python: Path | str, module: str, threads: int, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log, self._name = log, module
        with log.open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [str(python), "-m", module], env=child_environment(threads), cwd=ROOT, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip

    def ask(self, command: str, **arguments: Any) -> Any:
        """Send a command and return the answer. Raises SystemExit if the child has ended."""
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
        error_type: type[BaseException] | None,
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


def child_environment(threads: int) -> dict[str, str]:
    """Return the environment of a measured process: threads that sleep while they wait, and no network."""
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
    """The child's end of the connection."""

    def __init__(self) -> None:
        """Reserve standard output for answers; prints go to the log."""
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def receive(self) -> tuple[str, dict[str, Any]] | None:
        """Return the next command and its arguments; None once the parent is done."""
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
        """Answer commands until the parent is done."""
        while (request := self.receive()) is not None:
            command, arguments = request
            self.reply(commands[command](**arguments))


def peak_bytes() -> int:
    """Return the peak memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would include the memory that the parent had when it forked
        lines = status.read_text(encoding="utf-8").splitlines()
        (line,) = [line for line in lines if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
