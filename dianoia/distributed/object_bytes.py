"""Objects as one row of bytes, for an exchange between ranks: arrays and tensors as they lie in memory, the rest pickled.

In: any object that pickles, with tensors of any device. Out: the same on another rank; a tensor that lay on an accelerator
comes back on the receiver's own. Only ranks of one command exchange such bytes: reading a pickle can run code.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

_ALIGNMENT = 64
"""Bytes at whose multiples an array begins."""
_AS_INTEGERS = {torch.bfloat16: torch.int16, torch.float8_e4m3fn: torch.int8, torch.float8_e5m2: torch.int8}  # fmt: skip
"""Integers of the same size, for data types that NumPy does not have."""


class _Pickler(pickle.Pickler):
    """Pickles tensors as NumPy arrays, whose memory is left to `buffer_callback`."""

    def reducer_override(self, value: Any) -> Any:
        """Return how a tensor is made again; every other object is pickled as usual."""
        if not isinstance(value, Tensor):
            return NotImplemented
        tensor = value.detach()
        array = tensor.to("cpu").contiguous().view(_AS_INTEGERS.get(tensor.dtype, tensor.dtype))
        return _Unpacking.tensor, (array.numpy(), tensor.dtype, tensor.device.type != "cpu")


class _Unpacking:
    """The device that tensors return to while `unpack` reads."""

    device = torch.device("cpu")

    @staticmethod
    def tensor(array: np.ndarray[Any, Any], dtype: torch.dtype, was_on_device: bool) -> Tensor:
        tensor = torch.from_numpy(array).view(dtype)
        return tensor.to(_Unpacking.device) if was_on_device else tensor


def pack(value: object) -> Tensor:
    """Return `value` as uint8 `[bytes]` on the CPU."""
    buffers: list[pickle.PickleBuffer] = []
    stream, collect = io.BytesIO(), _collector(buffers)
    _Pickler(stream, protocol=5, buffer_callback=collect).dump(value)
    parts = [stream.getbuffer(), *(buffer.raw() for buffer in buffers)]
    lengths = np.array([len(parts), *(part.nbytes for part in parts)], dtype=np.int64)
    starts = _starts(lengths)
    packed = np.zeros(starts[-1], dtype=np.uint8)
    packed[: lengths.nbytes] = lengths.view(np.uint8)
    for start, part in zip(starts, parts, strict=False):
        packed[start : start + part.nbytes] = np.frombuffer(part, dtype=np.uint8)
    return torch.from_numpy(packed)


def unpack(packed: Tensor, device: torch.device) -> Any:
    """Return the object that `pack` was given; its arrays share the memory of `packed`."""
    content = packed.numpy()
    (count,) = content[:8].view(np.int64)
    lengths = content[: 8 * (count + 1)].view(np.int64)
    starts = _starts(lengths)
    head, *buffers = (
        content[start : start + length].data
        for start, length in zip(starts, lengths[1:].tolist(), strict=False)
    )
    _Unpacking.device = device
    return pickle.loads(head, buffers=buffers)


def _collector(buffers: list[pickle.PickleBuffer]) -> Callable[[pickle.PickleBuffer], object]:
    return buffers.append


def _starts(lengths: np.ndarray[Any, np.dtype[np.int64]]) -> list[int]:
    """Return where each part begins, and where the last one ends, rounded up; `lengths` follows the number of parts."""
    starts = [_rounded(lengths.nbytes)]
    for length in lengths[1:].tolist():
        starts.append(_rounded(starts[-1] + length))
    return starts


def _rounded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
