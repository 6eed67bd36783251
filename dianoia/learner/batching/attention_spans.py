"""Who sees whom among positions that lie end to end in one row.

In: lengths and places. Out: `Views`, two tensors of whole numbers on the CPU, for attention without padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

Span = tuple[int, int, int, int]
"""(start, length, before, count): positions from `start` on see `known[before : before + count]`, and themselves
causally."""


@dataclass(frozen=True, slots=True)
class Views:
    """R spans, of which no two overlap."""

    spans_R4: Tensor
    """int64, on the CPU."""
    known_K: Tensor
    """int64, on the CPU: the positions that spans see beside their own."""
    longest: int
    """Most positions that a span's last position sees."""

    @classmethod
    def of(cls, spans: Sequence[Span], known: Sequence[int] | Tensor) -> "Views":
        """Spans without positions are left out."""
        some = [span for span in spans if span[1]]
        longest = max((length + count for _, length, _, count in some), default=0)
        return cls(torch.tensor(some).view(-1, 4), torch.as_tensor(known), longest)

    @classmethod
    def end_to_end(cls, lengths: Sequence[int]) -> "Views":
        """Sequences one after another that know nothing of each other."""
        starts = accumulate(lengths, initial=0)
        return cls.of(
            [(start, length, 0, 0) for start, length in zip(starts, lengths, strict=False)], [0]
        )
