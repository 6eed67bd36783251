"""The two halves of a decoder layer on a CPU with bfloat16 products, by the C functions of `hardware.c_functions`.

In: float32 states and the layer's weights. Out: what `learner.kernels.layers_cpu` computes, with factors and results of products
rounded to bfloat16; sums within products, norms, rotations, attention and the residual stream stay float32, as under
autocast. What enters a product is written in bfloat16 by the function before it. Left out: biases; attention, which
stays with the caller; a processor without such products, which computes them several times slower.

Shapes: `N` positions, `H` hidden, `D` head.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dianoia.hardware.c_functions import call
from dianoia.learner.kernels.layers_cpu import Gradients, Heads

HALF = torch.bfloat16


def look_in_half(
    x_NH: Tensor,
    products: tuple[Tensor, Tensor, Tensor],
    norms: tuple[Tensor, Tensor | None, Tensor | None],
    turn: tuple[Tensor, Tensor],
    heads: Heads,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `layers_c.look`, results in float32."""
    found: tuple[Tensor, Tensor, Tensor, Tensor]
    found = _Look.apply(x_NH, *products, *norms, *turn, heads)  # type: ignore[no-untyped-call]
    return found


def think_in_half(
    x_NH: Tensor,
    seen: Tensor,
    products: tuple[Tensor, Tensor, Tensor, Tensor],
    norm: Tensor,
    eps: float,
) -> Tensor:
    """As `layers_c.think`, results in float32."""
    y: Tensor = _Think.apply(x_NH, seen, *products, norm, eps)  # type: ignore[no-untyped-call]
    return y


def _normed(
    x_NH: Tensor, more: Tensor | None, norm: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The states with what a product adds to them, their norm in bfloat16, and the inverse of the root mean square
    `_N`."""
    y = x_NH if more is None else torch.empty_like(x_NH)
    normed, inverse_N = torch.empty_like(x_NH, dtype=HALF), x_NH.new_empty(len(x_NH))
    call("add_rms_half", x_NH, more, norm, eps, y, normed, inverse_N, *x_NH.shape)
    return y, normed, inverse_N


def _normed_back(
    x_NH: Tensor, norm: Tensor, inverse_N: Tensor, grad: Tensor, residual: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `x`, with what reaches it beside the norm, in float32 and bfloat16, and of the norm's weight."""
    of_x, of_norm = torch.empty_like(x_NH), torch.zeros_like(norm)
    half = torch.empty_like(x_NH, dtype=HALF)
    given = (x_NH, norm, inverse_N, grad, residual)
    call("rms_backward_half", *given, of_x, half, of_norm, *x_NH.shape)
    return of_x, half, of_norm


class _Look(torch.autograd.Function):
    """`look_in_half`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        wq: Tensor,
        wk: Tensor,
        wv: Tensor,
        norm: Tensor,
        norm_q: Tensor | None,
        norm_k: Tensor | None,
        cos: Tensor,
        sin: Tensor,
        heads: Heads,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Keeps the normed states, the product before rotation, and the weights in one."""
        _, normed, inverse = _normed(x, None, norm, heads.eps)
        weight = torch.cat((wq, wk, wv)).to(HALF)
        qkv = F.linear(normed, weight)
        q = x.new_empty(len(x), heads.queries, heads.size)
        k, v = x.new_empty(2, len(x), heads.keys, heads.size)
        counts = (len(x), heads.queries, heads.keys, heads.size)
        given = (qkv, norm_q, norm_k, heads.eps, cos, sin)
        call("rotate_half", *given, q, k, v, x.new_empty(heads.size), *counts)
        ctx.heads, ctx.rows = heads, [len(part) for part in (wq, wk, wv)]
        ctx.save_for_backward(x, norm, inverse, normed, qkv, weight, norm_q, norm_k, cos, sin)
        return q, k, v, x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Gradients:
        """Of the states, the products and the norms."""
        x, norm, inverse, normed, qkv, weight, norm_q, norm_k, cos, sin = ctx.saved_tensors
        heads: Heads = ctx.heads
        of_q, of_k, of_v, residual = (grad.contiguous() for grad in grads)
        of_qkv = torch.empty_like(qkv)
        of_norms = [None if part is None else torch.zeros_like(part) for part in (norm_q, norm_k)]
        counts = (len(x), heads.queries, heads.keys, heads.size)
        given = (qkv, norm_q, norm_k, heads.eps, cos, sin, of_q, of_k, of_v)
        scratch = x.new_empty(2 * heads.size)
        call("rotate_backward_half", *given, of_qkv, *of_norms, scratch, *counts)
        of_products = torch.split((of_qkv.t() @ normed).float(), ctx.rows)
        of_x, _, of_norm = _normed_back(x, norm, inverse, of_qkv @ weight, residual)
        return of_x, *of_products, of_norm, *of_norms, None, None, None


class _Think(torch.autograd.Function):
    """`think_in_half`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        seen: Tensor,
        out: Tensor,
        gate: Tensor,
        up: Tensor,
        down: Tensor,
        norm: Tensor,
        eps: float,
    ) -> Tensor:
        """Keeps the states between the products; what was seen in float32, as attention keeps it too."""
        out, down = out.to(HALF), down.to(HALF)
        y, normed, inverse = _normed(x, F.linear(seen.to(HALF), out), norm, eps)
        weight = torch.cat((gate, up)).to(HALF)
        both = F.linear(normed, weight)
        inner = both.new_empty(len(x), len(up))
        call("gated_half", both, inner, *inner.shape)
        ctx.save_for_backward(seen, y, inverse, normed, both, inner, out, weight, down, norm)
        return y + F.linear(inner, down)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Gradients:
        """Of the states, what was seen, the products and the norm."""
        seen, y, inverse, normed, both, inner, out, weight, down, norm = ctx.saved_tensors
        grad = grads[0].contiguous()
        half = grad.to(HALF)
        of_both = torch.empty_like(both)
        call("gated_backward_half", both, half @ down, of_both, *inner.shape)
        of_down = (half.t() @ inner).float()
        of_gate, of_up = (of_both.t() @ normed).float().chunk(2)
        of_y, half_y, of_norm = _normed_back(y, norm, inverse, of_both @ weight, grad)
        of_seen, of_out = (half_y @ out).float(), (half_y.t() @ seen.to(HALF)).float()
        return of_y, of_seen, of_out, of_gate, of_up, of_down, of_norm, None
