"""Judges programs by their tests: finds the program in an answer, runs it, compares outside.

In: an answer and `CodeTests`. Out: a `Judgement`, or only its score. A time-out, a crash and a
wrong answer are three different verdicts. What the comparison takes counts as the program's time.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, sections 2.2 and B.3.1) is silent:
1. The program is the last fenced block of the answer that is marked as Python, else the last one, or all of the
   answer if it has no fence. A block that never closes holds no program: it was cut off. Fences are those of
   CommonMark: three or more backticks or tildes, indented by up to three spaces.
2. Every case on standard input is a run of its own; calls and asserts share one run, and tests in a process of
   their own another. A run passes only if the program ended by itself with status 0, whatever it wrote.
3. All tests have to pass ("must pass all hidden tests", B.3.1), and judging stops at the first that
   fails. With "score": "fraction" all are run.
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
"""In an answer that has no other: inside a list, say."""
_CODE = re.compile(
    r"^(?:(?:def|class) .*:|import \w|from [\w.]+ import |@\w|\w+ *= *[\"'])", re.MULTILINE
)
"""A line that begins so outside of a block: the answer itself is a program, whose texts may show fences."""
_TAGS = {"python": re.compile(r"\{?\s*\.?(?:i?python|py)[\d.]*(?![\w+#-])", re.IGNORECASE)}
"""How a block of a language is marked."""
_OTHER_LANGUAGES = frozenset(
    ("c", "c#", "c++", "cpp", "cs", "csharp", "cxx", "go", "haskell", "java", "javascript", "js", "julia", "kotlin",
     "lua", "perl", "php", "r", "rs", "ruby", "rust", "scala", "swift", "ts", "typescript")
)  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class _Block:
    """A fenced block."""

    tag: str
    text: str
    closed: bool


def extract_program(answer: str, language: str = "python") -> str | None:
    """The program in an answer, None if there is none (decision 1)."""
    if len(answer) > MAX_PROGRAM_CHARS:
        return None
    blocks = list(_blocks(answer, _FENCE))
    if not blocks and not _CODE.search(answer):
        blocks = list(_blocks(answer, _DEEP_FENCE))
    if not blocks:
        return answer if answer.strip() else None
    marked = [block for block in blocks if _TAGS[language].match(block.tag)]
    block = (marked or blocks)[-1]
    word = block.tag.split()[0].lower() if block.tag else ""
    return block.text if block.closed and word not in _OTHER_LANGUAGES else None


def _blocks(answer: str, pattern: re.Pattern[str]) -> Iterator[_Block]:
    """The fenced blocks of a text, as CommonMark has them."""
    opened: re.Match[str] | None = None
    lines: list[str] = []
    for line in answer.split("\n"):
        fence = pattern.fullmatch(line.rstrip("\r"))
        if opened is None:
            if fence and not (fence[2][0] == "`" and "`" in fence[3]):  # inline code
                opened, lines = fence, []
        elif fence and not fence[3].strip() and fence[2].startswith(opened[2]):
            yield _Block(opened[3].strip(), "".join(f"{text}\n" for text in lines), True)
            opened = None
        else:
            lines.append(_without_indent(line, opened[1]))
    if opened is not None:
        yield _Block(opened[3].strip(), "", False)


def _without_indent(line: str, indent: str) -> str:
    """The line without what stands before its fence, as far as it begins so."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(line, indent, strict=False))
    return line[sum(1 for _ in same) :]


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
    if tests.continues and source.lstrip("\n")[:1] in (" ", "\t"):
        source = f"{tests.continues.rstrip()}\n{source}"
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
    if tests.script is not None:
        yield from _on_script(source, tests.script, tests, sandbox)
    for number, case in enumerate(tests.cases, start=1):
        outcome = sandbox.run(_program(source, tests, stdin=case.stdin), tests.limits)
        clock = _Clock(outcome, tests)
        same = _same_output(outcome.stdout, case.expected, tests)
        yield (
            _ended(outcome) or clock.late() or _right(same),
            f"case {number}: {_last_line(outcome)}",
        )


def _program(
    source: str, tests: CodeTests, stdin: str = "", steps: tuple[Step, ...] = ()
) -> Program:
    any_status = tests.checker == official.NAME and not steps
    return Program(source, stdin, steps, tests.language, tests.prelude, any_status)


class _Clock:
    """The time that a run has left for what is done with its result."""

    def __init__(self, outcome: Outcome, tests: CodeTests) -> None:
        self.began = time.thread_time()
        used = outcome.wall_seconds if outcome.ending is Ending.FINISHED else 0.0
        self.left = tests.limits.wall_seconds - used

    def late(self) -> Verdict | None:
        """TIMED_OUT once it is used up."""
        return Verdict.TIMED_OUT if time.thread_time() - self.began > self.left else None


def _same_output(given: str, expected: str, tests: CodeTests) -> bool:
    if tests.checker == official.NAME:
        return official.same_output(given, expected)
    return same_output(given, expected, tests.tolerance)


def _on_values(source: str, tests: CodeTests, sandbox: Sandbox) -> Iterator[tuple[Verdict, str]]:
    """Calls and asserts: what came back before the program ended badly still counts for a fraction."""
    outcome = sandbox.run(_program(source, tests, steps=tests.steps), tests.limits)
    clock = _Clock(outcome, tests)
    ended, values = _ended(outcome), _values(outcome)
    wanted: list[Call | Assertion] = [*tests.calls, *tests.assertions]
    if tests.again is not None and not ended and _not_plain(outcome, tests):
        wanted = [*tests.calls]
    for test in wanted:
        needed = test.values if isinstance(test, Assertion) else (test.step,)
        if not values.keys() >= set(needed):
            yield ended or Verdict.ERROR, f"{_named(test, tests)}: {_error(outcome, needed)}"
        elif ended and not tests.fraction:
            yield ended, _last_line(outcome)
        else:
            passes = _passes(test, values, tests)
            yield clock.late() or _right(passes), _named(test, tests)
    if tests.again is not None and len(wanted) < len(tests.calls) + len(tests.assertions):
        yield from _on_script(source, tests.again, tests, sandbox)


def _not_plain(outcome: Outcome, tests: CodeTests) -> bool:
    """Whether an assertion waits for a value that did not come out since it is none of plain types."""
    steps = {number for test in tests.assertions for number in test.values}
    return any(
        kind == "error" and number in steps and text.startswith(wire.NOT_PLAIN)
        for number, kind, text in outcome.results
    )


def _on_script(
    source: str, script: Script, tests: CodeTests, sandbox: Sandbox
) -> Iterator[tuple[Verdict, str]]:
    """Tests in a process of their own: its word counts, and the program has to end well too."""
    outcomes = sandbox.examine(_program(source, tests), script.examination(), tests.limits)
    ended = _ended(outcomes[0]) or _ended(outcomes[1])
    kinds = {number: (kind, words) for number, kind, words in outcomes[1].results}
    for number, unit in enumerate(script.units):
        kind, words = kinds.get(number, ("missing", _last_line(outcomes[0])))
        detail = f"{unit.shown[:200]}: {words}"
        if kind == "passed" and not (ended and not tests.fraction):
            if unit.is_test:
                yield Verdict.PASSED, detail
        elif unit.is_test or not tests.fraction:
            yield ended or _KINDS.get(kind, Verdict.ERROR), detail


_KINDS = {"failed": Verdict.WRONG_ANSWER}


def _passes(test: Call | Assertion, values: dict[int, Any], tests: CodeTests) -> bool:
    if isinstance(test, Assertion):
        return test.holds(values)
    if tests.checker == official.NAME:
        return official.same_value(values[test.step], test.expected)
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
