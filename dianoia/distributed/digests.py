"""Short digests of what must be the same on all ranks.

A digest of weights is a sum of their bits as integers: the same in any order, fast on every device, and no proof against an
adversary, whom ranks of one command are not.
"""

from collections.abc import Iterable
from hashlib import blake2b

import torch
from torch import Tensor

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
"""An odd number with bits everywhere: tensors that change places change the digest."""
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers by bytes per element."""


def weights_digest(tensors: Iterable[Tensor]) -> str:
    """Return 16 hexadecimal digits, which differ where a bit of a tensor, or the order of tensors, does."""
    digest = 0
    for number, tensor in enumerate(tensors, start=1):
        flat = tensor.detach().reshape(-1)
        total = int(flat.view(_INTEGERS[flat.element_size()]).sum(dtype=torch.int64))
        digest = (digest + (total + flat.numel()) * (2 * number + 1) * _STEP) & _MASK
    return f"{digest:016x}"


def value_digest(value: object) -> str:
    """Return 16 hexadecimal digits, which differ where the `repr` of a value does."""
    return blake2b(repr(value).encode(), digest_size=8).hexdigest()
