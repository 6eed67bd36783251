"""From a rollout to minibatches, one optimizer step each.

In: the sample indices of each group. Out: the indices of each minibatch. Left out: advantages, which are
computed before, so that every split sees the same ones.

Choices where the DeepSeek-R1 paper is silent:

1. The settings of R1-Zero's training (section 2) split outputs "randomly into 16 minibatches" and
   also say that each step has 32 unique questions, which a random split of outputs does not give.
   `by="group"` (the default) keeps 32 whole groups a step; `by="sample"` is the random split of
   outputs.
2. Where a rollout holds problems of several kinds (reasoning and general prompts), every minibatch holds as
   many of each as any other, up to one: a step on one kind alone would pull towards it, and the next one back.
"""

import random
from collections.abc import Hashable, Sequence
from typing import Literal

from dianoia.base.errors import ConfigError

_Unit = tuple[Hashable, Sequence[int]]


def split_minibatches(
    groups: Sequence[Sequence[int]],
    minibatches: int,
    by: Literal["group", "sample"] = "group",
    seed: int = 0,
    kinds: Sequence[Hashable] | None = None,
) -> list[list[int]]:
    """Split a rollout into minibatches of sample indices, shuffled by `seed`.

    `groups` holds the sample indices of each group. `by="group"` keeps groups together, so a
    minibatch has whole problems; `by="sample"` mixes the samples of all groups. `kinds` names the kind of each
    group; None takes them as one. Raises ConfigError when groups (or samples) do not divide evenly.
    """
    named = zip(kinds or [None] * len(groups), groups, strict=True)
    units: list[_Unit] = [
        (kind, unit)
        for kind, group in named
        for unit in ([group] if by == "group" else [(index,) for index in group])
    ]
    if minibatches < 1 or not units or len(units) % minibatches:
        raise ConfigError(
            f"{len(units)} {by}s cannot be split into {minibatches} equal minibatches, and unequal "
            "ones would be optimizer steps of unequal size. Choose a number of minibatches that "
            f"divides {len(units)}, or another number of problems."
        )
    order = list(dict.fromkeys(kind for kind, _ in units))
    random.Random(seed).shuffle(units)
    units = _mixed(units, order, minibatches)
    size = len(units) // minibatches
    return [
        [index for _, unit in units[start : start + size] for index in unit]
        for start in range(0, len(units), size)
    ]


def _mixed(units: list[_Unit], order: list[Hashable], minibatches: int) -> list[_Unit]:
    """Dealt like cards, kind after kind, to the minibatches; one kind stays as it was shuffled."""
    if len(order) == 1:
        return units
    sorted_ = sorted(units, key=lambda unit: order.index(unit[0]))
    return [unit for hand in range(minibatches) for unit in sorted_[hand::minibatches]]
