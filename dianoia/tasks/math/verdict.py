"""What can become of an answer to a problem of mathematics."""

from enum import StrEnum


class Verdict(StrEnum):
    """The verdicts, each counted by itself; RIGHT scores 1, GOLD_UNREADABLE nothing, the others 0."""

    RIGHT = "right"
    WRONG = "wrong"
    UNREADABLE = "unreadable"
    """Nothing in the answer can be read as an answer."""
    REPEATED = "repeated"
    """Equal to the gold answer, but only the question's own expression."""
    TOO_LARGE = "too_large"
    """Refused unseen: towers of powers, huge factorials, deep nesting, long texts."""
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"
    GOLD_UNREADABLE = "gold_unreadable"
    """The problem's own answer cannot be read, so nobody can say."""

    @property
    def score(self) -> float | None:
        """1 for a right answer, None where nobody can say, else 0."""
        if self is Verdict.GOLD_UNREADABLE:
            return None
        return float(self is Verdict.RIGHT)
