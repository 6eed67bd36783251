"""The miniature's rewriter: rules that stand for the people and for DeepSeek-V3 (section B.3.2).

In the paper annotators turn some traces of R1-Zero into readable ones, and a large model rewrites the rest
after their example, translates mixed thoughts into the question's language, and writes a summary. Nothing in
the miniature can do that, and nothing has to: the thoughts of its models are tallies with a few phrases
between them (`thoughts`), so rules can read them and tell them again. They show what the step does to a model
that is trained on the result, not how well a model rewrites.

In: a problem, a thought, the answer it led to. Out: the same derivations and checks in the question's
language, in the first person, and a summary with the answer in it; or a typed refusal. A slip that a check
has found stays in the thought; the derivation that decides has to be right in every step, so that a right
answer by luck is refused. No number is changed and the answer never is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dianoia.base.records import Problem
from dianoia.base.rewriting import Case, Refusal, Rewritten
from dianoia.tasks.answers import parse_number
from dianoia.tasks.miniature.chains import Operation
from dianoia.tasks.miniature.thoughts import _SAY
from dianoia.tasks.miniature.wording import DAYS

_DAY = {name: place for names in DAYS.values() for place, name in enumerate(names)}
_NUMBER = "-?[0-9]{1,6}"
_START = re.compile("[0-9]{1,6}")
_LINE = re.compile(
    rf"(?P<day>{'|'.join(_DAY)}) ?(?P<sign>[-+*/])(?P<operand>[0-9]{{1,6}})=(?P<value>-?[0-9]{{1,6}})"
)
_PHRASES = re.compile(
    "|".join(
        re.escape(phrase.strip()).replace(r"\{a\}", _NUMBER).replace(r"\{b\}", _NUMBER)
        for kinds in _SAY.values()
        for phrases in kinds.values()
        for phrase in phrases
        if phrase
    )
)
"""Everything an author says between tallies, in either language."""

_TELL = {
    "en": {
        "first": "I start with {start} and count day by day.",
        "again": "Wait, let me check. I start again with {start}.",
        "line": "{day}: {before}{step}={after}.",
        "result": "So I get {result}.",
        "same": "First {before}, now {result}. Same, so it is {result}.",
        "differ": "First {before}, now {result}. But they differ, so one is wrong.",
        "last": "Now I get {result}, so it is {result}.",
        "summary": "Starting with {start} and counting {days} days gives {answer}.",
    },
    "zh": {
        "first": "我从{start}开始，一天一天数。",
        "again": "等等，我检查一下。再从{start}开始。",
        "line": "{day}：{before}{step}={after}。",
        "result": "所以是{result}。",
        "same": "先是{before}，现在{result}。一样，所以是{result}。",
        "differ": "先是{before}，现在{result}。但是不同，有一个错了。",
        "last": "现在是{result}，所以是{result}。",
        "summary": "从{start}开始，数{days}天，现在有{answer}个。",
    },
}


@dataclass(frozen=True, slots=True)
class Line:
    """A day of a tally: what was done, and what the author wrote as its result."""

    operation: Operation
    after: int


@dataclass(frozen=True, slots=True)
class Tally:
    """One derivation: a start and a line a day."""

    start: int
    lines: tuple[Line, ...]

    @property
    def result(self) -> int:
        """What it comes to."""
        return self.lines[-1].after

    @property
    def values_before(self) -> tuple[int, ...]:
        """The value each line works on."""
        return (self.start, *(line.after for line in self.lines[:-1]))

    @property
    def right(self) -> bool:
        """Whether every line is true."""
        return all(
            _divides(before, line.operation) and line.operation.apply(before) == line.after
            for before, line in zip(self.values_before, self.lines, strict=True)
        )


def _divides(value: int, operation: Operation) -> bool:
    return operation.sign != "/" or (operation.operand > 0 and value % operation.operand == 0)


class MiniatureRewriter:
    """The rules as a `Rewriter`."""

    def rewrite(self, cases: Sequence[Case]) -> list[Rewritten | Refusal]:
        """One outcome a case, in their order."""
        return [rewrite(case.problem, case.thought, case.answer) for case in cases]


def rewrite(problem: Problem, thought: str, answer: str) -> Rewritten | Refusal:
    """A readable thought in the question's language and a summary, or why there is none."""
    tallies = read(thought)
    if isinstance(tallies, Refusal):
        return tallies
    if problem.language not in _TELL:
        return Refusal.LANGUAGE
    last = tallies[-1]
    if parse_number(answer) != last.result:
        return Refusal.CONTRADICTS
    if not last.right or len(last.lines) != _days(problem):
        return Refusal.FALSE_STEP
    says = _TELL[problem.language]
    summary = says["summary"].format(start=last.start, days=len(last.lines), answer=answer)
    return Rewritten("\n".join(_told(tallies, problem.language)), summary)


def _days(problem: Problem) -> int:
    """Days that the question tells of, each an operation."""
    return sum(day in problem.question for day in DAYS[problem.language])


def read(thought: str) -> list[Tally] | Refusal:
    """The derivations of a thought, in order; phrases between them carry nothing of their own."""
    tallies: list[Tally] = []
    for text in filter(None, map(str.strip, thought.splitlines())):
        if _START.fullmatch(text):
            tallies.append(Tally(int(text), ()))
        elif found := _LINE.fullmatch(text):
            if not tallies or _DAY[found["day"]] != len(tallies[-1].lines):
                return Refusal.UNREADABLE
            tallies[-1] = _longer(tallies[-1], found)
        elif not _PHRASES.fullmatch(text):
            return Refusal.UNREADABLE
        elif tallies and not _fits(text, tallies[-1]):
            return Refusal.CONTRADICTS
    if not tallies:
        return Refusal.NO_REASONING
    return tallies if all(tally.lines for tally in tallies) else Refusal.UNREADABLE


def _fits(phrase: str, tally: Tally) -> bool:
    """Whether a phrase that names one number, as in "So 19.", names what the tally before it came to."""
    numbers = re.findall(_NUMBER, phrase)
    return len(numbers) != 1 or (bool(tally.lines) and int(numbers[0]) == tally.result)


def _longer(tally: Tally, found: re.Match[str]) -> Tally:
    line = Line(Operation(found["sign"], int(found["operand"])), int(found["value"]))
    return Tally(tally.start, (*tally.lines, line))


def _told(tallies: Sequence[Tally], language: str) -> list[str]:
    """The thought, a line a sentence."""
    says, told = _TELL[language], []
    for place, tally in enumerate(tallies):
        told.append(says["again" if place else "first"].format(start=tally.start))
        told += [
            _day(*one, language)
            for one in enumerate(zip(tally.values_before, tally.lines, strict=True))
        ]
        told.append(_after(place, tallies, says))
    return told


def _day(place: int, step: tuple[int, Line], language: str) -> str:
    before, line = step
    return _TELL[language]["line"].format(
        day=DAYS[language][place],
        before=before,
        step=f"{line.operation.sign}{line.operation.operand}",
        after=line.after,
    )


def _after(place: int, tallies: Sequence[Tally], says: dict[str, str]) -> str:
    """What a derivation comes to, beside the one before it."""
    result, last = tallies[place].result, place == len(tallies) - 1
    if place == 0:
        return says["result"].format(result=result)
    before = tallies[place - 1].result
    if result == before:
        return says["same"].format(before=before, result=result)
    return says["last" if last else "differ"].format(before=before, result=result)
