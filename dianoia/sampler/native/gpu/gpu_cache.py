"""Keys and values on a GPU: a row a slot, prompt and response in one piece.

Flash attention reads a row as far as it is filled, so nothing is masked and nothing padded; a prompt stands in
the row of each of its samples. Shapes: `[layers, slots * row, kv heads, head]`, both for keys and for values.
"""

import torch

from dianoia.sampler.native.weights import Shape

GRAIN = 64
"""Rows are a multiple of so many tokens long."""


class RowCache:
    """Buffers of keys and values."""

    def __init__(
        self, shape: Shape, slots: int, row: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """`row` tokens or a few more for each of `slots`; zeros, since a masked NaN would still be NaN."""
        self.slots, self.row = slots, -(-row // GRAIN) * GRAIN
        size = (shape.layers, slots * self.row, shape.kv_heads, shape.head)
        self.keys, self.values = (torch.zeros(size, dtype=dtype, device=device) for _ in range(2))

    @property
    def bytes(self) -> int:
        """Memory of both buffers."""
        return 2 * self.keys.numel() * self.keys.element_size()

    def move(self, targets: list[int], sources: list[int], length: int) -> None:
        """Copy the first `length` tokens of rows; no row is both target and source."""
        to, source = (torch.tensor(i, device=self.keys.device) for i in (targets, sources))
        for states in (self.keys, self.values):
            rows = states.view(states.shape[0], self.slots, self.row, *states.shape[2:])
            for layer in rows:  # a layer at a time bounds the copy in between
                layer[to, :length] = layer[source, :length]
