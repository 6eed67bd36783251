"""Keys and values kept between steps: rows of prompts, shared by samples, and rows of responses.

A prompt row serves up to `members` samples of one request; each sample's row holds only its
response. So a prompt's keys are read once for all its samples, and nothing is copied when a sample
starts. Column 0 of a response row stays zero: it is the seat of the whole prompt in the response's
softmax. Shapes: prompt `[layers, rows, kv heads, prompt length, head]`, response `[layers, slots,
kv heads, 1 + response length, head]`, both for keys and for values. Left out: who sits where; that
is the sampler's business.
"""

from dataclasses import dataclass

import torch

from dianoia.sampler.native.weights import Shape


@dataclass(frozen=True, slots=True)
class CacheSizes:
    """How much a cache can hold."""

    slots: int
    """Samples at a time."""
    rows: int
    """Prompt rows."""
    members: int
    """Samples that one prompt row serves."""
    prompt: int
    """Tokens of the longest prompt."""
    response: int
    """Tokens of the longest response."""

    def covers(self, other: "CacheSizes") -> bool:
        """Whether a cache of this size can serve where the other is asked for."""
        return self.members == other.members and (
            self.slots >= other.slots
            and self.rows >= other.rows
            and self.prompt >= other.prompt
            and self.response >= other.response
        )


class Cache:
    """Buffers of keys and values for one `generate`."""

    def __init__(
        self, shape: Shape, sizes: CacheSizes, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Allocate zeros: what is not filled is masked, and a masked NaN would still be NaN."""

        def new(rows: int, length: int) -> torch.Tensor:
            size = (2, shape.layers, rows, shape.kv_heads, length, shape.head)
            return torch.zeros(size, dtype=dtype, device=device)

        self.sizes = sizes
        self.prompt = new(sizes.rows, sizes.prompt)
        self.response = new(sizes.slots, 1 + sizes.response)
        queries = (sizes.rows * shape.kv_heads * sizes.members, shape.repeats * shape.head)
        self.queries = torch.zeros(queries, dtype=dtype, device=device)

    def move(self, targets: torch.Tensor, sources: torch.Tensor, length: int) -> None:
        """Move response rows, `length` tokens of each; targets and sources may overlap."""
        filled = self.response[..., 1 : 1 + length, :]
        filled[:, :, targets] = filled[:, :, sources]

    def move_prompts(self, targets: torch.Tensor, sources: torch.Tensor, length: int) -> None:
        """Move prompt rows, `length` columns of each."""
        filled = self.prompt[..., :length, :]
        filled[:, :, targets] = filled[:, :, sources]
