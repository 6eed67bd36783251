"""How samples become epochs, optimizer steps and packed rows: arithmetic on lengths, without torch.

In: lengths in tokens and plain numbers. Out: lists of indices. A sample is repeated, then shuffled with the others of its
epoch, then put into an optimizer step by the number of its tokens; the samples of a step are laid end to end in rows, which
changes memory and speed and never the loss.

Choices where the DeepSeek-R1 paper is silent:

1. Epochs follow one another without a gap, so that only the very last step may be small.
2. A row is filled best-fit from the longest sample down; nothing is ever split over two rows.
"""

import random
from bisect import bisect_left, insort
from collections.abc import Sequence


def epoch_order(copies_S: Sequence[int], seed: int, epoch: int) -> list[int]:
    """Return indices of samples, each as often as `copies_S` says, in an order of this seed and epoch."""
    order = [index for index, count in enumerate(copies_S) for _ in range(count)]
    # A text as seed is hashed by SHA-512, so the order is the same in every process.
    random.Random(f"epoch-{seed}-{epoch}").shuffle(order)
    return order


def optimizer_steps(
    lengths_S: Sequence[int], copies_S: Sequence[int], *, epochs: int, tokens: int, seed: int
) -> list[list[int]]:
    """Return indices of the samples of each optimizer step: as many as have `tokens` tokens, and at least one."""
    steps: list[list[int]] = []
    room = 0
    for epoch in range(epochs):
        for index in epoch_order(copies_S, seed, epoch):
            # A sample longer than a step still is one.
            if not steps or lengths_S[index] > room:
                steps.append([])
                room = tokens
            steps[-1].append(index)
            room -= lengths_S[index]
    return steps


def length_buckets(lengths: Sequence[int], limit: int, replicas: int = 1) -> list[list[int]]:
    """Return indices longest first, in batches of at most `limit` positions once padded to their longest.

    A longer sample gets its own batch. Where there are samples enough, each of `replicas` gets a batch. Deterministic.
    """
    # Rounded up, so that as many batches as replicas hold all.
    fair_share = max(1, -(-len(lengths) // replicas))
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if room == 0:
            batches.append([])
            # The first sample of a batch is its longest, so it says how many fit.
            room = min(fair_share, max(1, limit // lengths[index]))
        batches[-1].append(index)
        room -= 1
    return batches


def pack(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Return indices of the samples of each row of at most `limit` tokens; a longer sample gets its own row.

    Longest first, each into the fullest row that has room for it (best-fit decreasing). Deterministic.
    """
    rows: list[list[int]] = []
    open_rows: list[tuple[int, int]] = []  # (room, row), the least room first
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        # The fullest row with room for this sample; without one, a new row.
        best = bisect_left(open_rows, (lengths[index], -1))
        room, row = open_rows.pop(best) if best < len(open_rows) else (limit, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(index)
        if room > lengths[index]:
            insort(open_rows, (room - lengths[index], row))
    return rows
