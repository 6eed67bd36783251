"""The verifier "gym": reasoning-gym's own scorer, in the sandbox, with a threshold.

In: a problem of `GymProblems` and an answer. Out: 1.0 for a full score, else 0.0: partial credit, which several scorers give
for the form or for a wrong answer, is no credit; None for a problem that is not reasoning-gym's.

Several scorers evaluate the answer as Python. So an answer is scored only if it matches the form of the task's rule, which
allows no call, as it is or without a box, dollars or bold around the whole of it. The scorer runs in the sandbox, with
limits on time and memory.
"""

import importlib.util
import re
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

from dianoia.base.errors import SandboxError
from dianoia.base.records import Problem
from dianoia.sandbox.sandbox import Limits, Packages
from dianoia.tasks.code import CodeTests, Verdict, graded, run_jobs, shared_pool
from dianoia.tasks.code.code_verifier import Job
from dianoia.tasks.code.test_cases import Call
from dianoia.tasks.gym.gym_tasks import OFFERED
from dianoia.tasks.short_answers.wrappings import unwrapped
from dianoia.tasks.verifier import Grade, Pair, RunsIn, Verifier

_LIMITS = Limits(wall_seconds=20.0, cpu_seconds=10.0, memory_bytes=2**30)
_SPARE_CHARS, _SPARE_TIMES = 100, 4
"""An answer may have so many times the characters of the gold answer, and so many more."""
_PROGRAM = """
import reasoning_gym

def score(task, options, entry, answer):
    data = reasoning_gym.create_dataset(task, seed=0, size=1, **options)
    return float(data.score_answer(answer, entry)) >= 1.0
"""


def grade_many(pairs: Sequence[Pair]) -> list[Grade]:
    """Grade answers: 1.0 if reasoning-gym gives its full score, else 0.0; None for a task that is not offered.

    Raises SandboxError when no sandbox works on this machine and none was waived, or reasoning-gym is not installed.
    """
    return run_jobs(
        [_job(problem, answer) for problem, answer in pairs], lambda: shared_pool(_packages())
    )


def _job(problem: Problem, answer: str) -> Job | Grade:
    columns = problem.columns
    rule = OFFERED.get(str(columns.get("task")))
    if rule is None or rule.form is None or not {"options", "entry"} <= columns.keys():
        return Grade(None)
    answer = answer.strip()
    # A much longer text is no answer of the task, and would only cost the scorer time.
    if len(answer) > _SPARE_CHARS + _SPARE_TIMES * len(problem.answer):
        return Grade(0.0)
    # The answer as it is comes first: asterisks and underscores, which also make bold, are signs of some forms.
    readings = (text for text in (answer, unwrapped(answer)) if re.fullmatch(rule.form, text))
    reading = next(readings, None)
    if reading is None:
        return Grade(0.0)
    # Task, options and entry are the problem's own; the answer is passed as a string literal.
    call = f"score({columns['task']!r}, {columns['options']}, {columns['entry']}, {reading!r})"
    tests = CodeTests(calls=(Call(0, True),), steps=(("value", call),), limits=_LIMITS)
    return partial(graded, _PROGRAM, tests)


def _check_gold(problem: Problem) -> Grade:
    return grade_many([(problem, problem.answer)])[0]


@lru_cache(maxsize=1)
def _packages() -> Packages:
    """Return the folder in which reasoning-gym is installed."""
    spec = importlib.util.find_spec("reasoning_gym")
    if spec is None or spec.origin is None:
        raise SandboxError(
            "the verifier 'gym' needs reasoning-gym, which is not installed; pip install 'dianoia[gym]'"
        )
    return Packages(Path(spec.origin).parents[1], ("reasoning_gym",))


GYM = Verifier(
    name="gym",
    summary="1.0 if reasoning-gym gives the answer its full score, else 0.0.",
    grade=grade_many,
    check_gold=_check_gold,
    runs_in=RunsIn.SANDBOX,
    family="code",
    verdicts=Verdict,
)
