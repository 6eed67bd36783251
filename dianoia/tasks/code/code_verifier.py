"""The verifier "code": the tests of a problem, the sandboxes of this process.

In: problems and answers. Out: scores as every verifier gives them. The sandbox is the strongest that works on
this machine, or the one that the environment variable DIANOIA_SANDBOX names, or else `use_sandbox`.
"""

import atexit
import os
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, partial
from threading import Lock

from dianoia.base.errors import ProblemTestsError
from dianoia.base.records import Problem
from dianoia.sandbox.pool import Pool
from dianoia.sandbox.sandbox import AUTO, VARIABLE, Packages, Sandbox
from dianoia.tasks.code.run_tests import Verdict, judge_program
from dianoia.tasks.code.test_cases import CodeTests, code_tests

_verdicts: Counter[Verdict] = Counter()
_counting = Lock()


class _Wanted:
    """What `use_sandbox` was told last."""

    name = AUTO


def code(problem: Problem, answer: str) -> float | None:
    """1.0 if the program in the answer passes all tests, else 0.0 (or the fraction it passes).

    None when the problem's own tests cannot be read. Blocks for as long as the program may run;
    may be called from many threads.

    Raises:
        SandboxError: no sandbox works on this machine and none was waived.
        ProblemTestsError: the gold answer itself was asked about, as when a file is checked, and the tests
            cannot be read; the message says why.
    """
    if answer == problem.answer:
        code_tests(problem)
        return 0.0
    tests = _tests(problem)
    return None if tests is None else shared_pool().run(partial(judged, answer, tests))


def code_many(pairs: Sequence[tuple[Problem, str]]) -> list[float | None]:
    """As `code`, for many answers at once: results in order, one program a core at a time."""
    if not pairs:
        return []
    return shared_pool().map([partial(_score, problem, answer) for problem, answer in pairs])


def _score(problem: Problem, answer: str, sandbox: Sandbox) -> float | None:
    tests = _tests(problem)
    return None if tests is None else judged(answer, tests, sandbox)


def judged(answer: str, tests: CodeTests, sandbox: Sandbox) -> float:
    """The score of an answer; its verdict is counted."""
    judgement = judge_program(answer, tests, sandbox)
    with _counting:
        _verdicts[judgement.verdict] += 1
    return judgement.score(tests.fraction)


def verdicts() -> dict[Verdict, int]:
    """Programs that this process has judged so far, by verdict: a time-out, a crash and a wrong
    answer are three different things."""
    with _counting:
        return dict(_verdicts)


def _tests(problem: Problem) -> CodeTests | None:
    try:
        return code_tests(problem)
    except ProblemTestsError:
        return None


def use_sandbox(name: str) -> None:
    """Run this process's programs in the sandbox of that name, unless the environment names another."""
    _Wanted.name = name


def shared_pool(packages: Packages | None = None) -> Pool:
    """The sandboxes of this process, started when first asked for; others for programs with packages."""
    return _pool(os.environ.get(VARIABLE) or _Wanted.name, packages, os.getpid())


@lru_cache(maxsize=4)
def _pool(name: str, packages: Packages | None, _process: int) -> Pool:
    """A process that was forked has its own: two must not speak on one socket."""
    pool = Pool(name, packages=packages)
    atexit.register(pool.close)
    return pool
