"""What goes into a sandbox and what comes out of it: programs, tests, limits, outcomes.

In: the frozen records that `dianoia.sandbox.sandbox` runs, and what a warm process reports. Out: an `Outcome`.
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
    prelude: str = ""
    """Runs before the program, in its own names: imports and functions that it may use."""
    any_status: bool = False
    """Whether `sys.exit` ends it well with every status."""


@dataclass(frozen=True, slots=True)
class Examination:
    """Tests of a program that run in a process of their own, in which no program ever ran."""

    units: tuple[str, ...]
    """Python code, run one after another in one set of names."""
    names: tuple[str, ...]
    """Those that are the program's. Calls of them reach it with copies of their arguments."""
    modules: tuple[str, ...] = ()
    """Of the standard library, that the code uses without importing them."""


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
    """(index of the step, "value" or "error", the value as `box.values` encodes it or the error); of an
    `Examination` (index of the unit, one of the outcomes of `box.examine`, what went wrong)."""
    wall_seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Packages:
    """What programs may import beside the standard library."""

    folder: Path
    """Such as site-packages. Programs may read all of it."""
    modules: tuple[str, ...]
    """Loaded once, so that no program pays for it. They must not start threads."""


def unfinished(ending: Ending, limits: Limits) -> Outcome:
    """The outcome of a run that nobody can report on."""
    return Outcome(ending, None, "", "", (), limits.wall_seconds, 0.0)


def outcome_of(
    report: dict[str, Any], files: Sequence[int], limits: Limits, most_results: int
) -> Outcome:
    """The outcome of a run, from the warm process's report and the files for output, errors and results."""
    sizes = [os.fstat(fd).st_size for fd in files]
    stdout, stderr, results = (os.pread(fd, limits.output_bytes, 0) for fd in files)
    ending = _ending(report, limits, max(sizes) > limits.output_bytes, results)
    code = os.waitstatus_to_exitcode(report["status"])
    return Outcome(
        ending,
        code if ending is Ending.FINISHED else None,
        stdout.decode("utf-8", "replace"),
        stderr[-_SHOWN_ERROR_BYTES:].decode("utf-8", "replace"),
        tuple(_results(results, most_results)),
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
    # The kernel counts in ticks: the CPU time it kills at may read less than the limit, on a busy machine by a third.
    used_up = code == -signal.SIGKILL and report["cpu"] >= 0.5 * limits.cpu_seconds
    if used_up or code == -signal.SIGXCPU:
        return Ending.TIMED_OUT
    if results.endswith(b"memory\n"):
        return Ending.OUT_OF_MEMORY
    if code == -signal.SIGKILL:
        return Ending.KILLED
    return Ending.CRASHED if code < 0 else Ending.FINISHED


def _results(data: bytes, most: int) -> Iterator[tuple[int, str, str]]:
    """The first lines, as far as they have the right form; the program may have written anything there."""
    for line in data.split(b"\n", most)[:most]:
        try:
            number, kind, text = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            continue
        if type(number) is int and isinstance(kind, str) and isinstance(text, str):
            yield number, kind, text
