"""Mathematics in the miniature: chains told as stories, and how people follow them.

A derivation keeps a tally: the start, then a line a day of the story, `Monday +7=19`. After a line that slips
everything builds on the wrong value.
"""

import random
from dataclasses import dataclass

from dianoia.base.records import Problem
from dianoia.miniature.chains import (
    LARGEST,
    STEPS,
    Chain,
    Operation,
    Split,
    draw_chain,
    operations_on,
)
from dianoia.miniature.voice import GAP, LANGUAGES, Thought, Voice
from dianoia.miniature.wording import DAYS, Story, tell


def tally(chain: Chain, labels: dict[str, tuple[str, ...]], voice: Voice, slip: float) -> Thought:
    """One derivation of a chain, a line an operation, each under its label in the line's language."""
    operations, value = chain.operations, chain.start
    lines = [f"{value}\n"]
    for index, operation in enumerate(operations):
        value = operation.apply(value)
        if voice.slips(slip):
            value = slipped(value, operations[index + 1 :], voice.rng)
        lines.append(
            f"{labels[voice.tongue()][index]}{operation.sign}{operation.operand}={value}\n"
        )
    return Thought("".join(lines), str(value))


def guessed(chain: Chain, voice: Voice) -> str:
    """An answer at once: right with probability `guess_right`, else somewhere near."""
    if voice.rng.random() < voice.guess_right:
        return str(chain.result)
    return str(near(chain, voice.rng))


_DAY_LABELS = {
    tongue: tuple(f"{day}{GAP[tongue]}" for day in days) for tongue, days in DAYS.items()
}


@dataclass(frozen=True, slots=True)
class StoryItem:
    """A story as people meet it."""

    story: Story
    checks: bool = True

    @property
    def problem(self) -> Problem:
        """Its id is the chain's signature and the language."""
        story = self.story
        return Problem(
            id=f"{story.language}:{story.chain.signature}",
            question=story.question,
            answer=str(story.chain.result),
            verifier="number",
            domain="math",
            language=story.language,
            difficulty=len(story.chain.operations),
        )

    def derive(self, voice: Voice, slip: float) -> Thought:
        """A tally by days."""
        return tally(self.story.chain, _DAY_LABELS, voice, slip)

    def guess(self, voice: Voice) -> str:
        """As `guessed`."""
        return guessed(self.story.chain, voice)


def draw_story(rng: random.Random, split: Split) -> StoryItem:
    """A story of uniform difficulty, in either language."""
    chain = draw_chain(rng, rng.choice(STEPS), split)
    return StoryItem(tell(chain, rng.choice(LANGUAGES), rng))


def sums(rng: random.Random) -> str:
    """A page of single sums."""
    found = []
    for _line in range(16):
        value = rng.randint(1, LARGEST)
        operation = rng.choice(operations_on(value, rng))
        found.append(f"{value}{operation.sign}{operation.operand}={operation.apply(value)}")
    return "\n".join(found)


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
