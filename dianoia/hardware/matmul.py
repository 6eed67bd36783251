"""Matrix products with 16-bit factors and float32 results.

A product of two bfloat16 numbers is exact in float32, so the ways to compute it differ in the order of the sums only: on
CUDA one kernel where PyTorch has it, else float32 factors (TF32 holds them exactly too).
"""

from functools import cache

import torch
from torch import Tensor

from dianoia.hardware.devices import allow_tf32

SIXTEEN_BIT = (torch.bfloat16, torch.float16)


def matmul_float32(first: Tensor, second: Tensor) -> Tensor:
    """Return `first @ second` of two matrices of one dtype, as float32 if that is a 16-bit dtype. No gradient."""
    if first.dtype not in SIXTEEN_BIT:
        return first @ second
    # autocast would round the result to 16 bits
    with torch.autocast(first.device.type, enabled=False):
        if first.device.type == "cuda" and _has_float32_output(first.device, first.dtype):
            return torch.mm(first, second, out_dtype=torch.float32)
        with allow_tf32(first.device.type == "cuda"):
            return first.float() @ second.float()


@cache
def _has_float32_output(device: torch.device, dtype: torch.dtype) -> bool:
    """Try a product with `out_dtype` once; the first call must be outside of a captured graph."""
    try:
        matrix = torch.ones(16, 16, device=device, dtype=dtype)
        return bool((torch.mm(matrix, matrix, out_dtype=torch.float32) == 16.0).all())
    except (RuntimeError, TypeError, NotImplementedError):
        return False
