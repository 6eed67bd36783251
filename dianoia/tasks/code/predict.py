"""Verifiers for problems that show a program: "output" (what does it print?), "value" (what does the call
return?), "input" (what has to go in for this to come out?).

In: a problem and an answer. Out: 1.0 right, 0.0 wrong, None when the problem's own gold answer cannot be read.
"output" and "value" compare with the gold answer and run nothing. "input" runs the problem's program on the
answer in the sandbox, since many inputs may be right. Its columns: `program` (source), `output` (what has to
come out), and for a call `function` (its name): then the answer is a list of arguments or an object of named
ones, and `output` is a value.

DeepSeek-R1 (arXiv 2501.12948v2) has no such problems; the data sets that have them (CRUXEval, CodeI/O) name
the three tasks. Decisions:
1. An answer may stand in one fenced block. Blank space around the whole of it does not count.
2. "output": lines are equal as in the verifier "code"; "value": numbers by value, a tuple is a list, texts with
   their quotes.
3. A program that does not take the answer (an exception, a time-out) makes it wrong.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from dianoia.base.errors import ProblemTestsError
from dianoia.base.records import Problem
from dianoia.tasks.code.code_verifier import Job, graded, run_jobs, shared_pool
from dianoia.tasks.code.literals import as_json, literal
from dianoia.tasks.code.output_compare import same_output, same_value
from dianoia.tasks.code.run_tests import Verdict
from dianoia.tasks.code.test_cases import Call, Case, CodeTests
from dianoia.tasks.verifier import Grade, Pair, RunsIn, Verifier

MAX_ANSWER_CHARS = 100_000
_FENCED = re.compile(r"(```|~~~)[^\n`]*\n(.*?)\n?[ ]{0,3}\1", re.DOTALL)
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\(\))?(?:\.[A-Za-z_]\w*)*")


def output(problem: Problem, answer: str) -> float | None:
    """Whether the answer is what stands in the gold answer, line by line."""
    gold = problem.answer.strip()
    if not gold:
        return None
    return float(len(answer) <= MAX_ANSWER_CHARS and same_output(_bare(answer), gold))


def value(problem: Problem, answer: str) -> float | None:
    """Whether both are the same value, written as JSON or as a Python literal."""
    try:
        gold = literal(problem.answer)
    except ValueError:
        return None
    try:
        return float(same_value(literal(_bare(answer)), as_json(gold)))
    except ValueError:
        return 0.0


def grade_inputs(pairs: Sequence[Pair]) -> list[Grade]:
    """Grade inputs: 1.0 if the problem's program gives its `output` for the input, else 0.0; None for unreadable columns.

    Raises SandboxError when no sandbox works on this machine and none was waived.
    """
    return run_jobs([_job(problem, answer) for problem, answer in pairs], shared_pool)


def _job(problem: Problem, answer: str) -> Job | Grade:
    try:
        _tests(problem, problem.answer)
    except ProblemTestsError:
        return Grade(None)
    try:
        program, tests = _tests(problem, answer)
    except ProblemTestsError:
        return Grade(0.0)  # the columns are in order, so the answer is no input
    return partial(graded, program, tests)


def _check_gold(problem: Problem) -> Grade:
    """Run the program on the gold input. Raises ProblemTestsError for columns that cannot be read."""
    program, tests = _tests(problem, problem.answer)
    return shared_pool().run(partial(graded, program, tests))


def _tests(problem: Problem, answer: str) -> tuple[str, CodeTests]:
    """The program, and what has to come out when the answer goes in."""
    program, wanted = _text(problem, "program"), _text(problem, "output")
    function = problem.columns.get("function")
    if function is None:
        return program, CodeTests(cases=(Case(_bare(answer) + "\n", wanted),))
    if not (isinstance(function, str) and _FUNCTION.fullmatch(function)):
        raise _unreadable(problem, "function", function, "write the name of a function")
    try:
        expected = as_json(literal(wanted))
    except ValueError:
        raise _unreadable(problem, "output", wanted, "write a value, such as [1, 2]") from None
    try:
        arguments = literal(_bare(answer))
    except ValueError:
        arguments = None
    if not isinstance(arguments, (list, dict)):
        raise _unreadable(problem, "answer", answer, 'write arguments: [2, "a"] or {"n": 2}')
    stars = "*" if isinstance(arguments, list) else "**"
    step = ("value", f"{function}({stars}{arguments!r})")
    return program, CodeTests(calls=(Call(0, expected),), steps=(step,))


def _text(problem: Problem, column: str) -> str:
    found: Any = problem.columns.get(column)
    if not isinstance(found, str) or not found.strip():
        raise _unreadable(problem, column, found, "fill the column with text")
    return found


def _unreadable(problem: Problem, key: str, found: object, advice: str) -> ProblemTestsError:
    return ProblemTestsError(
        f"problem {problem.id!r}, {key} = {str(found)[:80]!r}: the verifier 'input' cannot read it, so that no "
        f"answer could be judged; {advice}"
    )


def _bare(answer: str) -> str:
    """Without a fence around all of it, and without blank space around the rest."""
    text = answer.strip()
    fenced = _FENCED.fullmatch(text) if text.count(text[:3]) == 2 else None
    return (fenced[2] if fenced else text).strip()


INPUT = Verifier(
    name="input",
    summary="Whether the problem's program gives its `output` for this input.",
    grade=grade_inputs,
    check_gold=_check_gold,
    runs_in=RunsIn.SANDBOX,
    family="code",
    verdicts=Verdict,
)
