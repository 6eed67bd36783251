"""What a rewriter is given and gives back. Rewriters live in several rooms, so their nouns live here."""

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
    """There is nothing in the thought to rewrite: it guesses."""
    FALSE_STEP = "false_step"
    """A step of the derivation that decides is wrong, so the right answer is luck."""
    CONTRADICTS = "contradicts"
    """The thought comes to another answer than the one that was given."""
    ANSWER_MISSING = "answer_missing"
    """The summary does not hold the answer."""
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
    """A readable thought and a summary of one or two sentences with the answer in it."""

    thought: str
    summary: str


class Rewriter(Protocol):
    """Makes thoughts readable; many at a time, since a model behind an endpoint answers many at once."""

    def rewrite(self, cases: Sequence[Case]) -> list[Rewritten | Refusal]:
        """One outcome a case, in their order."""
        ...
