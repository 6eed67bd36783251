"""Untrusted programs in an operating-system sandbox: one clean environment a run, hard limits.

In: a `Program` (source, standard input, expressions to evaluate) and `Limits`. Out: an `Outcome`
with a typed ending; a program that went wrong is data, a sandbox that went wrong is an error. What
is covered and what is not stands in docs/sandbox.md. Left out: what a right answer is
(`dianoia.tasks.code`), many programs at once (`dianoia.runtime.pool`).

A warm process behind the walls forks once a program, so that Python's start is paid once. Nothing
has to be installed: the walls are system calls of Linux.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, section B.1: a "code executor") is silent:
1. Without a wall this machine refuses to run programs, unless UNSANDBOXED is asked for by name.
2. Output goes to files in memory, not through pipes: nobody has to read while a program runs, and
   the kernel itself stops a flood.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from dianoia.base.errors import SandboxError

UNSANDBOXED = "i-accept-unsandboxed-code"
"""The name of the sandbox that is none, spelled out so that nobody chooses it by accident."""
AUTO = "auto"
STRONG = ("namespaces", "landlock")
"""Sandboxes with walls, the strongest first."""
LANGUAGES = ("python",)
"""Languages of programs; each has a runner in `dianoia.runtime.box.guest`."""
VARIABLE = "DIANOIA_SANDBOX"
"""Environment variable that names the sandbox, before the recipe does."""

_WALLS = {"namespaces": "namespaces", "landlock": "landlock", UNSANDBOXED: "none"}
_START_SECONDS = 30.0
_GRACE_SECONDS = 10.0
"""How long a warm process may take beyond a program's wall time before it is killed and replaced."""
_END_SECONDS = 2.0
_FOLDER_BYTES = 16 * 2**20
_SHOWN_ERROR_BYTES = 4096
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from dianoia.runtime.box import zygote; "
    "del sys.path[0]; zygote.main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])"
)
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",  # no new namespace for a process with threads
}
"""All that a program sees of the environment. Hash order is fixed, so that a program's verdict is."""


class Ending(StrEnum):
    """How a program ended. None of them says that its answer is right."""

    FINISHED = "finished"
    """By itself; `Outcome.exit_code` is 1 after an exception that nobody caught."""
    TIMED_OUT = "timed_out"
    """Stopped at the limit of wall or CPU time."""
    OUT_OF_MEMORY = "out_of_memory"
    """Asked for more memory than it may have and did not catch that."""
    OUTPUT_LIMIT = "output_limit"
    """Wrote more than it may."""
    PROCESS_LIMIT = "process_limit"
    """Had more threads than it may. Where the kernel refuses them (`namespaces`), the program decides what
    becomes of that."""
    CRASHED = "crashed"
    """Ended by a signal of its own making, such as a segmentation fault."""
    KILLED = "killed"
    """Killed from outside, as the kernel does when the machine runs out of memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use."""

    wall_seconds: float = 10.0
    cpu_seconds: float = 10.0
    """Of each process; rounded up to whole seconds."""
    memory_bytes: int = 512 * 2**20
    """Address space of each process. Python itself takes about 50 MB of it."""
    processes: int = 8
    """Processes and threads together, the program itself included. `landlock`: threads of its one process."""
    output_bytes: int = 2**20
    """Of standard output, of standard error and of results, each."""
    file_bytes: int = 8 * 2**20
    """Of each file; all files together hold at most 16 MiB."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run."""

    source: str
    stdin: str = ""
    steps: tuple[tuple[str, str], ...] = ()
    """After the program, in its own names: ("do", statement) or ("value", expression)."""
    language: str = "python"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended and all it said. Everything in it is the program's word."""

    ending: Ending
    exit_code: int | None
    """None unless FINISHED."""
    stdout: str
    """Decoded as UTF-8; a byte that is none becomes U+FFFD."""
    stderr: str
    """The last 4096 bytes."""
    results: tuple[tuple[int, str, str], ...]
    """(index of the step, "value" or "error", the value as `box.values` encodes it or the error)."""
    wall_seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Packages:
    """What programs may import beside the standard library."""

    folder: Path
    """Such as site-packages. Programs may read all of it."""
    modules: tuple[str, ...]
    """Loaded once, so that no program pays for it. They must not start threads."""


class Sandbox(Protocol):
    """Runs one program after another, each in an environment of its own."""

    name: str

    def run(self, program: Program, limits: Limits) -> Outcome:
        """Run a program to its end, which comes after `limits.wall_seconds` at the latest.

        Raises:
            SandboxError: the sandbox itself failed; it says nothing about the program.
        """
        ...

    def close(self) -> None:
        """End it with everything in it."""
        ...


def choose(name: str = AUTO) -> str:
    """The sandbox to use: the one named, or the strongest that works on this machine.

    Raises:
        SandboxError: no such name, or the machine does not offer it.
    """
    if name == UNSANDBOXED:
        return name
    if name not in (AUTO, *STRONG):
        known = ", ".join((AUTO, *STRONG, UNSANDBOXED))
        raise SandboxError(f"sandbox = {name!r}: there is no such sandbox; use one of {known}")
    wanted = STRONG if name == AUTO else (name,)
    reasons = {}
    for candidate in wanted:
        reasons[candidate] = offered(candidate)
        if reasons[candidate] is None:
            return candidate
    found = "; ".join(f"{candidate}: {reason}" for candidate, reason in reasons.items())
    raise SandboxError(
        f"sandbox = {name!r}: this machine offers none ({found}), and programs that a model wrote "
        "could read your files and use your network; use Linux 5.14 or newer, allow user "
        f'namespaces, or accept the risk in words: sandbox = "{UNSANDBOXED}" in the recipe, or '
        f"{VARIABLE}={UNSANDBOXED} in the environment"
    )


@lru_cache(maxsize=8)
def offered(name: str) -> str | None:
    """None when a sandbox works here, proved by running a program in it; otherwise why it does not."""
    try:
        sandbox = ForkSandbox(name)
    except SandboxError as error:
        return str(error)
    try:
        outcome = sandbox.run(Program("print(6 * 7)"), Limits())
    except SandboxError as error:
        return str(error)
    finally:
        sandbox.close()
    return None if outcome.stdout == "42\n" else f"a test program ended as {outcome.ending}"


class ForkSandbox:
    """A warm process behind walls that forks for every program. Use it from one thread at a time.

    A warm process that does not answer is killed and replaced.
    """

    def __init__(self, name: str, packages: Packages | None = None) -> None:
        self.name, self._packages = name, packages
        self.replaced = 0
        """How many warm processes had to be killed so far."""
        self._process, self._control = _start(_WALLS[name], packages)

    def run(self, program: Program, limits: Limits) -> Outcome:
        """As `Sandbox`."""
        ending = Ending.KILLED
        for _ in range(2):  # a warm process that died, perhaps long ago, is no fault of a program
            with _files(program) as files:
                report = self._ask(files, limits)
                if not isinstance(report, Ending):
                    return _outcome(report, files[2:], limits)
            ending = report
            if ending is Ending.TIMED_OUT:
                break
        return Outcome(ending, None, "", "", (), limits.wall_seconds, 0.0)

    def _ask(self, files: Sequence[int], limits: Limits) -> dict[str, Any] | Ending:
        """The report of the warm process; how the run ended if there is none, in which case the
        process is replaced."""
        self._control.settimeout(limits.wall_seconds + _GRACE_SECONDS)
        try:
            message = json.dumps(asdict(limits)).encode()
            socket.send_fds(self._control, [message], list(files))
            report = _receive(self._control)
        except (TimeoutError, ConnectionError) as error:
            self._replace()
            return Ending.TIMED_OUT if isinstance(error, TimeoutError) else Ending.KILLED
        if report["state"] != "ended":
            raise SandboxError(
                f"sandbox {self.name!r}: the walls could not be closed around a program, so that it "
                f"was not run; this machine offers less than at the start ({report})"
            )
        return report

    def _replace(self) -> None:
        self.close()
        self.replaced += 1
        self._process, self._control = _start(_WALLS[self.name], self._packages)

    def close(self) -> None:
        """As `Sandbox`."""
        self._control.close()
        _end(self._process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a warm process and all it started; by force if it does not listen."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _start(walls: str, packages: Packages | None) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a warm process and wait until its walls stand."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [*_command(walls, theirs.fileno()), *_packages(packages)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            cwd="/",
        )
    ours.settimeout(_START_SECONDS)
    try:
        state = _receive(ours)["state"]
    except (TimeoutError, ConnectionError) as error:
        state = f"its process gave no answer ({error})"
    if state != "ready":
        ours.close()
        _end(process)
        raise SandboxError(f"sandbox {walls!r} does not work on this machine: {state}")
    return process, ours


def _command(walls: str, control: int) -> list[str]:
    # Isolated, without site-packages: a program sees the standard library and what it is given.
    options = ["-I", "-S", "-B", "-X", "utf8"]
    root = str(Path(__file__).parents[2])
    return [sys.executable, *options, "-c", _BOOT, root, walls, str(control), str(_FOLDER_BYTES)]


def _packages(packages: Packages | None) -> list[str]:
    return [str(packages.folder), *packages.modules] if packages else [""]


def _receive(control: socket.socket) -> dict[str, Any]:
    """One line from the warm process."""
    line = b""
    while not line.endswith(b"\n"):
        part = control.recv(4096)
        if not part:
            raise ConnectionError("it ended")
        line += part
    message: dict[str, Any] = json.loads(line)
    return message


@contextmanager
def _files(program: Program) -> Iterator[list[int]]:
    """Files in memory for request, input, output, error, results; closed at the end."""
    request = {"source": program.source, "steps": program.steps, "language": program.language}
    texts = (json.dumps(request), program.stdin, "", "", "")
    files = [_memory_file() for _ in texts]
    try:
        for fd, text in zip(files, texts, strict=True):
            _write(fd, text.encode("utf-8", "surrogatepass"))
        yield files
    finally:
        for fd in files:
            os.close(fd)


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("program")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
    os.lseek(fd, 0, os.SEEK_SET)


def _outcome(report: dict[str, Any], files: Sequence[int], limits: Limits) -> Outcome:
    sizes = [os.fstat(fd).st_size for fd in files]
    stdout, stderr, results = (os.pread(fd, limits.output_bytes, 0) for fd in files)
    ending = _ending(report, limits, max(sizes) > limits.output_bytes, results)
    code = os.waitstatus_to_exitcode(report["status"])
    return Outcome(
        ending,
        code if ending is Ending.FINISHED else None,
        stdout.decode("utf-8", "replace"),
        stderr[-_SHOWN_ERROR_BYTES:].decode("utf-8", "replace"),
        tuple(_results(results)),
        report["wall"],
        report["cpu"],
    )


def _ending(report: dict[str, Any], limits: Limits, flooded: bool, results: bytes) -> Ending:
    code = os.waitstatus_to_exitcode(report["status"])
    if report["late"]:
        return Ending.TIMED_OUT
    if report["crowded"]:
        return Ending.PROCESS_LIMIT
    if flooded:
        return Ending.OUTPUT_LIMIT
    # The kernel counts in ticks: the CPU time it kills at may read a little less than the limit.
    used_up = code == -signal.SIGKILL and report["cpu"] >= 0.8 * limits.cpu_seconds
    if used_up or code == -signal.SIGXCPU:
        return Ending.TIMED_OUT
    if results.endswith(b"memory\n"):
        return Ending.OUT_OF_MEMORY
    if code == -signal.SIGKILL:
        return Ending.KILLED
    return Ending.CRASHED if code < 0 else Ending.FINISHED


def _results(data: bytes) -> Iterator[tuple[int, str, str]]:
    """The lines that have the right form; the program may have written anything there."""
    for line in data.split(b"\n"):
        try:
            number, kind, text = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            continue
        if type(number) is int and isinstance(kind, str) and isinstance(text, str):
            yield number, kind, text
