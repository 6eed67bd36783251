"""The authors of the miniature's documents: how they think on paper, whatever they think about.

An author answers at once, or derives line by line, or derives a second time with more care, compares the two results
and settles a difference by a third derivation: the result that two of the three agree on wins. So reflection carries
information by construction of the world, not of the reward.

An `Author` is a set of habits: the language of the thought (the question's, the other one, or a mixture line by line)
and how often a line has a slip. The derivations themselves are in the modules of the problems (`stories`, `programs`,
`logic`, `choices`, `requests`, `safety`).
"""

import random
from dataclasses import dataclass
from typing import Protocol

from dianoia.base.records import Problem

LANGUAGES = ("en", "zh")
MIXED = "mixed"
WORD_GAP = {"en": " ", "zh": ""}
"""Text between two words."""
_LONGEST_NAME = 8
"""Largest number of characters of an answer that fits into a phrase."""
_CLOSING_SHARE = 0.3
"""Share of single derivations that end with a closing line."""

# A text that is there more than once has that weight: half of the guesses come without a phrase. `{a}` and `{b}` are
# results. `derivation_parser` reads all phrases from here; in other text it would refuse the line.
PHRASES = {
    "en": {
        "open": ("", "Let me see.\n", "Step by step.\n"),
        "check": ("Wait, let me check.\n", "Let me verify.\n", "Check again.\n"),
        "same": ("First {a}, now {b}. Same.\n",),
        "differ": (
            "First {a}, now {b}. But they differ. Retry.\n",
            "First {a}, now {b}. However, one is wrong. Once more.\n",
        ),
        "settle": ("So {a}.\n", "It is {a}.\n"),
        "guess": ("", "", "", "Easy.\n", "I know.\n", "It is {a}.\n"),
    },
    "zh": {
        "open": ("", "我来看看。\n", "一步一步。\n"),
        "check": ("等等，检查一下。\n", "我来验证。\n", "再检查。\n"),
        "same": ("先是{a}，现在{b}。一样。\n",),
        "differ": (
            "先是{a}，现在{b}。但是不同。重新算。\n",
            "先是{a}，现在{b}。不对，再来。\n",
        ),
        "settle": ("所以：{a}。\n", "就是{a}。\n"),
        "guess": ("", "", "", "简单。\n", "我知道。\n", "就是{a}。\n"),
    },
}
"""Phrases of authors around their derivations, by language and purpose. A Chinese phrase that names an answer begins with
a pair of characters, which is one piece for the tokenizer."""


def _is_name(answer: str) -> bool:
    """Return True if an answer is a number, a letter or a word, which a phrase can name."""
    # "-7", "B" and "west" are names; functions and sentences are not.
    return len(answer) <= _LONGEST_NAME and answer.removeprefix("-").isalnum()


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought and the answer that it ends in (right or wrong)."""

    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Author:
    """An author's habits, and the random numbers that decide."""

    language: str
    """`en`, `zh`, or MIXED: either one, line by line."""
    slip: float
    """Probability per line of a first derivation that the line is wrong."""
    check_slip: float
    """The same for a second or third derivation; smaller, since a check is done with more care."""
    guess_right: float
    """Probability that an answer at once is right, where only a derivation could tell."""
    rng: random.Random

    def line_language(self) -> str:
        """Return the language of the next line."""
        return self.rng.choice(LANGUAGES) if self.language == MIXED else self.language

    def phrase(self, purpose: str, **values: str) -> str:
        """Return a phrase of `PHRASES`, or "" if it would name an answer that is too long to be named."""
        # Drawn first and dropped after, so that the length of an answer does not shift later draws.
        phrase = self.rng.choice(PHRASES[self.line_language()][purpose])
        if "{a}" in phrase and not _is_name(values["a"]):
            return ""
        return phrase.format(**values)

    def slips(self, probability: float) -> bool:
        """Tell whether the next line is wrong."""
        return self.rng.random() < probability


class Item(Protocol):
    """A problem, and how authors derive or guess its answer."""

    @property
    def problem(self) -> Problem:
        """The question with its gold answer."""
        ...

    @property
    def checks(self) -> bool:
        """True if a second derivation can be compared with the first."""
        ...

    def derive(self, author: Author, slip: float) -> Thought:
        """Write one derivation, each line of it wrong with probability `slip`."""
        ...

    def guess(self, author: Author) -> str:
        """Return an answer at once."""
        ...


def derivation(item: Item, author: Author) -> Thought:
    """Write one derivation with an opening and, sometimes, a closing line."""
    first = item.derive(author, author.slip)
    # Drawn before the opening, which is drawn last: the order of the draws is part of every document.
    closes = author.rng.random() < _CLOSING_SHARE
    closing = author.phrase("settle", a=first.answer) if closes else ""
    return Thought(author.phrase("open") + first.text + closing, first.answer)


def checked_derivation(item: Item, author: Author) -> Thought:
    """Derive, derive again, compare; settle a difference by a third derivation."""
    if not item.checks:
        return derivation(item, author)
    # The order of all draws is fixed: text and numbers of every document depend on it.
    first, second = item.derive(author, author.slip), item.derive(author, author.check_slip)
    text = author.phrase("open") + first.text + author.phrase("settle", a=first.answer)
    text += author.phrase("check") + second.text
    results = {"a": first.answer, "b": second.answer}
    if first.answer == second.answer:
        return Thought(text + author.phrase("same", **results), first.answer)
    third = item.derive(author, author.check_slip)
    # Two results that agree win. Of three different results the last one is used: it was derived with most care.
    answer = first.answer if third.answer == first.answer else third.answer
    text += author.phrase("differ", **results) + third.text
    return Thought(text + author.phrase("settle", a=answer), answer)


def answer_at_once(item: Item, author: Author) -> Thought:
    """Return an answer without a derivation."""
    answer = item.guess(author)
    return Thought(author.phrase("guess", a=answer), answer)
