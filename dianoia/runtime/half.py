"""A norm behind a bfloat16 product on a CPU, for sampler and learner alike.

In: float32 states. Out: their sum with a product's result, and its norm as the next product takes it.
"""

import torch
from torch import Tensor

from dianoia.runtime.kernels import call

HALF = torch.bfloat16


def normed_in_half(
    x_NH: Tensor, more: Tensor | None, norm: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The sum in float32, its norm in bfloat16, and the inverse of the root mean square `_N`."""
    y = x_NH if more is None else torch.empty_like(x_NH)
    normed, inverse_N = torch.empty_like(x_NH, dtype=HALF), x_NH.new_empty(len(x_NH))
    call("add_rms_half", x_NH, more, norm, eps, y, normed, inverse_N, *x_NH.shape)
    return y, normed, inverse_N
