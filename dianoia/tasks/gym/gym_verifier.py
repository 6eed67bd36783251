"""The verifier "gym": reasoning-gym's own scorer, in the sandbox, thresholded.

In: a problem of `GymProblems` and an answer. Out: 1.0 for a full score, else 0.0: partial credit, which several
scorers give for the form or for a wrong answer, is no credit; None for a problem that is none of reasoning-gym's.

Several scorers evaluate their answer as Python. So an answer is read only if it has the form of the task's rule, in
which nothing can be called, as it is or without a box, dollars or bold around the whole of it; and what is read is
scored behind walls, with limits on time and memory.
"""

import importlib.util
import re
from functools import lru_cache, partial
from pathlib import Path

from dianoia.base.errors import SandboxError
from dianoia.base.records import Problem
from dianoia.sandbox.sandbox import Limits, Packages
from dianoia.tasks.code import CodeTests, judged, shared_pool
from dianoia.tasks.code.test_cases import Call
from dianoia.tasks.gym.gym_tasks import OFFERED
from dianoia.tasks.wrappings import unwrapped

_LIMITS = Limits(wall_seconds=20.0, cpu_seconds=10.0, memory_bytes=2**30)
_SPARE_CHARS, _SPARE_TIMES = 100, 4
"""How much longer than the gold answer an answer may be."""
_PROGRAM = """
import reasoning_gym

def score(task, options, entry, answer):
    data = reasoning_gym.create_dataset(task, seed=0, size=1, **options)
    return float(data.score_answer(answer, entry)) >= 1.0
"""


def gym(problem: Problem, answer: str) -> float | None:
    """1.0 if reasoning-gym gives the answer its full score, else 0.0.

    Raises:
        SandboxError: no sandbox works on this machine and none was waived, or reasoning-gym is not installed.
    """
    columns = problem.columns
    rule = OFFERED.get(str(columns.get("task")))
    if rule is None or rule.form is None or not {"options", "entry"} <= columns.keys():
        return None
    answer = answer.strip()
    if len(answer) > _SPARE_CHARS + _SPARE_TIMES * len(problem.answer):
        return 0.0
    # As it is first: asterisks and underscores, which also make bold, are signs of some forms.
    readings = (text for text in (answer, unwrapped(answer)) if re.fullmatch(rule.form, text))
    read = next(readings, None)
    if read is None:
        return 0.0
    answer = read
    call = f"score({columns['task']!r}, {columns['options']}, {columns['entry']}, {answer!r})"
    tests = CodeTests(calls=(Call(0, True),), steps=(("value", call),), limits=_LIMITS)
    return shared_pool(_packages()).run(partial(judged, _PROGRAM, tests))


@lru_cache(maxsize=1)
def _packages() -> Packages:
    """The folder that reasoning-gym is installed in."""
    spec = importlib.util.find_spec("reasoning_gym")
    if spec is None or spec.origin is None:
        raise SandboxError(
            "the verifier 'gym' needs reasoning-gym, which is not installed; pip install 'dianoia[gym]'"
        )
    return Packages(Path(spec.origin).parents[1], ("reasoning_gym",))
