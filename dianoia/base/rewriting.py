"""Input and output of rewriters, which make sampled thoughts readable. Rewriters are in several rooms."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dianoia.base.records import Problem


class Refusal(StrEnum):
    """Why a thought was not rewritten. A refusal is data: the sample is counted and kept in a file."""

    UNREADABLE = "unreadable"
    """The thought, or what the rewriting model made of it, cannot be read."""
    NO_REASONING = "no_reasoning"
    """The thought holds no reasoning to rewrite: it guesses."""
    FALSE_STEP = "false_step"
    """A decisive step of the derivation is wrong, so the right answer is luck."""
    CONTRADICTS = "contradicts"
    """The thought reaches another answer than the one that was given."""
    ANSWER_MISSING = "answer_missing"
    """The summary does not contain the answer."""
    LANGUAGE = "language"
    """The rewritten thought is not in the question's language."""
    CUT = "cut"
    """The rewriting model reached its limit on tokens."""


@dataclass(frozen=True, slots=True)
class Case:
    """A sampled thought and the answer it led to, which no rewriter may change."""

    problem: Problem
    thought: str
    answer: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A readable thought, and a summary of one or two sentences that contains the answer."""

    thought: str
    summary: str


class Rewriter(Protocol):
    """Makes thoughts readable, many at a time, since a model behind an endpoint answers many requests at once."""

    def rewrite(self, cases: Sequence[Case]) -> list[Rewritten | Refusal]:
        """Return one outcome per case, in their order."""
        ...
