"""Reads thoughts of the miniature back: the tallies that its authors write, in either language or a mixture.

In: a thought. Out: its derivations in order, each a start and labelled lines, or a typed refusal. Phrases between
derivations carry nothing of their own, but one that names a result has to name that of the derivation before it.
What a line says is read by a `Notation`: numbers and operations, or ways and turns.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dianoia.base.rewriting import Refusal
from dianoia.miniature.chains import Operation
from dianoia.miniature.code import LETTERS
from dianoia.miniature.turns import HOW, WAYS
from dianoia.miniature.voice import SAY
from dianoia.miniature.wording import DAYS


@dataclass(frozen=True, slots=True)
class Line:
    """A step and what the author wrote as its result."""

    step: str
    """In the notation's own signs, e.g. `+7`, or quarters turned."""
    after: int


@dataclass(frozen=True, slots=True)
class Notation:
    """How lines of one kind of problem are written."""

    places: Mapping[str, int]
    """Place of a line by its label."""
    values: Mapping[str, int] | None
    """Values by word; None for numbers."""
    step: str
    """Pattern of a step."""
    steps: Mapping[str, str]
    """A step's own sign by word; one that is missing is its own sign."""
    apply: Callable[[int, str], int | None]
    """The value after a step; None where it has none."""

    @property
    def value(self) -> str:
        """Pattern of a value."""
        return "-?[0-9]{1,6}" if self.values is None else "|".join(self.values)

    def read(self, value: str) -> int:
        """The value that a word or number stands for."""
        return int(value) if self.values is None else self.values[value]


def _counted(value: int, step: str) -> int | None:
    operation = Operation(step[0], int(step[1:]))
    if operation.sign == "/" and (not operation.operand or value % operation.operand):
        return None
    return operation.apply(value)


def _letters() -> dict[str, int]:
    return {letter: place for place, letter in enumerate(LETTERS)}


_COUNTS = r"[-+*/][0-9]{1,6}"
STORY = Notation(
    {day: place for days in DAYS.values() for place, day in enumerate(days)},
    None,
    _COUNTS,
    {},
    _counted,
)
PRINT = Notation(_letters(), None, _COUNTS, {}, _counted)
TURN = Notation(
    _letters(),
    {way: place for ways in WAYS.values() for place, way in enumerate(ways)},
    "|".join(word for words in HOW.values() for word in words),
    {word: str(place + 1) for words in HOW.values() for place, word in enumerate(words)},
    lambda value, step: (value + int(step)) % 4,
)


@dataclass(frozen=True, slots=True)
class Tally:
    """One derivation: a start and a line a step."""

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

    def right(self, notation: Notation) -> bool:
        """Whether every line is true."""
        return all(
            notation.apply(before, line.step) == line.after
            for before, line in zip(self.values_before, self.lines, strict=True)
        )


def phrases(value: str) -> re.Pattern[str]:
    """Everything an author says between derivations; results look like `value`."""
    return re.compile(
        "|".join(
            re.escape(phrase.strip())
            .replace(r"\{a\}", f"({value})")
            .replace(r"\{b\}", f"({value})")
            for kinds in SAY.values()
            for said in kinds.values()
            for phrase in said
            if phrase
        )
    )


def read(thought: str, notation: Notation) -> list[Tally] | Refusal:
    """The derivations of a thought, in order."""
    value = notation.value
    says, start = phrases(value), re.compile(value)
    labels = "|".join(notation.places)
    line = re.compile(rf"(?P<label>{labels}) ?(?P<step>{notation.step})=(?P<after>{value})")
    tallies: list[Tally] = []
    for text in filter(None, map(str.strip, thought.splitlines())):
        if start.fullmatch(text):
            tallies.append(Tally(notation.read(text), ()))
        elif found := line.fullmatch(text):
            if not tallies or notation.places[found["label"]] != len(tallies[-1].lines):
                return Refusal.UNREADABLE
            tallies[-1] = _longer(tallies[-1], found, notation)
        elif not (said := says.fullmatch(text)):
            return Refusal.UNREADABLE
        elif tallies and not _fits(said, tallies[-1], notation):
            return Refusal.CONTRADICTS
    if not tallies:
        return Refusal.NO_REASONING
    return tallies if all(tally.lines for tally in tallies) else Refusal.UNREADABLE


def _fits(said: re.Match[str], tally: Tally, notation: Notation) -> bool:
    """Whether a phrase that names one value, as in "So 19.", names what the tally before it came to."""
    named = [group for group in said.groups() if group is not None]
    return len(named) != 1 or (bool(tally.lines) and notation.read(named[0]) == tally.result)


def _longer(tally: Tally, found: re.Match[str], notation: Notation) -> Tally:
    step = notation.steps.get(found["step"], found["step"])
    return Tally(tally.start, (*tally.lines, Line(step, notation.read(found["after"]))))
