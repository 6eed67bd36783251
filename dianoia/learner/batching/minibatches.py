"""From a rollout to minibatches, one optimizer step each.

In: the sample indices of each group. Out: the indices of each minibatch. Left out: advantages, which are computed before,
so that every split sees the same ones.

Choices where the DeepSeek-R1 paper is silent:

1. The settings of R1-Zero's training (section 2) split outputs "randomly into 16 minibatches" and also say that each step
   has 32 unique questions, which a random split of outputs does not give. `by="group"` (the default) keeps 32 whole groups
   per step; `by="sample"` is the random split of outputs.
2. Where a rollout holds problems of several sets (reasoning and general prompts), every minibatch holds as many of each as
   any other, up to one: a step on one set alone would pull towards it, and the next one back.
"""

import random
from collections.abc import Hashable, Sequence
from typing import Literal

from dianoia.base.errors import ConfigError

_Unit = tuple[Hashable, Sequence[int]]
"""The problem set, and the sample indices that stay together."""


def split_minibatches(
    groups: Sequence[Sequence[int]],
    minibatches: int,
    by: Literal["group", "sample"] = "group",
    seed: int = 0,
    problem_sets: Sequence[Hashable] | None = None,
) -> list[list[int]]:
    """Split a rollout into minibatches of sample indices, shuffled by `seed`.

    `groups` holds the sample indices of each group. `by="group"` keeps groups together, so a minibatch has whole problems;
    `by="sample"` mixes the samples of all groups. `problem_sets` names the set of each group; None takes them as one.
    Raises ConfigError when groups (or samples) do not divide evenly.
    """
    sets = problem_sets or [None] * len(groups)
    units: list[_Unit] = [
        (problem_set, unit)
        for problem_set, group in zip(sets, groups, strict=True)
        for unit in ([group] if by == "group" else [(index,) for index in group])
    ]
    if minibatches < 1 or not units or len(units) % minibatches:
        raise ConfigError(
            f"{len(units)} {by}s cannot be split into {minibatches} equal minibatches, and unequal "
            "ones would be optimizer steps of unequal size. Choose a number of minibatches that "
            f"divides {len(units)}, or another number of problems."
        )
    # The order of the sets before shuffling, so that it does not depend on the seed.
    order = list(dict.fromkeys(problem_set for problem_set, _ in units))
    random.Random(seed).shuffle(units)
    units = _spread_sets(units, order, minibatches)
    # Consecutive units now belong together.
    size = len(units) // minibatches
    return [
        [index for _, unit in units[start : start + size] for index in unit]
        for start in range(0, len(units), size)
    ]


def _spread_sets(units: list[_Unit], order: list[Hashable], minibatches: int) -> list[_Unit]:
    """Deal the units set by set to the minibatches, round-robin; a single set stays as it was shuffled."""
    if len(order) == 1:
        return units
    by_set = sorted(units, key=lambda unit: order.index(unit[0]))
    return [unit for first in range(minibatches) for unit in by_set[first::minibatches]]
