"""Grade programs by their tests: extract the program from an answer, run it in a sandbox, compare outside.

In: an answer and `CodeTests`. Out: a `ProgramResult`, or only its score. A time-out, a crash and a wrong answer are three
different verdicts. The time of the comparison counts as the program's time.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, sections 2.2 and B.3.1) is silent:
1. The program is the last fenced block of the answer that is marked as Python, else the last block, or the whole answer if
   it has no fence. A block that never closes holds no program: it was cut off. Fences are those of CommonMark: three or more
   backticks or tildes, indented by up to three spaces.
2. Each case on standard input is a run of its own; calls and asserts share one run, and tests in a process of their own
   another. A run passes only if the program ended by itself with status 0, whatever it wrote.
3. All tests have to pass ("must pass all hidden tests", B.3.1), and the first failure ends the run. With "score": "fraction"
   all tests are run.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import Any

from dianoia.sandbox.guest import values as wire
from dianoia.sandbox.sandbox import Ending, Outcome, Program, Sandbox
from dianoia.tasks.code import official
from dianoia.tasks.code.asserts import Assertion, Step
from dianoia.tasks.code.output_compare import same_output, same_value
from dianoia.tasks.code.scripts import Script
from dianoia.tasks.code.test_cases import Call, CodeTests

MAX_PROGRAM_CHARS = 200_000
_FENCE = re.compile(r"( {0,3})(`{3,}|~{3,})[ \t]*+(.*)")
_DEEP_FENCE = re.compile(r"([ \t]*+)(`{3,}|~{3,})[ \t]*+(.*)")
"""Fence with any indent, for answers that have no other: a block inside a list, for example."""
_CODE = re.compile(
    r"^(?:(?:def|class) .*:|import \w|from [\w.]+ import |@\w|\w+ *= *[\"'])", re.MULTILINE
)
"""Beginning of a line of code. With one outside of a block the answer itself is a program, whose strings may hold fences."""
_TAGS = {"python": re.compile(r"\{?\s*\.?(?:i?python|py)[\d.]*(?![\w+#-])", re.IGNORECASE)}
"""Info string of a block, by language."""
_OTHER_LANGUAGES = frozenset(
    ("c", "c#", "c++", "cpp", "cs", "csharp", "cxx", "go", "haskell", "java", "javascript", "js", "julia", "kotlin",
     "lua", "perl", "php", "r", "rs", "ruby", "rust", "scala", "swift", "ts", "typescript")
)  # fmt: skip


class Verdict(StrEnum):
    """The ways in which the run of a program can end."""

    PASSED = "passed"
    WRONG_ANSWER = "wrong_answer"
    """It ran to its end and gave another output or value."""
    ERROR = "error"
    """It ended with an exception or a status that is not 0."""
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    OUTPUT_LIMIT = "output_limit"
    PROCESS_LIMIT = "process_limit"
    CRASHED = "crashed"
    KILLED = "killed"
    NO_PROGRAM = "no_program"
    """The answer contains no program."""


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """Number of tests that a program passed, and its verdict."""

    verdict: Verdict
    """Verdict of the first test that failed; PASSED only if all passed."""
    passed: int
    total: int
    detail: str = ""
    """The test that failed, and the last line of the program's error, for the user."""

    def score(self, fraction: bool) -> float:
        """Return 1.0 if all tests passed, else 0.0; with `fraction` the share that passed."""
        if fraction:
            return self.passed / self.total
        return float(self.verdict is Verdict.PASSED)


@dataclass(frozen=True, slots=True)
class _Block:
    """A fenced block."""

    tag: str
    text: str
    closed: bool


def extract_program(answer: str, language: str = "python") -> str | None:
    """Return the program in an answer, None if there is none (decision 1)."""
    if len(answer) > MAX_PROGRAM_CHARS:
        return None
    # Fences by CommonMark first; deeper ones only if the text is not itself a program.
    blocks = list(_blocks(answer, _FENCE))
    if not blocks and not _CODE.search(answer):
        blocks = list(_blocks(answer, _DEEP_FENCE))
    if not blocks:
        return answer if answer.strip() else None
    # The last block that is marked as Python, else the last one. A block of another language is no program.
    marked = [block for block in blocks if _TAGS[language].match(block.tag)]
    block = (marked or blocks)[-1]
    word = block.tag.split()[0].lower() if block.tag else ""
    return block.text if block.closed and word not in _OTHER_LANGUAGES else None


def _blocks(answer: str, pattern: re.Pattern[str]) -> Iterator[_Block]:
    """Yield the fenced blocks of a text, by the rules of CommonMark."""
    opening: re.Match[str] | None = None
    lines: list[str] = []
    # Not `splitlines`, which also splits at form feeds and other characters inside a program's strings.
    for line in answer.split("\n"):
        fence = pattern.fullmatch(line.rstrip("\r"))
        if opening is None:
            # A line of backticks with more backticks behind is inline code, not a fence.
            if fence and not (fence[2][0] == "`" and "`" in fence[3]):
                opening, lines = fence, []
        # A closing fence has no info string and at least as many marks as the opening one.
        elif fence and not fence[3].strip() and fence[2].startswith(opening[2]):
            yield _Block(opening[3].strip(), "".join(f"{text}\n" for text in lines), True)
            opening = None
        else:
            lines.append(_without_indent(line, opening[1]))
    if opening is not None:
        yield _Block(opening[3].strip(), "", False)


def _without_indent(line: str, indent: str) -> str:
    """Return a line without the indent of its block's fence, as far as the line has it."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(line, indent, strict=False))
    return line[sum(1 for _ in same) :]


def score_program(answer: str, tests: CodeTests, sandbox: Sandbox) -> float:
    """Return the score of an answer: 1.0 or 0.0, or the fraction of passed tests if the tests ask for it.

    Raises:
        SandboxError: the sandbox failed, which says nothing about the answer.
    """
    return grade_program(answer, tests, sandbox).score(tests.fraction)


def grade_program(answer: str, tests: CodeTests, sandbox: Sandbox) -> ProgramResult:
    """Run the tests of an answer's program. Raises SandboxError, which says nothing about the answer."""
    source = extract_program(answer, tests.language)
    if source is None:
        return ProgramResult(Verdict.NO_PROGRAM, 0, tests.count, "no closed block of code")
    # An answer that begins indented is the body of a function whose head the question has.
    if tests.continues and source.lstrip("\n")[:1] in (" ", "\t"):
        source = f"{tests.continues.rstrip()}\n{source}"
    # `first` is the result of the first failure; it is PASSED while all tests pass.
    passed, first = 0, ProgramResult(Verdict.PASSED, tests.count, tests.count)
    for verdict, detail in _verdicts(source, tests, sandbox):
        passed += verdict is Verdict.PASSED
        if verdict is not Verdict.PASSED and first.verdict is Verdict.PASSED:
            first = ProgramResult(verdict, 0, tests.count, detail)
        # All tests have to pass: the rest would only cost time.
        if verdict is not Verdict.PASSED and not tests.fraction:
            break
    return ProgramResult(first.verdict, passed, tests.count, first.detail)


def _verdicts(source: str, tests: CodeTests, sandbox: Sandbox) -> Iterator[tuple[Verdict, str]]:
    """Run one test after another and yield (verdict, detail) per test."""
    # Calls and asserts come first: one run decides all of them, while each case is a run of its own.
    if tests.steps:
        yield from _on_values(source, tests, sandbox)
    if tests.script is not None:
        yield from _on_script(source, tests.script, tests, sandbox)
    for number, case in enumerate(tests.cases, start=1):
        outcome = sandbox.run(_program(source, tests, stdin=case.stdin), tests.limits)
        clock = _Clock(outcome, tests)
        same = _same_output(outcome.stdout, case.expected, tests)
        verdict = _failed_ending(outcome) or clock.timed_out() or _verdict(same)
        yield verdict, f"case {number}: {_last_line(outcome)}"


def _program(
    source: str, tests: CodeTests, stdin: str = "", steps: tuple[Step, ...] = ()
) -> Program:
    # LiveCodeBench's checker accepts any exit status of a program with standard input (`official`, 4).
    any_status = tests.checker == official.NAME and not steps
    return Program(source, stdin, steps, tests.language, tests.prelude, any_status)


class _Clock:
    """The time that a run has left for the comparison of its result: a value may be slow to compare."""

    def __init__(self, outcome: Outcome, tests: CodeTests) -> None:
        # Thread time, not wall time: other threads of this process must not cost a program its result.
        self.started = time.thread_time()
        used = outcome.wall_seconds if outcome.ending is Ending.FINISHED else 0.0
        self.remaining = tests.limits.wall_seconds - used

    def timed_out(self) -> Verdict | None:
        """Return TIMED_OUT if the time is used up, else None."""
        used = time.thread_time() - self.started
        return Verdict.TIMED_OUT if used > self.remaining else None


def _same_output(actual: str, expected: str, tests: CodeTests) -> bool:
    if tests.checker == official.NAME:
        return official.same_output(actual, expected)
    return same_output(actual, expected, tests.tolerance)


def _on_values(source: str, tests: CodeTests, sandbox: Sandbox) -> Iterator[tuple[Verdict, str]]:
    """Decide calls and asserts on returned values; with a fraction, values from before a bad end of the program count."""
    outcome = sandbox.run(_program(source, tests, steps=tests.steps), tests.limits)
    clock = _Clock(outcome, tests)
    failed_ending, values = _failed_ending(outcome), _values(outcome)
    decided: list[Call | Assertion] = [*tests.calls, *tests.assertions]
    # Asserts on a value that is none of plain types run again, as a script in a process of their own.
    if tests.assert_script is not None and not failed_ending and _not_plain(outcome, tests):
        decided = [*tests.calls]
    for test in decided:
        steps = test.values if isinstance(test, Assertion) else (test.step,)
        # No value of a step: the program ended before it, or raised an exception.
        if not values.keys() >= set(steps):
            yield (
                failed_ending or Verdict.ERROR,
                f"{_source(test, tests)}: {_error(outcome, steps)}",
            )
        elif failed_ending and not tests.fraction:
            yield failed_ending, _last_line(outcome)
        else:
            passes = _passes(test, values, tests)
            yield clock.timed_out() or _verdict(passes), _source(test, tests)
    if tests.assert_script is not None and len(decided) < len(tests.calls) + len(tests.assertions):
        yield from _on_script(source, tests.assert_script, tests, sandbox)


def _not_plain(outcome: Outcome, tests: CodeTests) -> bool:
    """Return True if the value of an assertion could not leave the sandbox because it is of no plain type."""
    steps = {number for test in tests.assertions for number in test.values}
    return any(
        status == "error" and number in steps and text.startswith(wire.NOT_PLAIN)
        for number, status, text in outcome.results
    )


def _on_script(
    source: str, script: Script, tests: CodeTests, sandbox: Sandbox
) -> Iterator[tuple[Verdict, str]]:
    """Run tests in a process of their own: it decides each test, and the program has to end well too."""
    outcomes = sandbox.examine(_program(source, tests), script.examination(), tests.limits)
    program_outcome, tests_outcome = outcomes
    failed_ending = _failed_ending(program_outcome) or _failed_ending(tests_outcome)
    statuses = {number: (status, words) for number, status, words in tests_outcome.results}
    for number, unit in enumerate(script.units):
        status, words = statuses.get(number, ("missing", _last_line(program_outcome)))
        detail = f"{unit.test[:200]}: {words}"
        # After a bad end of the program a passed test counts for a fraction only.
        if status == "passed" and not (failed_ending and not tests.fraction):
            if unit.is_test:
                yield Verdict.PASSED, detail
        # Failed set-up makes all tests fail; with a fraction the tests themselves tell.
        elif unit.is_test or not tests.fraction:
            failed = Verdict.WRONG_ANSWER if status == "failed" else Verdict.ERROR
            yield failed_ending or failed, detail


def _passes(test: Call | Assertion, values: dict[int, Any], tests: CodeTests) -> bool:
    if isinstance(test, Assertion):
        return test.holds(values)
    if tests.checker == official.NAME:
        return official.same_value(values[test.step], test.expected)
    return same_value(values[test.step], test.expected, tests.tolerance)


def _values(outcome: Outcome) -> dict[int, Any]:
    """Return values by step. Text that cannot be decoded is no value: the program may have written anything."""
    values: dict[int, Any] = {}
    for number, status, text in outcome.results:
        if status != "value":
            continue
        try:
            # The first one counts: the program could write a second one.
            values.setdefault(number, wire.decode(text))
        except ValueError:
            continue
    return values


def _failed_ending(outcome: Outcome) -> Verdict | None:
    """Return the verdict of a program that did not end well; None for one that did."""
    if outcome.ending is not Ending.FINISHED:
        return Verdict(outcome.ending.value)
    return Verdict.ERROR if outcome.exit_code else None


def _verdict(passed: bool) -> Verdict:
    return Verdict.PASSED if passed else Verdict.WRONG_ANSWER


def _source(test: Call | Assertion, tests: CodeTests) -> str:
    return test.source if isinstance(test, Assertion) else tests.steps[test.step][1]


def _error(outcome: Outcome, steps: tuple[int, ...]) -> str:
    errors = [
        text for number, status, text in outcome.results if status == "error" and number in steps
    ]
    return errors[0] if errors else _last_line(outcome)


def _last_line(outcome: Outcome) -> str:
    # The last line of a traceback names the exception.
    lines = outcome.stderr.strip().splitlines()
    return lines[-1] if lines else str(outcome.ending)
