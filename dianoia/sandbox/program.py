"""The records of a sandbox: programs, tests and limits that go in, outcomes that come out.

In: the report of a warm process, and the files that the program wrote. Out: an `Outcome`.
"""

import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

_SHOWN_ERROR_BYTES = 4096


class Ending(StrEnum):
    """How a program ended; none of these means that its answer is right."""

    FINISHED = "finished"
    """It ended by itself; `Outcome.exit_code` is 1 after an uncaught exception."""
    TIMED_OUT = "timed_out"
    """It was ended at the limit of wall or CPU time."""
    OUT_OF_MEMORY = "out_of_memory"
    """It asked for more memory than it may have and did not catch the error."""
    OUTPUT_LIMIT = "output_limit"
    """It wrote more than it may."""
    PROCESS_LIMIT = "process_limit"
    """It had more threads than it may. In `namespaces` the kernel refuses the thread instead, and how the program ends
    depends on what it does about that."""
    CRASHED = "crashed"
    """It ended by a signal that it caused, such as a segmentation fault."""
    KILLED = "killed"
    """It was killed from outside, as the kernel does when the machine runs out of memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one program."""

    wall_seconds: float = 10.0
    cpu_seconds: float = 10.0
    """CPU time of each process, rounded up to whole seconds."""
    memory_bytes: int = 512 * 2**20
    """Address space of each process. Python itself takes about 50 MB of it."""
    processes: int = 8
    """Processes and threads together, the program itself included. In `landlock`: threads of its only process."""
    output_bytes: int = 2**20
    """Size of each of standard output, standard error and results."""
    file_bytes: int = 8 * 2**20
    """Size of each file that the program writes; all together hold at most 16 MiB."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run, and what to evaluate in it afterwards."""

    source: str
    stdin: str = ""
    steps: tuple[tuple[str, str], ...] = ()
    """Run after the program, in its namespace: ("do", statement) or ("value", expression)."""
    language: str = "python"
    prelude: str = ""
    """Code that runs before the program, in its namespace: imports and functions that it may use."""
    any_status: bool = False
    """Whether `sys.exit` with any status counts as status 0."""


@dataclass(frozen=True, slots=True)
class Examination:
    """Tests of a program, which run in a process of their own in which no program has ever run."""

    units: tuple[str, ...]
    """Pieces of Python code, run one after another in one namespace."""
    names: tuple[str, ...]
    """Names that belong to the program. A call of one reaches the program with copies of the arguments."""
    modules: tuple[str, ...] = ()
    """Modules of the standard library that the code uses without importing them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended and what it wrote. The program controls everything in it but the ending and the times."""

    ending: Ending
    exit_code: int | None
    """None unless FINISHED."""
    stdout: str
    """Decoded as UTF-8; invalid bytes become U+FFFD."""
    stderr: str
    """The last 4096 bytes."""
    results: tuple[tuple[int, str, str], ...]
    """(index of the step, "value" or "error", the value as `guest.values` encodes it or the error). For an `Examination`:
    (index of the unit, its outcome in `guest.test_side`, the error)."""
    wall_seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Packages:
    """Packages that programs may import besides the standard library."""

    folder: Path
    """Folder such as site-packages. Programs may read all of it."""
    modules: tuple[str, ...]
    """Modules to load once, before any program runs. They must not start threads, which a fork would lose."""


def unfinished(ending: Ending, limits: Limits) -> Outcome:
    """Return the outcome of a run of which there is no report."""
    return Outcome(ending, None, "", "", (), limits.wall_seconds, 0.0)


def outcome_of(
    report: dict[str, Any], files: Sequence[int], limits: Limits, max_results: int
) -> Outcome:
    """Return the outcome of a run, from the warm process's report and the open files of output, errors and results."""
    # Sizes first: output is read up to its limit, and a larger file tells that the limit was hit.
    sizes = [os.fstat(fd).st_size for fd in files]
    # pread from 0: the program has moved the offset of the file, which it shares.
    stdout, stderr, results = (os.pread(fd, limits.output_bytes, 0) for fd in files)
    ending = _ending(report, limits, max(sizes) > limits.output_bytes, results)
    code = os.waitstatus_to_exitcode(report["status"])
    return Outcome(
        ending,
        code if ending is Ending.FINISHED else None,
        stdout.decode("utf-8", "replace"),
        stderr[-_SHOWN_ERROR_BYTES:].decode("utf-8", "replace"),
        tuple(_results(results, max_results)),
        report["wall"],
        report["cpu"],
    )


def _ending(report: dict[str, Any], limits: Limits, flooded: bool, results: bytes) -> Ending:
    """Return the first ending that applies: several may, as when a program that is late also wrote too much."""
    code = os.waitstatus_to_exitcode(report["status"])
    # What the warm process did to the program comes first, then what the kernel did, then the program itself.
    if report["late"]:
        return Ending.TIMED_OUT
    if report["crowded"]:
        return Ending.PROCESS_LIMIT
    if flooded:
        return Ending.OUTPUT_LIMIT
    # The kernel counts CPU time in ticks: at the limit, the time it reports may be less, on a busy machine by a third.
    used_up = code == -signal.SIGKILL and report["cpu"] >= 0.5 * limits.cpu_seconds
    if used_up or code == -signal.SIGXCPU:
        return Ending.TIMED_OUT
    # `program_process.OUT_OF_MEMORY`. The program could write it too, and would gain nothing by it.
    if results.endswith(b"memory\n"):
        return Ending.OUT_OF_MEMORY
    if code == -signal.SIGKILL:
        return Ending.KILLED
    return Ending.CRASHED if code < 0 else Ending.FINISHED


def _results(data: bytes, limit: int) -> Iterator[tuple[int, str, str]]:
    """Yield those of the first `limit` lines that have the right form; the program may have written anything there."""
    # Split `limit` times at most: a program may have written millions of lines.
    for line in data.split(b"\n", limit)[:limit]:
        try:
            number, label, text = json.loads(line)
        # A line of the program's own, or one that was cut at the limit of size.
        except (ValueError, TypeError, RecursionError):
            continue
        if type(number) is int and isinstance(label, str) and isinstance(text, str):
            yield number, label, text
