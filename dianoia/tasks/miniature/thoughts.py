"""How the miniature's authors think on paper: derivations that slip, checks that catch slips, guesses.

A derivation keeps a tally: the start, then a line a day of the story, `Monday +7=19`. With probability `slip` a line's result is
wrong, and everything after it builds on the wrong value. A checked derivation derives a second time,
independently and with more care (`check_slip`), compares the two results, and settles a difference by a third
derivation: the value that two of the three agree on wins. So reflection carries information by construction of
the world, not of the reward.

The thought's language is the question's, the other one, or a mixture line by line.
"""

import random
from dataclasses import dataclass

from dianoia.tasks.miniature.chains import LARGEST, Chain, Operation
from dianoia.tasks.miniature.wording import DAYS, Story

MIXED = "mixed"

_GAP = {"en": " ", "zh": ""}

_SAY = {
    "en": {
        "open": ("", "Let me count.\n", "Step by step.\n"),
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
        "open": ("", "我来数。\n", "一步一步。\n"),
        "check": ("等等，检查一下。\n", "我来验证。\n", "再检查。\n"),
        "same": ("先是{a}，现在{b}。一样。\n",),
        "differ": (
            "先是{a}，现在{b}。但是不同。重新算。\n",
            "先是{a}，现在{b}。不对，再来。\n",
        ),
        "settle": ("所以是{a}。\n", "是{a}。\n"),
        "guess": ("", "", "", "简单。\n", "我知道。\n", "是{a}。\n"),
    },
}


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought and the answer that it ends in (right or wrong)."""

    text: str
    answer: int


class Author:
    """Writes thoughts about one story in one language habit, drawing from `rng`."""

    def __init__(
        self, story: Story, language: str, slip: float, check_slip: float, rng: random.Random
    ) -> None:
        self.story, self.language, self.rng = story, language, rng
        self.slip, self.check_slip = slip, check_slip

    def _tongue(self) -> str:
        return self.rng.choice(("en", "zh")) if self.language == MIXED else self.language

    def _say(self, what: str, **values: int) -> str:
        return self.rng.choice(_SAY[self._tongue()][what]).format(**values)

    def derive(self, slip: float) -> Thought:
        """One derivation, a line a day, slipping with probability `slip` a line."""
        operations, value = self.story.chain.operations, self.story.chain.start
        lines = [f"{value}\n"]
        for index, operation in enumerate(operations):
            value = operation.apply(value)
            if self.rng.random() < slip:
                value = slipped(value, operations[index + 1 :], self.rng)
            tongue = self._tongue()
            day = DAYS[tongue][index] + _GAP[tongue]
            lines.append(f"{day}{operation.sign}{operation.operand}={value}\n")
        return Thought("".join(lines), value)

    def derivation(self) -> Thought:
        """A derivation with an opening and, sometimes, a closing line."""
        first = self.derive(self.slip)
        close = self._say("settle", a=first.answer) if self.rng.random() < 0.3 else ""
        return Thought(self._say("open") + first.text + close, first.answer)

    def checked(self) -> Thought:
        """Derive, derive again, compare; settle a difference by a third derivation."""
        first, second = self.derive(self.slip), self.derive(self.check_slip)
        text = self._say("open") + first.text + self._say("settle", a=first.answer)
        text += self._say("check") + second.text
        both = {"a": first.answer, "b": second.answer}
        if first.answer == second.answer:
            return Thought(text + self._say("same", **both), first.answer)
        third = self.derive(self.check_slip)
        # Two that agree win; of three different results the last is the most careful one.
        answer = first.answer if third.answer == first.answer else third.answer
        text += self._say("differ", **both) + third.text
        return Thought(text + self._say("settle", a=answer), answer)

    def guess(self, right: float) -> Thought:
        """An answer at once: right with probability `right`, else somewhere near."""
        answer = self.story.chain.result
        if self.rng.random() >= right:
            answer = near(self.story.chain, self.rng)
        return Thought(self._say("guess", a=answer), answer)


def slipped(value: int, rest: tuple[Operation, ...], rng: random.Random) -> int:
    """A wrong result that a person might write for `value`, with the steps of `rest` to follow.

    Where there is a choice, one on which the rest can be built: every later value is at least 1 and every
    halving comes out even, so that lines without a slip are true.
    """
    wrong = [value + error for error in (-10, -2, -1, 1, 2, 10)]
    return rng.choice([one for one in wrong if _carries(one, rest)] or wrong)


def _carries(value: int, rest: tuple[Operation, ...]) -> bool:
    """Whether steps applied to `value` stay whole and positive."""
    for operation in rest:
        if value < 1 or (operation.sign == "/" and value % operation.operand):
            return False
        value = operation.apply(value)
    return value >= 1


def near(chain: Chain, rng: random.Random) -> int:
    """A guess that looks like an answer to `chain` without having worked it out."""
    while True:
        wrong = chain.result + rng.randint(-15, 15)
        if wrong != chain.result and 1 <= wrong <= LARGEST:
            return wrong
