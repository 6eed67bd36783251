"""Verdicts on an answer to a problem of mathematics, the reasons behind them, and the exceptions of the grammar."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The verdicts, each counted separately. RIGHT scores 1, GOLD_UNREADABLE has no score, the others score 0."""

    RIGHT = "right"
    WRONG = "wrong"
    UNREADABLE = "unreadable"
    """No rule reads some part of the answer; `Reason` says which."""
    REPEATED = "repeated"
    """Equal to the gold answer, but only the question's own expression, not worked out."""
    TOO_LARGE = "too_large"
    """Refused before anything is computed: towers of powers, huge factorials, deep nesting, long texts."""
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"
    GOLD_UNREADABLE = "gold_unreadable"
    """The problem's own answer cannot be read, so that no answer can be graded."""

    @property
    def score(self) -> float | None:
        """1.0 for a right answer, None if the gold answer is unreadable, else 0.0."""
        if self is Verdict.GOLD_UNREADABLE:
            return None
        return float(self is Verdict.RIGHT)


class Reason(StrEnum):
    """Why an answer is unreadable. Names are counted in metrics, values are shown to people."""

    NOTHING = "no answer"
    BOX = "a box that is empty or not closed"
    SEVERAL_LINES = "several lines without a box"
    CHARACTER = "a character that mathematics does not use"
    COMMAND = "an unknown LaTeX command"
    BRACKETS = "brackets that do not close"
    DOLLARS = "dollar signs that do not pair"
    INCOMPLETE = "an operator without its terms"
    NUMBERS = "two numbers side by side"
    TEXT_BEHIND = "text after the number"
    TEXT_BEFORE = "text before the number"
    TEXT = "text in a formula"
    SCRIPT = "a subscript or a prime that belongs to no name"
    UNIT = "a unit that was not asked for"
    SEPARATOR = "a list with a missing item"
    AMBIGUOUS = "a formula that can be read in two ways"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, with the reason if the answer is unreadable."""

    verdict: Verdict
    reason: Reason | None = None

    @property
    def score(self) -> float | None:
        """The score of the verdict."""
        return self.verdict.score

    @property
    def right(self) -> bool:
        """Return True if the answer is right."""
        return self.verdict is Verdict.RIGHT

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reason}" if self.reason else str(self.verdict)

    @classmethod
    def read(cls, text: str) -> "Judgement":
        """Return the judgement that `str` wrote. Raises ValueError for any other text."""
        verdict, _, reason = text.partition(": ")
        return cls(Verdict(verdict), Reason(reason) if reason else None)


class Unreadable(ValueError):
    """No rule reads the answer."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class TooLarge(ValueError):
    """The answer would take too long, or too much memory, to compute."""
