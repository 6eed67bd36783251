"""Verifiers for problems that show a program: "output" (what does it print?), "value" (what does the call return?) and
"input" (which input gives this output?).

In: a problem and an answer. Out: 1.0 right, 0.0 wrong, None when the problem's own gold answer cannot be read. "output" and
"value" compare with the gold answer and run nothing. "input" runs the problem's program on the answer in the sandbox, since
many inputs may be right. Its columns: `program` (source), `output` (the expected output), and for a call `function` (its
name): then the answer is a list of arguments or an object of keyword arguments, and `output` is a value.

DeepSeek-R1 (arXiv 2501.12948v2) has no such problems; the data sets that have them (CRUXEval, CodeI/O) name the three
tasks. Decisions:
1. An answer may stand in one fenced block. White space around the whole of it does not count.
2. "output": lines are compared as in the verifier "code"; "value": numbers by value, a tuple is a list, texts with quotes.
3. An answer that the program does not accept (an exception, a time-out) is wrong.
4. A value is JSON or a Python literal, and nothing is evaluated. Its length and depth are bounded, so that no text takes
   long or breaks Python's own parser.
"""

import ast
import json
import re
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

from dianoia.base.errors import ProblemTestsError
from dianoia.base.records import Problem
from dianoia.tasks.code.code_verifier import Job, graded, run_jobs, shared_pool
from dianoia.tasks.code.output_compare import same_output, same_value
from dianoia.tasks.code.run_tests import Verdict
from dianoia.tasks.code.test_cases import Call, Case, CodeTests
from dianoia.tasks.verifier import Grade, Pair, RunsIn, Verifier

MAX_ANSWER_CHARS = 100_000
MAX_LITERAL_CHARS = 20_000
_MAX_DEPTH = 50
# `*+` is possessive: no way back into the blanks between signs, so that any text takes linear time.
_SIGN_CHAIN = re.compile(r"(?:(?:[-+~]|not\b)\s*+){50}")
# The closing fence is the opening one again; up to three blanks before it are allowed in Markdown.
_FENCED = re.compile(r"(```|~~~)[^\n`]*\n(.*?)\n?[ ]{0,3}\1", re.DOTALL)
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\(\))?(?:\.[A-Za-z_]\w*)*")


def output(problem: Problem, answer: str) -> float | None:
    """Score 1.0 where the answer equals the gold answer line by line."""
    gold = problem.answer.strip()
    if not gold:
        return None
    return float(len(answer) <= MAX_ANSWER_CHARS and same_output(_bare(answer), gold))


def value(problem: Problem, answer: str) -> float | None:
    """Score 1.0 where both are the same value, written as JSON or as a Python literal."""
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
    # The gold answer is read first: if it cannot be read, the problem is at fault and not the answer.
    try:
        _tests(problem, problem.answer)
    except ProblemTestsError:
        return Grade(None)
    try:
        program, tests = _tests(problem, answer)
    except ProblemTestsError:
        return Grade(0.0)  # the columns can be read, so that the answer is at fault
    return partial(graded, program, tests)


def _check_gold(problem: Problem) -> Grade:
    """Run the program on the gold input. Raises ProblemTestsError for columns that cannot be read."""
    program, tests = _tests(problem, problem.answer)
    return shared_pool().run(partial(graded, program, tests))


def _tests(problem: Problem, answer: str) -> tuple[str, CodeTests]:
    """Return the program, and a test of its output with the answer as input."""
    program, output_text = _text(problem, "program"), _text(problem, "output")
    # Without a function the program reads the answer from standard input.
    function = problem.columns.get("function")
    if function is None:
        return program, CodeTests(cases=(Case(_bare(answer) + "\n", output_text),))
    if not (isinstance(function, str) and _FUNCTION.fullmatch(function)):
        raise _unreadable(problem, "function", function, "write the name of a function")
    try:
        expected = as_json(literal(output_text))
    except ValueError:
        raise _unreadable(problem, "output", output_text, "write a value, such as [1, 2]") from None
    try:
        arguments = literal(_bare(answer))
    except ValueError:
        arguments = None
    if not isinstance(arguments, (list, dict)):
        raise _unreadable(problem, "answer", answer, 'write arguments: [2, "a"] or {"n": 2}')
    # Written with `repr` of a parsed literal, so that no code of the answer runs outside the program.
    stars = "*" if isinstance(arguments, list) else "**"
    step = ("value", f"{function}({stars}{arguments!r})")
    return program, CodeTests(calls=(Call(0, expected),), steps=(step,))


def _text(problem: Problem, column: str) -> str:
    text: Any = problem.columns.get(column)
    if not isinstance(text, str) or not text.strip():
        raise _unreadable(problem, column, text, "fill the column with text")
    return text


def _unreadable(problem: Problem, key: str, content: object, advice: str) -> ProblemTestsError:
    return ProblemTestsError(
        f"problem {problem.id!r}, {key} = {str(content)[:80]!r}: the verifier 'input' cannot read it, so that no "
        f"answer could be graded; {advice}"
    )


def _bare(answer: str) -> str:
    """Return an answer without a fence around the whole of it, and without white space around its content."""
    text = answer.strip()
    # Two fences exactly: three and more are several blocks, of which none is the answer.
    fenced = _FENCED.fullmatch(text) if text.count(text[:3]) == 2 else None
    return (fenced[2] if fenced else text).strip()


def literal(text: str) -> Any:
    """Return the value of a text. Raises ValueError for text that is no value, too long or nested too deep."""
    if len(text) > MAX_LITERAL_CHARS or _depth(text) > _MAX_DEPTH:
        raise ValueError("longer or deeper than a value that a person would write")
    try:
        # JSON first: `true` and `null` are no Python literals, and a text in double quotes is the same in both.
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError:
        return as_json(_parse_python(text))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _parse_python(text: str) -> Any:
    if _SIGN_CHAIN.search(text):  # `----1` nests deep without a bracket
        raise ValueError("not a literal")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.literal_eval(text.strip())
    # MemoryError is how Python's parser says that a text nests too deep for its stack.
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a literal: {type(error).__name__}") from None


def _depth(text: str) -> int:
    """Return an upper bound of the nesting depth of brackets; those inside strings count too."""
    depth = deepest = 0
    for char in text:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    return deepest


def as_json(value: Any) -> Any:
    """Return a value with tuples as lists and integer keys as text at every depth; sets and bytes stay."""
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        # `type` and not isinstance: True is an int too, and no key that JSON has written as a number.
        return {str(key) if type(key) is int else key: as_json(item) for key, item in value.items()}
    return value


INPUT = Verifier(
    name="input",
    summary="1.0 if the problem's program gives its `output` for this input, else 0.0.",
    grade=grade_inputs,
    check_gold=_check_gold,
    runs_in=RunsIn.SANDBOX,
    family="code",
    verdicts=Verdict,
)
