"""How the miniature's authors think on paper, whatever they think about.

An author answers at once, or derives line by line, or derives a second time with more care, compares the two
results and settles a difference by a third derivation: the result that two of the three agree on wins. So
reflection carries information by construction of the world, not of the reward.

A voice is an author's habits: the language of the thought (the question's, the other one, or a mixture line by
line) and how often a line slips. What there is to derive is the item's own affair (`stories`, `programs`, `turns`,
`things`, `requests`, `harms`).
"""

import random
from dataclasses import dataclass
from typing import Protocol

from dianoia.base.records import Problem

LANGUAGES = ("en", "zh")
MIXED = "mixed"
GAP = {"en": " ", "zh": ""}
"""What stands between two words."""
_LONGEST_NAMED = 8
"""Characters of an answer that fits into a phrase."""

SAY = {
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
"""What authors say around their derivations. A Chinese answer begins with a pair of characters, as the tokenizer does."""


def _is_name(answer: str) -> bool:
    """Whether an answer is a number, a letter or a word, which a phrase can name."""
    return len(answer) <= _LONGEST_NAMED and answer.removeprefix("-").isalnum()


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought and the answer that it ends in (right or wrong)."""

    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Voice:
    """An author's habits, and the dice."""

    language: str
    """`en`, `zh`, or MIXED: either, line by line."""
    slip: float
    """Probability that a line of a first derivation is wrong."""
    check_slip: float
    """The same for a second or third one: whoever checks takes more care."""
    guess_right: float
    """Probability that an answer at once is right, where only a derivation could tell."""
    rng: random.Random

    def tongue(self) -> str:
        """The language of the next line."""
        return self.rng.choice(LANGUAGES) if self.language == MIXED else self.language

    def say(self, what: str, **values: str) -> str:
        """A phrase, or nothing where it would name an answer that is no name."""
        phrase = self.rng.choice(SAY[self.tongue()][what])
        if "{a}" in phrase and not _is_name(values["a"]):
            return ""
        return phrase.format(**values)

    def slips(self, slip: float) -> bool:
        """Whether a line is wrong."""
        return self.rng.random() < slip


class Item(Protocol):
    """A problem and how people think about it."""

    @property
    def problem(self) -> Problem:
        """The question with its gold answer."""
        ...

    @property
    def checks(self) -> bool:
        """Whether a second derivation can be compared with the first."""
        ...

    def derive(self, voice: Voice, slip: float) -> Thought:
        """One derivation, each line of it wrong with probability `slip`."""
        ...

    def guess(self, voice: Voice) -> str:
        """An answer at once."""
        ...


def derivation(item: Item, voice: Voice) -> Thought:
    """A derivation with an opening and, sometimes, a closing line."""
    first = item.derive(voice, voice.slip)
    close = voice.say("settle", a=first.answer) if voice.rng.random() < 0.3 else ""
    return Thought(voice.say("open") + first.text + close, first.answer)


def checked(item: Item, voice: Voice) -> Thought:
    """Derive, derive again, compare; settle a difference by a third derivation."""
    if not item.checks:
        return derivation(item, voice)
    first, second = item.derive(voice, voice.slip), item.derive(voice, voice.check_slip)
    text = voice.say("open") + first.text + voice.say("settle", a=first.answer)
    text += voice.say("check") + second.text
    both = {"a": first.answer, "b": second.answer}
    if first.answer == second.answer:
        return Thought(text + voice.say("same", **both), first.answer)
    third = item.derive(voice, voice.check_slip)
    # Two that agree win; of three different results the last is the most careful one.
    answer = first.answer if third.answer == first.answer else third.answer
    text += voice.say("differ", **both) + third.text
    return Thought(text + voice.say("settle", a=answer), answer)


def at_once(item: Item, voice: Voice) -> Thought:
    """An answer without working it out."""
    answer = item.guess(voice)
    return Thought(voice.say("guess", a=answer), answer)
