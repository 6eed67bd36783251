"""Mathematics in the miniature: chains told as stories, in English and in Chinese, and their derivations.

A derivation is a running tally: the start, then one line per day of the story, `Monday +7=19`. After a line with a slip
all further lines build on the wrong value.
"""

import random
from dataclasses import dataclass

from dianoia.base.records import Problem
from dianoia.miniature.authors import LANGUAGES, WORD_GAP, Author, Thought
from dianoia.miniature.chains import (
    BOUNDS_IN_CORPUS,
    STEPS,
    Chain,
    Operation,
    Split,
    draw_chain,
    operations_on,
)

_NAMES = {
    "en": ("Tom", "Anna", "Sam", "Lily", "Ben", "Mia", "Max", "Eva"),
    "zh": ("小明", "小红", "小刚", "小丽"),
}
_COUNTED_THINGS = {
    "en": ("apples", "eggs", "books", "pens", "cups", "coins", "cards", "nuts"),
    "zh": ("苹果", "鸡蛋", "杯子", "橘子", "气球", "硬币"),
}
# Seven, as the longest chain has seven operations.
DAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "zh": ("周一", "周二", "周三", "周四", "周五", "周六", "周日"),
}
"""One day per operation. A line of a derivation names its day, so that a small model finds its place in the story."""
# Keys as in `_event`: `+` and `-` take any operand, the others are words for one sign and operand.
_EVENTS = {
    "en": {
        "+": ("gets {n} more", "buys {n} more", "finds {n} more"),
        "-": ("sells {n}", "loses {n}", "gives {n}"),
        "*2": ("doubles them",),
        "*3": ("triples them",),
        "/2": ("halves them",),
    },
    "zh": {
        "+": ("买了{n}个", "得到{n}个", "找到{n}个"),
        "-": ("卖掉{n}个", "丢了{n}个", "送出{n}个"),
        "*2": ("翻倍",),
        "*3": ("三倍",),
        "/2": ("减半",),
    },
}
_DAY_LABELS = {
    language: tuple(f"{day}{WORD_GAP[language]}" for day in days) for language, days in DAYS.items()
}


@dataclass(frozen=True, slots=True)
class Story:
    """A chain in words: the question and its language."""

    chain: Chain
    language: str
    question: str


def _event(operation: Operation, language: str, rng: random.Random) -> str:
    sign, n = operation.sign, operation.operand
    key = sign if sign in "+-" else f"{sign}{n}"
    return rng.choice(_EVENTS[language][key]).format(n=n)


def tell_story(chain: Chain, language: str, rng: random.Random) -> Story:
    """Put a chain into words; name, thing and verbs are drawn."""
    name, thing = rng.choice(_NAMES[language]), rng.choice(_COUNTED_THINGS[language])
    # A generator: the verbs are drawn when the diary is read, after name and thing.
    events = (_event(operation, language, rng) for operation in chain.operations)
    diary = zip(DAYS[language], events, strict=False)
    if language == "zh":
        days = "，".join(f"{day}{event}" for day, event in diary)
        return Story(chain, language, f"{name}有{chain.start}个{thing}，{days}。现在有几个？")
    days = ", ".join(f"{day} {event}" for day, event in diary)
    return Story(chain, language, f"{name} has {chain.start} {thing}, {days}. How many now?")


def tally(chain: Chain, labels: dict[str, tuple[str, ...]], author: Author, slip: float) -> Thought:
    """Write one derivation of a chain: one line per operation, each under its label in the line's language.

    `slip` is the probability per line that its value is wrong.
    """
    operations, value = chain.operations, chain.start
    lines = [f"{value}\n"]
    for index, operation in enumerate(operations):
        value = operation.apply(value)
        if author.slips(slip):
            value = wrong_value(value, operations[index + 1 :], author.rng)
        # The language is drawn after the slip: `rng` is shared, so that the order of the draws is part of the result.
        label = labels[author.line_language()][index]
        lines.append(f"{label}{operation.sign}{operation.operand}={value}\n")
    return Thought("".join(lines), str(value))


def guessed_result(chain: Chain, author: Author) -> str:
    """Return an answer at once: right with probability `guess_right`, otherwise near the result."""
    if author.rng.random() < author.guess_right:
        return str(chain.result)
    return str(near_result(chain, author.rng))


@dataclass(frozen=True, slots=True)
class StoryItem:
    """A story as a problem, with its derivations."""

    story: Story
    checks: bool = True

    @property
    def problem(self) -> Problem:
        """The problem; its id is the language and the chain's signature."""
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

    def derive(self, author: Author, slip: float) -> Thought:
        """Write a tally by days."""
        return tally(self.story.chain, _DAY_LABELS, author, slip)

    def guess(self, author: Author) -> str:
        """Return an answer at once, see `guessed_result`."""
        return guessed_result(self.story.chain, author)


def draw_story(rng: random.Random, split: Split, *, in_corpus: bool = False) -> StoryItem:
    """Draw a story of uniform difficulty, in either language; the corpus has smaller numbers."""
    chain = draw_chain(rng, rng.choice(STEPS), split, in_corpus=in_corpus)
    return StoryItem(tell_story(chain, rng.choice(LANGUAGES), rng))


def page_of_sums(rng: random.Random) -> str:
    """Write a page of single sums, one per line."""
    sums = []
    for _ in range(16):
        # The same bounds as in chains of the corpus: the drills cover every single step of those.
        bounds = BOUNDS_IN_CORPUS[rng.choice(STEPS)]
        value = rng.randint(1, bounds.value)
        operation = rng.choice(operations_on(value, bounds, rng))
        sums.append(f"{value}{operation.sign}{operation.operand}={operation.apply(value)}")
    return "\n".join(sums)


def wrong_value(value: int, remaining: tuple[Operation, ...], rng: random.Random) -> int:
    """Return a wrong result that a person might write for `value`, with the steps `remaining` still to follow.

    Where possible it is one on which the remaining steps can be built: every later value is at least 1 and every halving
    comes out even, so that lines without a slip are true.
    """
    # Off by one, by two or by a ten, as slips of people are.
    candidates = [value + error for error in (-10, -2, -1, 1, 2, 10)]
    return rng.choice([wrong for wrong in candidates if _carries(wrong, remaining)] or candidates)


def _carries(value: int, operations: tuple[Operation, ...]) -> bool:
    """Return True if all values of the steps on `value` are whole and positive."""
    for operation in operations:
        if value < 1 or (operation.sign == "/" and value % operation.operand):
            return False
        value = operation.apply(value)
    return value >= 1


def near_result(chain: Chain, rng: random.Random) -> int:
    """Return a wrong guess that looks like an answer to `chain`."""
    while True:
        # Near enough to be learnt as a habit of guessing, and never right: `guess_right` alone says how often it is.
        guess = chain.result + rng.randint(-15, 15)
        if guess != chain.result and guess >= 1:
            return guess
