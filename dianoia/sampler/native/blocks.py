"""What a layer of dense Llama, Qwen2 and Qwen3 does before and after attention: tensors in, tensors out.

Functions of tensors alone, so that a GPU may run them compiled (`hardware.compiled`); the decoder on a CPU and
the one on a GPU are made of the same ones. No gradients.

Shapes: `B` positions, `H` hidden, `K` kv heads, `D` head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

After = tuple[
    tuple[Tensor, Tensor | None, Tensor], tuple[Tensor, Tensor | None, Tensor, Tensor | None]
]
"""What `finish` asks for of a layer."""


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMS norm over the last dimension."""
    return F.rms_norm(x, x.shape[-1:], weight, eps)


def joined(x_BH: Tensor, norm_1: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """Queries, keys and values `[B, (heads + 2 K) D]`, not yet rotated."""
    return F.linear(norm(x_BH, norm_1, eps), weight, bias)


def project(
    x_BH: Tensor,
    weights: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    turn: tuple[Tensor, Tensor],
    heads: tuple[int, int],
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries `[B, heads, D]` and keys `[B, K, D]`, and values `[B, K, D]`.

    weights: of the norm, of the product, its bias, and of the norm of queries and keys. turn: cosine, and sine
    with the sign of "rotate half", so that rotating is a roll. heads: of queries, and of keys.
    """
    norm_1, qkv_weight, qkv_bias, qk_norm = weights
    qkv = joined(x_BH, norm_1, qkv_weight, qkv_bias, eps)
    cos_BD, sin_BD = turn
    both, head = sum(heads), cos_BD.shape[-1]
    qkv = qkv.view(-1, both + heads[1], head)
    qk, v = qkv[:, :both], qkv[:, both:]
    if qk_norm is not None:
        qk = F.rms_norm(qk, (head,), None, eps).mul_(qk_norm)
    turned = qk.roll(head // 2, -1).mul_(sin_BD[:, None])
    qk = turned.addcmul_(qk, cos_BD[:, None])
    return qk[:, : heads[0]], qk[:, heads[0] :], v


def finish(
    x_BH: Tensor,
    seen: Tensor,
    weights: tuple[Tensor, Tensor | None, Tensor],
    inner: tuple[Tensor, Tensor | None, Tensor, Tensor | None],
    eps: float,
) -> Tensor:
    """What follows attention: output projection, feed-forward, both residuals.

    weights: of the projection, its bias, and of the norm. inner: of gate and up, their bias, of down, its bias.
    """
    out, out_bias, norm_2 = weights
    gate_up_weight, gate_up_bias, down, down_bias = inner
    x = _plus_product(x_BH, seen, out)
    if out_bias is not None:
        x += out_bias
    gate, up = F.linear(norm(x, norm_2, eps), gate_up_weight, gate_up_bias).chunk(2, -1)
    x = _plus_product(x, F.silu(gate).mul_(up), down)
    return x if down_bias is None else x.add_(down_bias)


def finish_and_join(
    x_BH: Tensor,
    seen: Tensor,
    after: After,
    before: tuple[Tensor, Tensor, Tensor | None],
    eps: float,
) -> tuple[Tensor, Tensor]:
    """`finish` of a layer and `joined` of the next one, so that a sum and the norm of it are one pass."""
    x = finish(x_BH, seen, *after, eps)
    return x, joined(x, *before, eps)


def _plus_product(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """x + y @ weight.T. Off a CPU the sum is left to a compiler, which joins it to what comes next; in float32,
    where no one takes it for the bias of the product, which would be copied first."""
    if x.device.type == "cpu":
        return torch.addmm(x, y, weight.t())
    return (x.float() + F.linear(y, weight).float()).to(x.dtype)
