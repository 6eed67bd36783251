"""Keys, values and scratch of one core, and the structure that points at them.

Rows are as long as the longest prompt or response asked for, in whole blocks; nothing is touched before it is filled, so
that a system which hands out memory on first touch gives what is used. Left out: who sits where.
"""

import sys
from dataclasses import astuple, dataclass

import torch

from dianoia.base.limits import CORE_CACHE, CORE_ROWS
from dianoia.hardware.c_functions import c_struct, call, round_to_vectors
from dianoia.sampler.native.cpu.packed_weights import PackedModel


@dataclass(frozen=True, slots=True)
class CoreSizes:
    """How much a core's memory holds."""

    slots: int
    """Responses at a time."""
    prompts: int
    """Different prompts of these."""
    prompt_room: int
    """Tokens of the longest prompt, in whole blocks."""
    room: int
    """Tokens of the longest response, in whole blocks."""
    rows: int
    """Tokens that go through the model at a time."""

    def covers(self, other: "CoreSizes") -> bool:
        """Whether memory of this size can serve where the other is asked for."""
        return all(have >= need for have, need in zip(astuple(self), astuple(other), strict=True))


def fitting(model: PackedModel, length: int) -> int:
    """Most responses that one core decodes over faster than over fewer, where each attends to `length` tokens."""
    if model.bytes > 2 * CORE_CACHE:
        return sys.maxsize
    shape = model.shape
    numbers = (
        shape.head * torch.float32.itemsize + round_to_vectors(shape.head) * model.dtype.itemsize
    )
    row = shape.layers * shape.kv_heads * length * numbers
    return max(CORE_ROWS, CORE_CACHE // row)


class CoreMemory:
    """Buffers for one model."""

    def __init__(self, model: PackedModel, sizes: CoreSizes) -> None:
        """Allocate; the contents are undefined."""
        self.sizes = sizes
        shape, head = model.shape, model.shape.head
        prompts = (shape.layers, sizes.prompts, shape.kv_heads, sizes.prompt_room)
        responses = (shape.layers, sizes.slots, shape.kv_heads, sizes.room)
        self._held = {
            "prompt_keys": torch.empty(*prompts, head),
            "prompt_values": torch.empty(*prompts, round_to_vectors(head), dtype=model.dtype),
            "keys": torch.empty(*responses, head),
            "values": torch.empty(*responses, round_to_vectors(head), dtype=model.dtype),
        }
        words, _kept = model.words()
        size = torch.zeros(1, dtype=torch.int64)
        call("scratch_of", words, self._words(None), size)
        self._held["scratch"] = torch.empty(int(size))
        self.words = self._words(self._held["scratch"])
        """The structure `Memory`."""

    def _words(self, scratch: torch.Tensor | None) -> torch.Tensor:
        sizes = self.sizes
        numbers = {"prompts": sizes.prompts, "prompt_room": sizes.prompt_room}
        numbers |= {"slots": sizes.slots, "room": sizes.room, "rows": sizes.rows}
        return c_struct("Memory", {**self._held, **numbers, "scratch": scratch})
