"""The verifier "code", and the sandboxes of this process.

In: problems and answers. Out: grades. The sandbox is the one that the environment variable DIANOIA_SANDBOX names, or else
`use_sandbox`, or else the strongest that works on this machine.
"""

import atexit
import os
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from dianoia.base.errors import ProblemTestsError
from dianoia.base.records import Problem
from dianoia.sandbox.sandbox import AUTO, VARIABLE, Packages, Sandbox, SandboxPool
from dianoia.tasks.code.run_tests import Verdict, grade_program
from dianoia.tasks.code.test_cases import CodeTests, code_tests
from dianoia.tasks.verifier import Grade, Pair, RunsIn, Verifier


class _Default:
    """Name of the sandbox that `use_sandbox` has set."""

    name = AUTO


Job = Callable[[Sandbox], Grade]
"""Grades one answer in a sandbox."""


def grade_many(pairs: Sequence[Pair]) -> list[Grade]:
    """Grade programs by their problems' tests: 1.0 if all tests pass, else 0.0 (or the fraction that passes).

    Score None when a problem's own tests cannot be read. Results are in order; one program per core runs at a time, and a
    program that is given for a problem several times runs once.
    May be called from many threads. Raises SandboxError when no sandbox works on this machine and none was waived.
    """
    # Samples of one problem are often the same program. By identity, since problems hold tables and have no hash.
    keys = [(id(problem), answer) for problem, answer in pairs]
    distinct = dict(zip(keys, pairs, strict=True))
    jobs = [partial(_grade, problem, answer) for problem, answer in distinct.values()]
    grades = dict(zip(distinct, run_jobs(jobs, shared_pool), strict=True))
    return [grades[key] for key in keys]


def _grade(problem: Problem, answer: str, sandbox: Sandbox) -> Grade:
    try:
        tests = code_tests(problem)
    except ProblemTestsError:
        return Grade(None)
    return graded(answer, tests, sandbox)


def graded(answer: str, tests: CodeTests, sandbox: Sandbox) -> Grade:
    """Grade one program in a sandbox. A time-out, a crash and a wrong answer are different verdicts."""
    result = grade_program(answer, tests, sandbox)
    return Grade(result.score(tests.fraction), result.verdict)


def run_jobs(jobs: Sequence[Job | Grade], pool: Callable[[], SandboxPool]) -> list[Grade]:
    """Run jobs in the sandboxes of `pool()`, many at once; a job that is a grade already is returned as it is.

    `pool` is called only if something has to run.
    """
    # Jobs that are grades already need no sandbox, which may not even exist on this machine.
    to_run = [job for job in jobs if not isinstance(job, Grade)]
    grades = iter(pool().map(to_run) if to_run else [])
    return [job if isinstance(job, Grade) else next(grades) for job in jobs]


def _check_gold(problem: Problem) -> Grade:
    """Read the tests, which are the gold of a problem about code; they are not run."""
    code_tests(problem)
    return Grade(1.0)


def use_sandbox(name: str) -> None:
    """Run this process's programs in the sandbox of that name, unless the environment names another."""
    _Default.name = name


def shared_pool(packages: Packages | None = None) -> SandboxPool:
    """Return the sandboxes of this process, started by the first call; programs with packages have others."""
    return _pool(os.environ.get(VARIABLE) or _Default.name, packages, os.getpid())


# Keyed by process too: after a fork the child must not use the parent's sockets.
@lru_cache(maxsize=4)
def _pool(name: str, packages: Packages | None, _process: int) -> SandboxPool:
    """Make the sandboxes of a process. A forked process gets its own: two processes must not use one socket."""
    pool = SandboxPool(name, packages=packages)
    # Ends the sandboxes when this process ends.
    atexit.register(pool.close)
    return pool


CODE = Verifier(
    name="code",
    summary=(
        "1.0 if the program in the answer passes all tests, else 0.0 (or the fraction it passes). "
        "None when the problem's own tests cannot be read."
    ),
    grade=grade_many,
    check_gold=_check_gold,
    runs_in=RunsIn.SANDBOX,
    family="code",
    verdicts=Verdict,
)
