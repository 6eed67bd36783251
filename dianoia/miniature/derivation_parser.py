"""Parse thoughts of the miniature: the tallies that its authors write, in either language or a mixture of both.

In: a thought. Out: its derivations in order, each a start and labelled steps, or a typed refusal. Phrases between
derivations carry no information of their own, but a phrase that names a result has to name that of the derivation
before it. A `Notation` says how a line is read: as numbers and operations, or as directions and turns.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dianoia.base.rewriting import Refusal
from dianoia.miniature.authors import PHRASES
from dianoia.miniature.chains import Operation
from dianoia.miniature.logic import DIRECTIONS, TURN_WORDS
from dianoia.miniature.programs import LETTERS
from dianoia.miniature.stories import DAYS


@dataclass(frozen=True, slots=True)
class Step:
    """A step and the result that the author wrote for it."""

    sign: str
    """The step in the notation's own signs, e.g. `+7`, or the number of quarters turned."""
    result: int


@dataclass(frozen=True, slots=True)
class Notation:
    """The way in which lines of one type of problem are written."""

    positions: Mapping[str, int]
    """Position of a line in its derivation, by its label."""
    values: Mapping[str, int] | None
    """Values by word; None for numbers."""
    step: str
    """Pattern of a step."""
    signs: Mapping[str, str]
    """A step's own sign by word; a step that is missing here is its own sign."""
    apply: Callable[[int, str], int | None]
    """(value, sign) -> the value after the step; None where it has none."""

    @property
    def value(self) -> str:
        """Pattern of a value."""
        # At most six digits: thoughts of models are parsed too, and they may hold numbers of any length.
        return "-?[0-9]{1,6}" if self.values is None else "|".join(self.values)

    def read(self, value: str) -> int:
        """Return the value that a word or number stands for."""
        return int(value) if self.values is None else self.values[value]


def _apply_operation(value: int, sign: str) -> int | None:
    operation = Operation(sign[0], int(sign[1:]))
    # Models write divisions that do not come out even, or by 0, which `Operation.apply` does not expect.
    if operation.sign == "/" and (not operation.operand or value % operation.operand):
        return None
    return operation.apply(value)


def _indices(words: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Return the index of each word among the words of its language."""
    return {word: index for listed in words.values() for index, word in enumerate(listed)}


_LETTER_POSITIONS = {letter: index for index, letter in enumerate(LETTERS)}
_OPERATION = r"[-+*/][0-9]{1,6}"
STORY = Notation(_indices(DAYS), None, _OPERATION, {}, _apply_operation)
PRINT = Notation(_LETTER_POSITIONS, None, _OPERATION, {}, _apply_operation)
TURN = Notation(
    _LETTER_POSITIONS,
    _indices(DIRECTIONS),
    "|".join(word for words in TURN_WORDS.values() for word in words),
    {word: str(index + 1) for word, index in _indices(TURN_WORDS).items()},
    # Directions are listed clockwise.
    lambda value, sign: (value + int(sign)) % 4,
)


@dataclass(frozen=True, slots=True)
class Tally:
    """One derivation: a start and one line per step."""

    start: int
    steps: tuple[Step, ...]

    @property
    def result(self) -> int:
        """The value after the last step."""
        return self.steps[-1].result

    @property
    def values_before(self) -> tuple[int, ...]:
        """The value that each step works on."""
        return (self.start, *(step.result for step in self.steps[:-1]))

    def right(self, notation: Notation) -> bool:
        """Return True if every line is true."""
        return all(
            notation.apply(before, step.sign) == step.result
            for before, step in zip(self.values_before, self.steps, strict=True)
        )


def phrase_pattern(value: str) -> re.Pattern[str]:
    """Return a pattern of all phrases that authors write between derivations; `value` is the pattern of a result."""
    return re.compile(
        "|".join(
            # `First {a}, now {b}. Same.` becomes a pattern; re.escape has put backslashes before the braces.
            re.escape(phrase.strip())
            .replace(r"\{a\}", f"({value})")
            .replace(r"\{b\}", f"({value})")
            for by_purpose in PHRASES.values()
            for phrases in by_purpose.values()
            for phrase in phrases
            if phrase
        )
    )


def parse_derivations(thought: str, notation: Notation) -> list[Tally] | Refusal:
    """Return the derivations of a thought, in order."""
    value = notation.value
    phrases, start = phrase_pattern(value), re.compile(value)
    labels = "|".join(notation.positions)
    step = re.compile(rf"(?P<label>{labels}) ?(?P<step>{notation.step})=(?P<result>{value})")
    tallies: list[Tally] = []
    # A line is a start (`12`), a step (`Monday +7=19`) or a phrase; anything else makes the thought unreadable.
    for line in filter(None, map(str.strip, thought.splitlines())):
        if start.fullmatch(line):
            tallies.append(Tally(notation.read(line), ()))
        elif match := step.fullmatch(line):
            # Labels come in order and without a gap, from the first one after each start.
            if not tallies or notation.positions[match["label"]] != len(tallies[-1].steps):
                return Refusal.UNREADABLE
            tallies[-1] = _with_step(tallies[-1], match, notation)
        elif not (phrase := phrases.fullmatch(line)):
            return Refusal.UNREADABLE
        # Before the first derivation there is no result that a phrase could contradict.
        elif tallies and not _names_result(phrase, tallies[-1], notation):
            return Refusal.CONTRADICTS
    if not tallies:
        return Refusal.NO_REASONING
    return tallies if all(tally.steps for tally in tallies) else Refusal.UNREADABLE


def _names_result(phrase: re.Match[str], tally: Tally, notation: Notation) -> bool:
    """Return False for a phrase with one value, as in "So 19.", that is not the result of the tally before it.

    A phrase with two values ("First 18, now 19.") or none is accepted.
    """
    values = [group for group in phrase.groups() if group is not None]
    return len(values) != 1 or (bool(tally.steps) and notation.read(values[0]) == tally.result)


def _with_step(tally: Tally, match: re.Match[str], notation: Notation) -> Tally:
    sign = notation.signs.get(match["step"], match["step"])
    return Tally(tally.start, (*tally.steps, Step(sign, notation.read(match["result"]))))
