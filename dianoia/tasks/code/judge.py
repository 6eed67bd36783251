"""Judges programs by their tests: finds the program in an answer, runs it, compares outside.

In: an answer and `CodeTests`. Out: a `Judgement`, or only its score. A time-out, a crash and a
wrong answer are three different verdicts.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, sections 2.2 and B.3.1) is silent:
1. The program is the last fenced block of the answer, or all of the answer if it has no fence. A
   fence that never closes holds no program: it was cut off.
2. Every case on standard input is a run of its own; calls and asserts share one run. A run passes
   only if the program ended by itself with status 0, whatever it wrote.
3. All tests have to pass ("must pass all hidden tests", B.3.1), and judging stops at the first that
   fails. With "score": "fraction" all are run.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dianoia.runtime.box import values as wire
from dianoia.runtime.sandbox import Ending, Outcome, Program, Sandbox
from dianoia.tasks.code.asserts import Assertion
from dianoia.tasks.code.compare import same_output, same_value
from dianoia.tasks.code.tests import Call, CodeTests

MAX_PROGRAM_CHARS = 200_000
# Possessive: with backtracking, a long line that ends in a backtick takes the square of its length.
_FENCE = re.compile(r"^[ ]{0,3}```[ \t]*+([\w+-]*+)[^\n`]*+$", re.MULTILINE)
_TAGS = {"python": ("", "py", "python", "python3")}


class Verdict(StrEnum):
    """What became of a program."""

    PASSED = "passed"
    WRONG_ANSWER = "wrong_answer"
    """It ran to its end and said something else."""
    ERROR = "error"
    """It ended with an exception or a status that is not 0."""
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    OUTPUT_LIMIT = "output_limit"
    PROCESS_LIMIT = "process_limit"
    CRASHED = "crashed"
    KILLED = "killed"
    NO_PROGRAM = "no_program"
    """The answer holds none."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a program reached."""

    verdict: Verdict
    """Of the first test that failed; PASSED only if all passed."""
    passed: int
    total: int
    detail: str = ""
    """For people: which test failed, the last words of the program's error."""

    def score(self, fraction: bool) -> float:
        """1.0 if all tests passed, else 0.0; with `fraction` the share that passed."""
        if fraction:
            return self.passed / self.total
        return float(self.verdict is Verdict.PASSED)


def extract_program(answer: str, language: str = "python") -> str | None:
    """The program in an answer, None if there is none (decision 1)."""
    if len(answer) > MAX_PROGRAM_CHARS:
        return None
    fences = list(_FENCE.finditer(answer))
    if not fences:
        return answer if answer.strip() else None
    if len(fences) % 2:
        return None
    start, end = fences[-2:]
    if start[1].lower() not in _TAGS[language] or end[1]:
        return None
    return answer[start.end() + 1 : end.start()]


def judge_code(answer: str, tests: CodeTests, sandbox: Sandbox) -> float:
    """The score of an answer: 1.0 or 0.0, or the fraction of tests passed where they say so.

    Raises:
        SandboxError: the sandbox failed, which says nothing about the answer.
    """
    return judge_program(answer, tests, sandbox).score(tests.fraction)


def judge_program(answer: str, tests: CodeTests, sandbox: Sandbox) -> Judgement:
    """The same, with the verdict and what it rests on."""
    source = extract_program(answer, tests.language)
    if source is None:
        return Judgement(Verdict.NO_PROGRAM, 0, tests.count, "no closed block of code")
    passed, first = 0, Judgement(Verdict.PASSED, tests.count, tests.count)
    for verdict, detail in _verdicts(source, tests, sandbox):
        passed += verdict is Verdict.PASSED
        if verdict is not Verdict.PASSED and first.verdict is Verdict.PASSED:
            first = Judgement(verdict, 0, tests.count, detail)
        if verdict is not Verdict.PASSED and not tests.fraction:
            break
    return Judgement(first.verdict, passed, tests.count, first.detail)


def _verdicts(source: str, tests: CodeTests, sandbox: Sandbox) -> Iterator[tuple[Verdict, str]]:
    """One test after another."""
    if tests.steps:
        yield from _on_values(source, tests, sandbox)
    for number, case in enumerate(tests.cases, start=1):
        program = Program(source, case.stdin, language=tests.language)
        outcome = sandbox.run(program, tests.limits)
        verdict = _ended(outcome) or _right(
            same_output(outcome.stdout, case.expected, tests.tolerance)
        )
        yield verdict, f"case {number}: {_last_line(outcome)}"


def _on_values(source: str, tests: CodeTests, sandbox: Sandbox) -> Iterator[tuple[Verdict, str]]:
    """Calls and asserts: what came back before the program ended badly still counts for a fraction."""
    program = Program(source, steps=tests.steps, language=tests.language)
    outcome = sandbox.run(program, tests.limits)
    ended, values = _ended(outcome), _values(outcome)
    wanted: list[Call | Assertion] = [*tests.calls, *tests.assertions]
    for test in wanted:
        needed = test.values if isinstance(test, Assertion) else (test.step,)
        if not values.keys() >= set(needed):
            yield ended or Verdict.ERROR, f"{_named(test, tests)}: {_error(outcome, needed)}"
        elif ended and not tests.fraction:
            yield ended, _last_line(outcome)
        else:
            yield _right(_passes(test, values, tests)), _named(test, tests)


def _passes(test: Call | Assertion, values: dict[int, Any], tests: CodeTests) -> bool:
    if isinstance(test, Assertion):
        return test.holds(values)
    return same_value(values[test.step], test.expected, tests.tolerance)


def _values(outcome: Outcome) -> dict[int, Any]:
    """Values by step. What cannot be read is no value; the program may have written anything."""
    found: dict[int, Any] = {}
    for number, kind, text in outcome.results:
        if kind != "value":
            continue
        try:
            found.setdefault(number, wire.decode(text))
        except ValueError:
            continue
    return found


def _ended(outcome: Outcome) -> Verdict | None:
    """The verdict of a program that did not end well; None for one that did."""
    if outcome.ending is not Ending.FINISHED:
        return Verdict(outcome.ending.value)
    return Verdict.ERROR if outcome.exit_code else None


def _right(passed: bool) -> Verdict:
    return Verdict.PASSED if passed else Verdict.WRONG_ANSWER


def _named(test: Call | Assertion, tests: CodeTests) -> str:
    return test.source if isinstance(test, Assertion) else tests.steps[test.step][1]


def _error(outcome: Outcome, needed: tuple[int, ...]) -> str:
    errors = [
        text for number, kind, text in outcome.results if kind == "error" and number in needed
    ]
    return errors[0] if errors else _last_line(outcome)


def _last_line(outcome: Outcome) -> str:
    lines = outcome.stderr.strip().splitlines()
    return lines[-1] if lines else str(outcome.ending)
