"""Which stage comes next where several run side by side: pure, over names and what each needs. No torch.

A stage is ready once all that it reads is done. Among those that are ready the one with the longest chain of
dependents goes first, so that the chain that takes longest is never kept waiting; among equals, the first.
"""

from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def chains(needs: Mapping[K, Collection[K]]) -> dict[K, int]:
    """How many stages the longest chain has that depends on each; `needs` names a stage after those that it needs."""
    length = dict.fromkeys(needs, 0)
    for stage in reversed(list(needs)):
        for source in needs[stage]:
            length[source] = max(length[source], length[stage] + 1)
    return length


def next_up(needs: Mapping[K, Collection[K]], begun: Collection[K], done: Collection[K]) -> list[K]:
    """The stages that could begin now, in the order in which they should."""
    ready = [k for k in needs if k not in begun and all(source in done for source in needs[k])]
    length = chains(needs)
    return sorted(ready, key=lambda stage: -length[stage])
