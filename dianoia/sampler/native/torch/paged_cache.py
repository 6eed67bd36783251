"""The paged KV cache on a device, and how many pages its memory has room for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dianoia.hardware.machine import main_memory
from dianoia.sampler.native.torch.page_pool import PAGE, SCRATCH, pages_for
from dianoia.sampler.native.weights import ModelShape


class PagedCache:
    """Keys and values `[layers, pages + 1, PAGE, K, D]`, with page SCRATCH for rows that no sample has."""

    def __init__(
        self, shape: ModelShape, pages: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Allocate room for `pages` pages."""
        # One more: page 0 is SCRATCH, which is handed out to nobody.
        size = (shape.layers, pages + 1, PAGE, shape.kv_heads, shape.head)
        self.pages = pages
        # zeros, because a masked NaN would still be NaN
        self.keys, self.values = (torch.zeros(size, dtype=dtype, device=device) for _ in range(2))

    @property
    def bytes(self) -> int:
        """Memory of both buffers."""
        return 2 * self.keys.numel() * self.keys.element_size()

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """Return keys and values of a layer."""
        return self.keys[index], self.values[index]

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy pages, given as (source, target)."""
        if pairs:
            sources, targets = torch.tensor(pairs).t().to(self.keys.device)
            for states in (self.keys, self.values):
                states[:, targets] = states[:, sources]


@dataclass(frozen=True, slots=True)
class CacheSize:
    """Size of a cache, and of what is kept per slot."""

    slots: int
    """Most samples that are decoded at a time."""
    pages: int
    tokens: int
    """Tokens of the longest prompt and response together."""
    response: int
    """Tokens of the longest response."""

    def covers(self, other: "CacheSize") -> bool:
        """Return True if there is room for all of `other`."""
        return (
            self.slots >= other.slots
            and self.pages >= other.pages
            and self.tokens >= other.tokens
            and self.response >= other.response
        )


def page_bytes(shape: ModelShape, dtype: torch.dtype) -> int:
    """Return the bytes of a page over all layers, keys and values."""
    return 2 * shape.layers * PAGE * shape.kv_heads * shape.head * dtype.itemsize


def page_count(slots: int, tokens: int, limit: int) -> int:
    """Return how many pages serve `slots` samples of at most `tokens` tokens: enough for all at full length, or `limit`.

    Never fewer than the longest sample needs alone, so that each can end.
    """
    longest = pages_for(tokens)
    # what is read before a slot is free takes pages too
    enough = slots * longest + slots // 4 + longest + 1
    return max(longest, min(enough, limit))


def pages_in_memory(
    shape: ModelShape, dtype: torch.dtype, device: torch.device, share: float
) -> int:
    """Return how many pages fit into a share of the memory that is free on a GPU, or of a CPU's main memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # what PyTorch's allocator holds and nobody uses is free too
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    else:
        # Unknown memory is no limit; `page_count` then asks for what all slots need.
        free = int(main_memory() or 2**62)
    return int(free * share) // page_bytes(shape, dtype)


def empty_tables(rows: int, tokens: int, device: torch.device) -> Tensor:
    """Return a table for `rows` samples of at most `tokens` tokens, int32 `[rows, pages]`."""
    return torch.full((rows, pages_for(tokens)), SCRATCH, dtype=torch.int32, device=device)
