"""Which responses are judged: every response has one verdict, kept or one reason for being left out.

In: the responses to one problem, of all checkpoints. Out: reasons, and pairs to compare. Pure functions, no torch.

Decisions where DeepSeek-R1 (section B.2) is silent:
1. Truncated and malformed responses are left out: neither has a final part of which a judge could say that it is
   the whole answer.
2. Responses to one problem that show the judge the same are one response: the first one stays.
3. Pairs are drawn evenly from all pairs of responses that differ, and so is which of the two is response 0.
"""

import random
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from itertools import combinations
from typing import Any


class Unjudged(StrEnum):
    """Why a response is not in the data set, in the order in which reasons are tried."""

    TRUNCATED = "truncated"
    """Cut at the length limit."""
    MALFORMED = "malformed"
    """Breaks a rule of the template."""
    EMPTY = "empty"
    """The judge would see nothing: no more than tags stand after the thought."""
    DUPLICATE = "duplicate"
    """The judge would see the same as of another response to the problem."""
    UNPAIRED = "unpaired"
    """Not drawn into a pair, or nothing to pair it with."""
    UNREADABLE = "unreadable"
    """The judge gave no label."""


def first_of_each(shown: Sequence[str]) -> list[bool]:
    """For each text whether it is the first of its kind, white space at the ends aside."""
    seen: set[str] = set()
    found = []
    for text in map(str.strip, shown):
        found.append(text not in seen)
        seen.add(text)
    return found


def draw_pairs(count: int, most: int, key: str) -> list[tuple[int, int]]:
    """At most `most` different pairs of `count` responses, as indices; `key` seeds the draw."""
    rng = random.Random(key)
    every = list(combinations(range(count), 2))
    drawn = rng.sample(every, min(most, len(every)))
    return [pair if rng.random() < 0.5 else pair[::-1] for pair in drawn]


def tally(reasons: Sequence[str | None]) -> dict[str, Any]:
    """Sampled, kept, and left out by reason in the order of `Unjudged`; None is kept."""
    counts = Counter(reasons)
    left_out = {reason.value: counts[reason] for reason in Unjudged if counts[reason]}
    return {"sampled": len(reasons), "kept": counts[None], "left_out": left_out}
