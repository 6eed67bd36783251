"""The miniature's problem sets: numbered training problems without end, and a fixed list of held-out problems."""

import random
from collections import deque
from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from itertools import islice
from threading import Lock

from dianoia.base.records import Problem
from dianoia.miniature.authors import LANGUAGES, Item
from dianoia.miniature.chains import Split
from dianoia.miniature.choices import draw_choice
from dianoia.miniature.logic import draw_turns
from dianoia.miniature.programs import draw_function, draw_print
from dianoia.miniature.requests import draw_request
from dianoia.miniature.safety import draw_safety_request
from dianoia.miniature.stories import draw_story

Draw = Callable[[random.Random, Split], Item]


def draw_logic(rng: random.Random, split: Split, *, in_corpus: bool = False) -> Item:
    """Draw a puzzle about turns, or a program and what it prints; the corpus has smaller numbers."""
    return rng.choice((draw_turns, partial(draw_print, in_corpus=in_corpus)))(rng, split)


_REASONING: Mapping[str, tuple[Draw, int]] = {
    "math": (draw_story, 4),
    "code": (draw_function, 2),
    "stem": (draw_choice, 1),
    "logic": (draw_logic, 2),
}
"""Generator of each domain, and how many of nine reasoning problems it makes."""
_UNSAFE: Draw = partial(draw_safety_request, harmful=True)
_NEAR_MISS: Draw = partial(draw_safety_request, harmful=False)

# Generators and weights. A weight is the number of times in a row that a generator is used in each cycle of
# `MiniatureProblems`, so small numbers mix best.
_SETS: Mapping[str, tuple[tuple[Draw, int], ...]] = {
    **{name: ((draw, 1),) for name, (draw, _) in _REASONING.items()},
    "reasoning": tuple(_REASONING.values()),
    "general": ((draw_request, 1),),
    "near-miss": ((_NEAR_MISS, 1),),
    "unsafe": ((_UNSAFE, 1),),
    "helpful": ((draw_request, 2), (_NEAR_MISS, 1)),
    "safety": ((_UNSAFE, 1), (_NEAR_MISS, 1)),
    "all": (
        # Each domain once, so that a short evaluation sees all of them.
        *((draw, 1) for draw, _ in _REASONING.values()),
        (draw_request, 1),
        (_NEAR_MISS, 1),
        (_UNSAFE, 1),
    ),
}
SETS = tuple(_SETS)
"""Names of the problem sets, without their prefix."""
_TRIES = 20_000
"""After this many draws without a new problem a held-out list is complete: the rarest request comes once in about 1,200
draws."""


class MiniatureProblems:
    """One problem set, a `ProblemSource`. Training problems are numbered without end; one seed names one stream."""

    def __init__(self, name: str) -> None:
        self.name = name

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        """Return training problems `start` to `start + count - 1` of the stream that `seed` names.

        The domains of a mixed set alternate in a fixed order, so that every batch has all of them.
        """
        return [training_problem(self.name, seed, index) for index in range(start, start + count)]

    def heldout(self, limit: int) -> list[Problem]:
        """Return the first `limit` of a fixed list of held-out problems, all different; fewer if there are no more.

        The domains of a mixed set alternate as in training, until all problems of a domain are listed.
        """
        return heldout_list(self.name).first(limit)

    @property
    def languages(self) -> frozenset[str]:
        """English and Chinese."""
        return frozenset(LANGUAGES)


@cache
def _draws(name: str) -> tuple[Draw, ...]:
    """Return the generators of one cycle of a problem set, each as often as its weight says."""
    return tuple(draw for draw, weight in _SETS[name] for _ in range(weight))


# The check of a recipe, its plan and its stages draw the same problems. Bounded: training draws new ones without end.
@lru_cache(maxsize=2**14)
def training_problem(name: str, seed: int, index: int) -> Problem:
    """Return problem `index` of the stream that `seed` names of the set `name`."""
    # A generator per problem: problem `index` is the same wherever a run resumes.
    # A text as seed is hashed by its bytes, the same in every process, unlike `hash`.
    rng = random.Random(f"train-{name}-{seed}-{index}")
    draws = _draws(name)
    return draws[index % len(draws)](rng, Split.TRAIN).problem


class HeldoutList:
    """The held-out problems of a set, drawn as far as somebody has asked for them."""

    def __init__(self, name: str) -> None:
        # No seed of a run and no limit: every run has the same list, and a smaller limit gives a beginning of it.
        self._rng = random.Random(f"heldout-{name}")
        self._draws = deque(_draws(name))
        """The first has its turn."""
        self._problems: dict[str, Problem] = {}
        self._lock = Lock()
        """A server's threads share the list."""

    def first(self, limit: int) -> list[Problem]:
        """Return the first `limit` problems; fewer if the list is complete."""
        with self._lock:
            while len(self._problems) < limit and self._draws:
                problem = self._draw_new(draw := self._draws[0])
                if problem is None:
                    # All of this domain are listed; the others go on.
                    self._draws = deque(other for other in self._draws if other is not draw)
                else:
                    self._problems[problem.id] = problem
                    self._draws.rotate(-1)
            return list(islice(self._problems.values(), limit))

    def _draw_new(self, draw: Draw) -> Problem | None:
        """Return a problem that is not in the list; None if many draws bring no such problem."""
        for _ in range(_TRIES):
            problem = draw(self._rng, Split.HELDOUT).problem
            if problem.id not in self._problems:
                return problem
        return None


heldout_list = cache(HeldoutList)
"""Returns the list of a set, the same object each time."""
