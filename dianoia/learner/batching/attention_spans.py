"""Which positions attend to which, among positions that lie end to end in one row.

In: lengths and positions. Out: `AttentionSpans`, two tensors of whole numbers on the CPU, for attention without padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

Span = tuple[int, int, int, int]
"""(start, length, context start, context length): positions from `start` on attend to this part of `context_K`, and to
themselves causally."""


@dataclass(frozen=True, slots=True)
class AttentionSpans:
    """R spans, of which no two overlap."""

    spans_R4: Tensor
    """int64, on the CPU: a `Span` per row."""
    context_K: Tensor
    """int64, on the CPU: the positions that spans attend to outside of themselves."""
    longest: int
    """Most positions that a span's last position attends to."""

    @classmethod
    def of(cls, spans: Sequence[Span], context: Sequence[int] | Tensor) -> "AttentionSpans":
        """Build from spans; those without positions are left out."""
        filled = [span for span in spans if span[1]]
        longest = max((length + count for _, length, _, count in filled), default=0)
        return cls(torch.tensor(filled).view(-1, 4), torch.as_tensor(context), longest)

    @classmethod
    def end_to_end(cls, lengths: Sequence[int]) -> "AttentionSpans":
        """Build for sequences one after another that do not attend to each other."""
        starts = accumulate(lengths, initial=0)
        return cls.of(
            [(start, length, 0, 0) for start, length in zip(starts, lengths, strict=False)], [0]
        )
