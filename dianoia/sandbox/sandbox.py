"""Untrusted programs in an operating-system sandbox: one clean environment a run, hard limits.

In: a `Program` (source, standard input, expressions to evaluate) and `Limits`. Out: an `Outcome`
with a typed ending; a program that went wrong is data, a sandbox that went wrong is an error. What
is covered and what is not stands in docs/sandbox.md. Left out: what a right answer is
(`dianoia.tasks.code`), many programs at once (`dianoia.sandbox.pool`).

A warm process behind the walls forks once a program, so that Python's start is paid once. Nothing
has to be installed: the walls are system calls of Linux.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, section B.1: a "code executor") is silent:
1. Without a wall this machine refuses to run programs, unless UNSANDBOXED is asked for by name.
2. Output goes to files in memory, not through pipes: nobody has to read while a program runs, and
   the kernel itself stops a flood.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from dianoia.base.errors import SandboxError
from dianoia.sandbox.program import (
    Ending,
    Examination,
    Limits,
    Outcome,
    Packages,
    Program,
    outcome_of,
    unfinished,
)

__all__ = [
    "AUTO",
    "LANGUAGES",
    "STRONG",
    "UNSANDBOXED",
    "VARIABLE",
    "Ending",
    "Examination",
    "ForkSandbox",
    "Limits",
    "Outcome",
    "Packages",
    "Program",
    "Sandbox",
    "choose",
    "offered",
]

UNSANDBOXED = "i-accept-unsandboxed-code"
"""The name of the sandbox that is none, spelled out so that nobody chooses it by accident."""
AUTO = "auto"
STRONG = ("namespaces", "landlock")
"""Sandboxes with walls, the strongest first."""
LANGUAGES = ("python",)
"""Languages of programs; each has a runner in `dianoia.sandbox.guest.program_process`."""
VARIABLE = "DIANOIA_SANDBOX"
"""Environment variable that names the sandbox, before the recipe does."""

_WALLS = {"namespaces": "namespaces", "landlock": "landlock", UNSANDBOXED: "none"}
_START_SECONDS = 30.0
_GRACE_SECONDS = 10.0
"""How long a warm process may take beyond a program's wall time before it is killed and replaced."""
_END_SECONDS = 2.0
_FOLDER_BYTES = 16 * 2**20
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from dianoia.sandbox.guest import zygote; "
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


class Sandbox(Protocol):
    """Runs one program after another, each in an environment of its own."""

    name: str

    def run(self, program: Program, limits: Limits) -> Outcome:
        """Run a program to its end, which comes after `limits.wall_seconds` at the latest.

        Raises:
            SandboxError: the sandbox itself failed; it says nothing about the program.
        """
        ...

    def examine(
        self, program: Program, examination: Examination, limits: Limits
    ) -> tuple[Outcome, Outcome]:
        """Run a program beside its tests, which call it from a process of their own; how each ended.

        Raises:
            SandboxError: as `run`.
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
        self._tests: ForkSandbox | None = None
        """For tests alone: no program of a model ever runs in it."""

    def run(self, program: Program, limits: Limits) -> Outcome:
        """As `Sandbox`."""
        request = _request(program)
        ending = Ending.KILLED
        for _ in range(2):  # a warm process that died, perhaps long ago, is no fault of a program
            with _files(request, program.stdin) as files:
                report = self._begin(files, limits) or self._report(limits)
                if not isinstance(report, Ending):
                    return outcome_of(report, files[2:], limits, len(program.steps))
            ending = report
            if ending is Ending.TIMED_OUT:
                break
        return unfinished(ending, limits)

    def examine(
        self, program: Program, examination: Examination, limits: Limits
    ) -> tuple[Outcome, Outcome]:
        """As `Sandbox`. The tests have a warm process of their own, started with the first of them."""
        if self._tests is None:
            self._tests = ForkSandbox(self.name)
        tests = self._tests
        # The program's limit ends first, so that a program that is late is what is told.
        longer = replace(limits, wall_seconds=limits.wall_seconds + 1.0)
        requests = (
            _request(program) | {"serves": True},
            asdict(examination) | {"language": program.language},
        )
        endings = [Ending.KILLED, Ending.KILLED]
        for _ in range(2):
            with ExitStack() as stack:
                served = stack.enter_context(_files(requests[0], program.stdin))
                asked = stack.enter_context(_files(requests[1], ""))
                with _channel() as (program_end, tests_end):
                    lost = self._begin([*served, *program_end], limits)
                    tests_lost = tests._begin([*asked, *tests_end], longer)
                ran, examined = lost or self._report(limits), tests_lost or tests._report(longer)
                if not isinstance(ran, Ending) and not isinstance(examined, Ending):
                    return (
                        outcome_of(ran, served[2:], limits, 0),
                        outcome_of(examined, asked[2:], limits, len(examination.units)),
                    )
            endings = [
                report if isinstance(report, Ending) else Ending.FINISHED
                for report in (ran, examined)
            ]
            if Ending.TIMED_OUT in endings:
                break
        return unfinished(endings[0], limits), unfinished(endings[1], limits)

    def _begin(self, files: Sequence[int], limits: Limits) -> Ending | None:
        """Hand a run to the warm process; how it ended if that one is dead, in which case it is replaced."""
        try:
            self._control.settimeout(limits.wall_seconds + _GRACE_SECONDS)
            socket.send_fds(self._control, [json.dumps(asdict(limits)).encode()], list(files))
        except (TimeoutError, ConnectionError) as error:
            return self._lost(error)
        return None

    def _report(self, limits: Limits) -> dict[str, Any] | Ending:
        """The report of the warm process; how the run ended if there is none, in which case the
        process is replaced."""
        try:
            self._control.settimeout(limits.wall_seconds + _GRACE_SECONDS)
            report = _receive(self._control)
        except (TimeoutError, ConnectionError) as error:
            return self._lost(error)
        if report["state"] != "ended":
            raise SandboxError(
                f"sandbox {self.name!r}: the walls could not be closed around a program, so that it "
                f"was not run; this machine offers less than at the start ({report})"
            )
        return report

    def _lost(self, error: Exception) -> Ending:
        self._replace()
        return Ending.TIMED_OUT if isinstance(error, TimeoutError) else Ending.KILLED

    def _replace(self) -> None:
        self._stop()
        self.replaced += 1
        self._process, self._control = _start(_WALLS[self.name], self._packages)

    def _stop(self) -> None:
        self._control.close()
        _end(self._process)

    def close(self) -> None:
        """As `Sandbox`."""
        self._stop()
        if self._tests is not None:
            self._tests.close()


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


def _request(program: Program) -> dict[str, Any]:
    fields = ("source", "steps", "language", "prelude", "any_status")
    return {name: getattr(program, name) for name in fields} | {"serves": False}


@contextmanager
def _files(request: Mapping[str, Any], stdin: str) -> Iterator[list[int]]:
    """Files in memory for request, input, output, error, results; closed at the end."""
    texts = (json.dumps(request), stdin, "", "", "")
    files = [_memory_file() for _ in texts]
    try:
        for fd, text in zip(files, texts, strict=True):
            _write(fd, text.encode("utf-8", "surrogatepass"))
        yield files
    finally:
        for fd in files:
            os.close(fd)


@contextmanager
def _channel() -> Iterator[tuple[list[int], list[int]]]:
    """Two pipes, as (read, write) for a program and for its tests; this process's copies are closed at the end."""
    to_program, from_program = os.pipe(), os.pipe()
    try:
        yield [to_program[0], from_program[1]], [from_program[0], to_program[1]]
    finally:
        for fd in (*to_program, *from_program):
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
