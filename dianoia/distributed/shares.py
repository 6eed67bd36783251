"""Work that the ranks share out: each does a part of the items, and all get every result.

Who does what depends on the costs alone, so that every rank knows it without asking. Not here: work whose length nobody knows
before it is done, which ranks take piece by piece (`RankGroup.claims`).
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from dianoia.distributed.group import ranks

T = TypeVar("T")
R = TypeVar("R")

CLAIMED_SHARE = 4
"""Chunks that an even part of what is left is claimed in."""


def shares_by_cost(costs: Sequence[float], parts: int) -> list[list[int]]:
    """Return the indices of each part in rising order: the dearest first, each to the part that has least so far."""
    shares: list[list[int]] = [[] for _ in range(parts)]
    loads = [0.0] * parts
    for index in sorted(range(len(costs)), key=lambda index: (-costs[index], index)):
        # Ties go to the lowest part, so that every rank computes the same shares.
        part = min(range(parts), key=lambda part: (loads[part], part))
        shares[part].append(index)
        # Items that cost nothing are shared out evenly too.
        loads[part] += max(costs[index], 1e-9)
    return [sorted(share) for share in shares]


def claimed_chunks(total: int, parts: int) -> list[range]:
    """Return the numbers from 0 to `total` - 1 in chunks that `parts` claim one after the other.

    A chunk is an even part of what is left, divided by CLAIMED_SHARE, and one number at the end: few claims, each of which waits for
    the process that counts them, and no part that still has much to do when the others are done (guided self-scheduling,
    Polychronopoulos and Kuck 1987).
    """
    chunks: list[range] = []
    start = 0
    while start < total:
        size = max(1, (total - start) // (CLAIMED_SHARE * parts))
        chunks.append(range(start, start + size))
        start += size
    return chunks


def share_out(
    items: Sequence[T],
    work: Callable[[Sequence[T]], Sequence[R]],
    costs: Sequence[float],
    verb: str,
    rank: int | None = None,
) -> list[R]:
    """Return the result of `work` for each item, in order; `work` is called with this rank's share of the items.

    Results of other ranks are copies. `verb` names the wait for them. `rank`: the one rank that does all the work.
    """
    group = ranks()
    shares = shares_by_cost(costs, group.size)
    if rank is not None:
        # All ranks take part in the exchange all the same, those without a share with an empty list.
        shares = [list(range(len(items))) if r == rank else [] for r in range(group.size)]
    mine = shares[group.rank]
    results: dict[int, R] = {}
    parts = group.gather(list(work([items[index] for index in mine])), verb)
    for share, part in zip(shares, parts, strict=True):
        results |= zip(share, part, strict=True)
    return [results[index] for index in range(len(items))]
