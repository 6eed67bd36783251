"""The miniature's problems, domain by domain: endless or repeated for training, a fixed list held out."""

import random
from collections.abc import Callable, Mapping
from functools import partial

from dianoia.base.records import Problem
from dianoia.miniature.chains import Split
from dianoia.miniature.code import draw_function, draw_print
from dianoia.miniature.harms import draw_ask
from dianoia.miniature.requests import draw_request
from dianoia.miniature.stories import draw_story
from dianoia.miniature.things import draw_choice
from dianoia.miniature.turns import draw_turns
from dianoia.miniature.voice import LANGUAGES, Item

Draw = Callable[[random.Random, Split], Item]


def draw_logic(rng: random.Random, split: Split) -> Item:
    """A puzzle, or a program and what it prints."""
    return rng.choice((draw_turns, draw_print))(rng, split)


_REASONING: Mapping[str, tuple[Draw, int]] = {
    "math": (draw_story, 4),
    "code": (draw_function, 2),
    "stem": (draw_choice, 1),
    "logic": (draw_logic, 2),
}
"""How an item of a domain is drawn, and how many of nine reasoning problems are of it."""
_UNSAFE: Draw = partial(draw_ask, harmful=True)
_NEAR_MISS: Draw = partial(draw_ask, harmful=False)

_SETS: Mapping[str, tuple[tuple[Draw, int], ...]] = {
    **{name: ((draw, 1),) for name, (draw, _) in _REASONING.items()},
    "reasoning": tuple(_REASONING.values()),
    "general": ((draw_request, 1),),
    "near-miss": ((_NEAR_MISS, 1),),
    "unsafe": ((_UNSAFE, 1),),
    "helpful": ((draw_request, 2), (_NEAR_MISS, 1)),
    "safety": ((_UNSAFE, 1), (_NEAR_MISS, 1)),
    "all": (
        *((draw, 1) for draw, _ in _REASONING.values()),
        (draw_request, 1),
        (_NEAR_MISS, 1),
        (_UNSAFE, 1),
    ),
}
SETS = tuple(_SETS)
"""Names of the problem sets, without their prefix."""
_TRIES = 20_000
"""Draws without anything new after which a set of held-out problems is taken to be complete: the rarest request comes
once in about 1,200."""


class MiniatureProblems:
    """One set. Training problems are numbered without end; one seed names one stream."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._draws = [draw for draw, weight in _SETS[name] for _ in range(weight)]

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        """Training problems `start` to `start + count - 1` of the stream that `seed` names.

        The domains of a mixed set follow one another in a fixed order, so that every batch has all of them.
        """
        return [self._training_problem(seed, index) for index in range(start, start + count)]

    def _training_problem(self, seed: int, index: int) -> Problem:
        rng = random.Random(f"train-{self.name}-{seed}-{index}")
        return self._draws[index % len(self._draws)](rng, Split.TRAIN).problem

    def heldout(self, limit: int) -> list[Problem]:
        """The first `limit` of a fixed list of held-out problems, all different; fewer if there are no more."""
        found: dict[str, Problem] = {}
        rng, tries, place = random.Random(f"heldout-{self.name}"), 0, 0
        while len(found) < limit and tries < _TRIES:
            problem = self._draws[place % len(self._draws)](rng, Split.HELDOUT).problem
            new = problem.id not in found
            tries = 0 if new else tries + 1
            place += 1
            found.setdefault(problem.id, problem)
        return list(found.values())

    @property
    def languages(self) -> frozenset[str]:
        """English and Chinese."""
        return frozenset(LANGUAGES)
