"""Generate gold answers of mathematics of every form, as public data sets write them, with forms that say the same
and forms that say something else.

In: a seed. Out: `Gold`s. The spellings are those of MATH, AIME, OpenR1-Math, DeepScaleR, NuminaMath, Omni-Math and
OlympiadBench: `\\frac12` beside `\\dfrac{1}{2}`, `32,\\!349` beside `32{,}349`, a unit in `\\text{}` or in `\\mbox{}`.
What only a generator knows, such as the terms of a polynomial or the corners of an interval, it hands over as named
forms in `Gold.same` and `Gold.different`; what can be done to any text is in `mutators.py`.

No gold answer holds the number of `INTRUDER`, which the mutators add to make an answer that says something else.
"""

import random
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

INTRUDER = "97"
NAMES = "xyztnkmab"


@dataclass(frozen=True, slots=True)
class Gold:
    """A gold answer with what its generator knows about it."""

    text: str
    kind: str
    key: Hashable
    """Two golds of one kind whose keys differ have different values, units aside."""
    question: str = ""
    number: Fraction | None = None
    """The exact value of a bare rational number: no unit, no percent sign, no name."""
    same: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Answers that say the same, by the name of the change."""
    different: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Answers that say something else, by the name of the change."""


Generator = Callable[[random.Random], Gold]


# Spellings ---------------------------------------------------------------------------------------


def spelled_fraction(top: int, bottom: int, draw: random.Random) -> str:
    """Spell top/bottom in LaTeX; the sign stands in front or in the numerator."""
    command = draw.choice((r"\frac", r"\frac", r"\dfrac", r"\tfrac"))
    sign, top = ("-" if top < 0 else ""), abs(top)
    if top < 10 and bottom < 10 and draw.random() < 0.3:
        return f"{sign}{command}{draw.choice(('', ' '))}{top}{bottom}"
    if sign and draw.random() < 0.2:
        return f"{command}{{-{top}}}{{{bottom}}}"
    return f"{sign}{command}{{{top}}}{{{bottom}}}"


def proper(draw: random.Random, most: int = 40) -> Fraction:
    """Draw a fraction that is no whole number."""
    while True:
        value = Fraction(draw.randint(1, most), draw.randint(2, most)) * draw.choice((1, 1, -1))
        if value.denominator > 1:
            return value


def whole(draw: random.Random, low: int = 2, high: int = 60, signed: bool = True) -> int:
    """Draw a whole number other than 0 whose digits do not hold the intruder's."""
    while True:
        value = draw.randint(low, high) * (draw.choice((1, 1, -1)) if signed else 1)
        if value and INTRUDER not in str(value):
            return value


def signed(value: int | str) -> str:
    """Write a term behind another one: with its sign."""
    text = str(value)
    return f" - {text[1:]}" if text.startswith("-") else f" + {text}"


def _distinct(draw: random.Random, count: int, low: int = -20, high: int = 40) -> list[int]:
    values: list[int] = []
    while len(values) < count:
        value = draw.randint(low, high)
        if value not in values and -value not in values:
            values.append(value)
    return values


def golds(generators: tuple[Generator, ...], count: int, seed: int) -> Iterator[Gold]:
    """Draw golds of each generator in turn, each text once."""
    draw = random.Random(seed)
    texts: set[str] = set()
    number = 0
    while len(texts) < count and number < 50 * count:
        gold = generators[number % len(generators)](draw)
        number += 1
        if gold.text not in texts and INTRUDER not in gold.text:
            texts.add(gold.text)
            yield gold
