"""Selection of responses to annotate: each is kept, or left out for exactly one reason.

In: the responses to one problem, of all checkpoints. Out: reasons, and pairs to compare. Pure functions, no torch.

Decisions where DeepSeek-R1 (section B.2) is silent:
1. Truncated and malformed responses are left out: neither has a final part that an annotator could take for
   the whole answer.
2. Responses to one problem whose visible parts are equal are one response: the first one stays.
3. Pairs are drawn uniformly from all pairs of different responses, and so is the order within a pair.
"""

import random
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from itertools import combinations
from typing import Any


class Unjudged(StrEnum):
    """Reasons for which a response is not in the data set, in the order in which they are tried."""

    TRUNCATED = "truncated"
    """Cut at the length limit."""
    MALFORMED = "malformed"
    """Breaks a rule of the template."""
    EMPTY = "empty"
    """The annotator would see nothing: only tags follow the thought."""
    DUPLICATE = "duplicate"
    """The annotator would see the same as of another response to the problem."""
    UNPAIRED = "unpaired"
    """Not drawn into a pair, or nothing to pair it with."""
    UNREADABLE = "unreadable"
    """The annotator gave no label."""


def first_of_each(texts: Sequence[str]) -> list[bool]:
    """Return True for each text that equals no earlier one, up to white space at the ends."""
    earlier: set[str] = set()
    is_first = []
    for text in map(str.strip, texts):
        is_first.append(text not in earlier)
        earlier.add(text)
    return is_first


def draw_pairs(count: int, most: int, key: str) -> list[tuple[int, int]]:
    """Draw at most `most` different pairs of `count` responses, as indices; `key` seeds the draw."""
    rng = random.Random(key)
    pairs = list(combinations(range(count), 2))
    # All pairs are listed: there are few responses per problem.
    sample = rng.sample(pairs, min(most, len(pairs)))
    return [pair if rng.random() < 0.5 else pair[::-1] for pair in sample]


def tally(reasons: Sequence[str | None]) -> dict[str, Any]:
    """Count responses: sampled, kept, and left out by reason in the order of `Unjudged`; None is kept."""
    counts = Counter(reasons)
    left_out = {reason.value: counts[reason] for reason in Unjudged if counts[reason]}
    return {"sampled": len(reasons), "kept": counts[None], "left_out": left_out}
