"""A layer before and after attention with bfloat16 products on a CPU, by the C functions of `runtime.kernels`.

In: float32 states and a layer whose matrices are bfloat16 and whose norms are float32. Out: float32 states. Left out:
biases, which no C function adds.

Shapes: `B` positions, `H` hidden.
"""

import torch
import torch.nn.functional as F

from dianoia.engine.native.weights import Layer
from dianoia.runtime.kernels import call


def joined(x_BH: torch.Tensor, layer: Layer, eps: float) -> torch.Tensor:
    """Queries, keys and values `[B, (heads + 2 K) D]`, not yet rotated."""
    _, normed = _normed(x_BH, None, layer.norm_1, eps)
    return F.linear(normed, layer.qkv).float()


def finish(x_BH: torch.Tensor, seen: torch.Tensor, layer: Layer, eps: float) -> torch.Tensor:
    """What follows attention: output projection, feed-forward, both residuals."""
    x_BH, normed = _normed(x_BH, F.linear(seen.bfloat16(), layer.out), layer.norm_2, eps)
    both = F.linear(normed, layer.gate_up)
    inner = both.new_empty(len(both), layer.down.shape[1])
    call("gated_half", both, inner, *inner.shape)
    return x_BH + F.linear(inner, layer.down)


def _normed(
    x_BH: torch.Tensor, more: torch.Tensor | None, norm: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum in float32, and its norm in bfloat16."""
    y = x_BH if more is None else torch.empty_like(x_BH)
    normed, inverse_B = torch.empty_like(x_BH, dtype=torch.bfloat16), x_BH.new_empty(len(x_BH))
    call("add_rms_half", x_BH, more, norm, eps, y, normed, inverse_B, *x_BH.shape)
    return y, normed
