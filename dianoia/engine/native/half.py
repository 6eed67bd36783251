"""A layer before and after attention with bfloat16 products on a CPU, by the C functions of `runtime.kernels`.

In: float32 states and a layer whose matrices are bfloat16 and whose norms are float32. Out: float32 states. Left out:
biases, which no C function adds.

Shapes: `B` positions, `H` hidden.
"""

import torch
import torch.nn.functional as F

from dianoia.engine.native.weights import Layer
from dianoia.runtime.half import normed_in_half
from dianoia.runtime.kernels import call


def joined(x_BH: torch.Tensor, layer: Layer, eps: float) -> torch.Tensor:
    """Queries, keys and values `[B, (heads + 2 K) D]`, not yet rotated."""
    _, normed, _ = normed_in_half(x_BH, None, layer.norm_1, eps)
    return F.linear(normed, layer.qkv).float()


def finish(x_BH: torch.Tensor, seen: torch.Tensor, layer: Layer, eps: float) -> torch.Tensor:
    """What follows attention: output projection, feed-forward, both residuals."""
    out = F.linear(seen.bfloat16(), layer.out)
    x_BH, normed, _ = normed_in_half(x_BH, out, layer.norm_2, eps)
    both = F.linear(normed, layer.gate_up)
    inner = both.new_empty(len(both), layer.down.shape[1])
    call("gated_half", both, inner, *inner.shape)
    return x_BH + F.linear(inner, layer.down)
