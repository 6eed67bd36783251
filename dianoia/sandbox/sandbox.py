"""Run untrusted programs in an operating-system sandbox: a clean environment per run, hard limits.

In: a `Program` (source, standard input, expressions to evaluate) and `Limits`. Out: an `Outcome` with a typed ending. A
program that went wrong is data; a sandbox that went wrong is an error. docs/sandbox.md says what is covered and what is not.
`SandboxPool` runs many programs at
once, with results in order. Not here: what a right answer is (`dianoia.tasks.code`).

A warm process behind the walls (`guest.zygote`) forks once per program, so that Python starts only once. Nothing has to be
installed: the walls are system calls of Linux.

Decisions on which DeepSeek-R1 (arXiv 2501.12948v2, section B.1: a "code executor") is silent:
1. On a machine that offers no wall, programs are refused, unless UNSANDBOXED is asked for by name.
2. Output goes to files in memory, not through pipes: this process need not read while a program runs, and the kernel
   itself stops a program that writes too much.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from queue import LifoQueue
from threading import Lock
from typing import Any, Protocol, TypeVar

from dianoia.base.cgroups import usable_cores
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
"""Name of the choice without a sandbox, long so that it is not chosen by accident."""
AUTO = "auto"
STRONG = ("namespaces", "landlock")
"""Sandboxes with walls, the strongest first."""
LANGUAGES = ("python",)
"""Languages of programs; each has a runner in `dianoia.sandbox.guest.program_process`."""
VARIABLE = "DIANOIA_SANDBOX"
"""Environment variable that names the sandbox; it overrides the recipe."""

_WALLS = {"namespaces": "namespaces", "landlock": "landlock", UNSANDBOXED: "none"}
_START_SECONDS = 30.0
_GRACE_SECONDS = 10.0
"""How long a warm process may take beyond a program's wall time before it is killed and replaced."""
_END_SECONDS = 2.0
"""How long a warm process may take to end by itself before it is killed."""
_FOLDER_BYTES = 16 * 2**20
# The folder of this package is on the path only while the zygote is imported, so that no program can import from it.
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
    "OPENBLAS_NUM_THREADS": "1",  # a process with threads may not enter a new namespace
}
"""All that a program sees of the environment. A fixed hash seed makes the order of sets, and so a verdict, reproducible."""


class Sandbox(Protocol):
    """Runs programs one after another, each in an environment of its own."""

    name: str

    def run(self, program: Program, limits: Limits) -> Outcome:
        """Run a program until it ends, after `limits.wall_seconds` at the latest.

        Raises:
            SandboxError: the sandbox itself failed, which says nothing about the program.
        """
        ...

    def examine(
        self, program: Program, examination: Examination, limits: Limits
    ) -> tuple[Outcome, Outcome]:
        """Run a program and its tests, which call it from a process of their own; return the outcome of each.

        Raises:
            SandboxError: the sandbox itself failed.
        """
        ...

    def close(self) -> None:
        """End the sandbox with everything in it."""
        ...


def choose(name: str = AUTO) -> str:
    """Return the name of the sandbox to use: `name` itself, or for AUTO the strongest that works on this machine.

    Raises:
        SandboxError: there is no such name, or the machine does not offer it.
    """
    # Never chosen by AUTO, and not tested: it needs nothing.
    if name == UNSANDBOXED:
        return name
    if name not in (AUTO, *STRONG):
        names = ", ".join((AUTO, *STRONG, UNSANDBOXED))
        raise SandboxError(f"sandbox = {name!r}: there is no such sandbox; use one of {names}")
    candidates = STRONG if name == AUTO else (name,)
    reasons = {}
    for candidate in candidates:
        reasons[candidate] = offered(candidate)
        if reasons[candidate] is None:
            return candidate
    details = "; ".join(f"{candidate}: {reason}" for candidate, reason in reasons.items())
    raise SandboxError(
        f"sandbox = {name!r}: this machine offers none ({details}). Without one, programs that a model wrote "
        "could read your files and use your network. Use Linux 5.14 or newer, allow user "
        f'namespaces, or accept the risk: set sandbox = "{UNSANDBOXED}" in the recipe, or '
        f"{VARIABLE}={UNSANDBOXED} in the environment"
    )


@lru_cache(maxsize=8)
def offered(name: str) -> str | None:
    """Return None if a sandbox works here, which is tested by running a program in it; else the reason why it does not."""
    try:
        sandbox = ForkSandbox(name)
    except SandboxError as error:
        return str(error)
    try:
        # A kernel may offer the calls and still refuse them to this user: only a run tells.
        outcome = sandbox.run(Program("print(6 * 7)"), Limits())
    except SandboxError as error:
        return str(error)
    finally:
        sandbox.close()
    return None if outcome.stdout == "42\n" else f"a test program ended as {outcome.ending}"


class ForkSandbox:
    """A sandbox that is a warm process behind walls, which forks for every program. Not for several threads at once.

    A warm process that does not answer is killed and replaced.
    """

    def __init__(self, name: str, packages: Packages | None = None) -> None:
        self.name, self._packages = name, packages
        self.replaced = 0
        """Number of warm processes so far that had to be killed."""
        self._process, self._control = _start(_WALLS[name], packages)
        self._tests: ForkSandbox | None = None
        """Sandbox of the tests, in which no program of a model ever runs."""

    def run(self, program: Program, limits: Limits) -> Outcome:
        """Run a program, as `Sandbox.run`."""
        request = _request(program)
        ending = Ending.KILLED
        # Twice: that the warm process died, perhaps before this run, is not the fault of this program.
        for _ in range(2):
            with _files(request, program.stdin) as files:
                # Files are made again for each try, as the first one may have written to them.
                report = self._begin(files, limits) or self._report(limits)
                if not isinstance(report, Ending):
                    return outcome_of(report, files[2:], limits, len(program.steps))
            ending = report
            # A program that stopped the warm process from answering is not tried again.
            if ending is Ending.TIMED_OUT:
                break
        return unfinished(ending, limits)

    def examine(
        self, program: Program, examination: Examination, limits: Limits
    ) -> tuple[Outcome, Outcome]:
        """Run a program and its tests, as `Sandbox.examine`. The first call starts a second warm process, for the tests."""
        if self._tests is None:
            # Without packages: tests use the standard library, and no program has run in this process.
            self._tests = ForkSandbox(self.name)
        tests = self._tests
        # The program reaches its limit first, so that a slow program is reported as such and not as slow tests.
        longer = replace(limits, wall_seconds=limits.wall_seconds + 1.0)
        requests = (
            _request(program) | {"serves": True},
            asdict(examination) | {"language": program.language},
        )
        endings = [Ending.KILLED, Ending.KILLED]
        for _ in range(2):
            with ExitStack() as stack:
                program_files = stack.enter_context(_files(requests[0], program.stdin))
                tests_files = stack.enter_context(_files(requests[1], ""))
                # Both run at once. This process's ends of the channel are closed, so that each side notices the other's end.
                with _channel() as (program_end, tests_end):
                    lost = self._begin([*program_files, *program_end], limits)
                    tests_lost = tests._begin([*tests_files, *tests_end], longer)
                report = lost or self._report(limits)
                tests_report = tests_lost or tests._report(longer)
                if not isinstance(report, Ending) and not isinstance(tests_report, Ending):
                    return (
                        outcome_of(report, program_files[2:], limits, 0),
                        outcome_of(tests_report, tests_files[2:], limits, len(examination.units)),
                    )
            endings = [
                result if isinstance(result, Ending) else Ending.FINISHED
                for result in (report, tests_report)
            ]
            if Ending.TIMED_OUT in endings:
                break
        return unfinished(endings[0], limits), unfinished(endings[1], limits)

    def _begin(self, files: Sequence[int], limits: Limits) -> Ending | None:
        """Pass a run to the warm process. If that is dead, replace it and return how the run ended; else None."""
        try:
            self._control.settimeout(limits.wall_seconds + _GRACE_SECONDS)
            socket.send_fds(self._control, [json.dumps(asdict(limits)).encode()], list(files))
        except (TimeoutError, ConnectionError) as error:
            return self._lost(error)
        return None

    def _report(self, limits: Limits) -> dict[str, Any] | Ending:
        """Return the report of the warm process. If none comes, replace the process and return how the run ended.

        Raises:
            SandboxError: the walls could not be closed around the program, so that it did not run.
        """
        try:
            # The warm process ends the program at its limit and then answers; later than that, it hangs itself.
            self._control.settimeout(limits.wall_seconds + _GRACE_SECONDS)
            report = _receive(self._control)
        except (TimeoutError, ConnectionError) as error:
            return self._lost(error)
        if report["state"] != "ended":
            raise SandboxError(
                f"sandbox {self.name!r}: the walls could not be closed around a program, so it was not run; "
                f"this machine offers less than at the start ({report})"
            )
        return report

    def _lost(self, error: Exception) -> Ending:
        """Replace the warm process and return how the run ended, by the error of its socket."""
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
        """End the sandbox, as `Sandbox.close`, and that of its tests."""
        self._stop()
        if self._tests is not None:
            self._tests.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a warm process and all it started; by force if it does not end within _END_SECONDS."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _start(walls: str, packages: Packages | None) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a warm process and wait until its walls are ready; return it with the socket to it.

    Raises:
        SandboxError: this machine does not offer the walls.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [*_command(walls, theirs.fileno()), *_packages(packages)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            pass_fds=[theirs.fileno()],
            # Ctrl-C is for this process, which then ends the sandbox.
            start_new_session=True,
            # The working folder of this process is no business of a program.
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
    # Isolated (-I) and without site-packages (-S): a program sees only the standard library and the packages it is given.
    options = ["-I", "-S", "-B", "-X", "utf8"]
    root = str(Path(__file__).parents[2])
    return [sys.executable, *options, "-c", _BOOT, root, walls, str(control), str(_FOLDER_BYTES)]


def _packages(packages: Packages | None) -> list[str]:
    return [str(packages.folder), *packages.modules] if packages else [""]


def _receive(control: socket.socket) -> dict[str, Any]:
    """Return one line from the warm process. Raises ConnectionError if it has ended, TimeoutError."""
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
    """Open files in memory for request, standard input, output, error and results; closed at the end."""
    texts = (json.dumps(request), stdin, "", "", "")
    files = [_memory_file() for _ in texts]
    try:
        for fd, text in zip(files, texts, strict=True):
            # surrogatepass: a model may write lone surrogates, which are no valid UTF-8.
            _write(fd, text.encode("utf-8", "surrogatepass"))
        yield files
    finally:
        for fd in files:
            os.close(fd)


@contextmanager
def _channel() -> Iterator[tuple[list[int], list[int]]]:
    """Open two pipes; yield the (read, write) ends of a program and of its tests, whose copies here are closed at the end."""
    to_program, from_program = os.pipe(), os.pipe()
    try:
        yield [to_program[0], from_program[1]], [from_program[0], to_program[1]]
    finally:
        for fd in (*to_program, *from_program):
            os.close(fd)


def _memory_file() -> int:
    # In memory and without a name: nothing is left on disk, and no program can open another one's files.
    if hasattr(os, "memfd_create"):
        return os.memfd_create("program")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
    # The program's copy shares this offset, and reads from the beginning.
    os.lseek(fd, 0, os.SEEK_SET)


T = TypeVar("T")


class SandboxPool(AbstractContextManager["SandboxPool"]):
    """A number of equal sandboxes, each started when first needed; usable from many threads.

    Args:
        name: of the sandbox, as `choose` takes it.
        workers: number of programs that run at once; by default one per core that this process may use.
        packages: what programs may import besides the standard library.

    Raises:
        SandboxError: the machine offers no such sandbox.
    """

    def __init__(
        self, name: str = AUTO, workers: int | None = None, packages: Packages | None = None
    ) -> None:
        self.name, self._packages = choose(name), packages
        self.workers = workers or usable_cores()
        self.endings: Counter[Ending] = Counter()
        """Number of runs so far by how they ended."""
        self._lock = Lock()
        self._all: list[ForkSandbox] = []
        # Last in, first out: as few sandboxes are started as are needed at once.
        self._idle: LifoQueue[ForkSandbox | None] = LifoQueue()
        for _ in range(self.workers):
            self._idle.put(None)  # stands for a sandbox that is not started yet

    @property
    def replaced(self) -> int:
        """Number of warm processes so far that had to be killed because they did not answer."""
        return sum(sandbox.replaced for sandbox in self._all)

    def map(self, tasks: Sequence[Callable[[Sandbox], T]]) -> list[T]:
        """Run tasks, as many at once as there are workers, and return their results in order."""
        with ThreadPoolExecutor(self.workers, "sandbox") as threads:
            return list(threads.map(self.run, tasks))

    def run(self, task: Callable[[Sandbox], T]) -> T:
        """Run one task in the caller's thread, on the next idle sandbox, and return its result."""
        sandbox = self._idle.get()
        try:
            sandbox = sandbox or self._make()
            return task(_Counted(sandbox, self))
        # Back even after an error: the sandbox has replaced its process itself, if need be.
        finally:
            self._idle.put(sandbox)

    def _make(self) -> ForkSandbox:
        # Outside the lock: starting takes long, and several may start at once.
        sandbox = ForkSandbox(self.name, self._packages)
        with self._lock:
            self._all.append(sandbox)
        return sandbox

    def count(self, ending: Ending) -> None:
        """Count a program that has ended."""
        with self._lock:
            self.endings[ending] += 1

    def close(self) -> None:
        """End every sandbox. The pool must not be used again."""
        for sandbox in self._all:
            sandbox.close()

    def __exit__(self, *_error: object) -> None:
        self.close()


class _Counted:
    """A sandbox that reports to its pool how programs end."""

    def __init__(self, sandbox: Sandbox, pool: SandboxPool) -> None:
        self.name, self._sandbox, self._pool = sandbox.name, sandbox, pool

    def run(self, program: Program, limits: Limits) -> Outcome:
        outcome = self._sandbox.run(program, limits)
        self._pool.count(outcome.ending)
        return outcome

    def examine(
        self, program: Program, examination: Examination, limits: Limits
    ) -> tuple[Outcome, Outcome]:
        outcomes = self._sandbox.examine(program, examination, limits)
        self._pool.count(outcomes[0].ending)
        return outcomes

    def close(self) -> None:
        self._sandbox.close()
