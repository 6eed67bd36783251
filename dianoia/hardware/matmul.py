"""Products of half-precision factors whose results are float32.

In: matrices of one number format. Out: their product in float32 at least. Every product of two bfloat16 numbers
is exact in float32, so only the order of the sums differs between the ways there are: on CUDA one kernel where
PyTorch has it, else the factors widened (which TF32 holds exactly too).
"""

from functools import cache

import torch
from torch import Tensor

from dianoia.hardware.devices import allow_tf32

HALVES = (torch.bfloat16, torch.float16)


def matmul_float32(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right` of two matrices of one format, float32 for those of a half; no gradient."""
    if left.dtype not in HALVES:
        return left @ right
    with torch.autocast(left.device.type, enabled=False):
        if left.device.type == "cuda" and _widens(left.device, left.dtype):
            return torch.mm(left, right, out_dtype=torch.float32)
        with allow_tf32(left.device.type == "cuda"):
            return left.float() @ right.float()


@cache
def _widens(device: torch.device, kind: torch.dtype) -> bool:
    """Whether a product of this format can be float32 here; asked once, outside of a captured graph."""
    try:
        ones = torch.ones(16, 16, device=device, dtype=kind)
        return bool((torch.mm(ones, ones, out_dtype=torch.float32) == 16.0).all())
    except (RuntimeError, TypeError, NotImplementedError):
        return False
