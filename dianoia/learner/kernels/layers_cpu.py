"""The two halves of a decoder layer on a CPU, with their backward passes, by the C functions of `hardware.c_functions`.

In: float32 states and the layer's weights. Out: what `learner.kernels.fused_layers` computes with PyTorch, up to rounding, in a
third of the passes over memory: products are PyTorch's, everything between two of them is one function. Left out:
attention, which stays with the caller; biases; other number formats.

Shapes: `N` positions, `H` hidden, `D` head.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dianoia.hardware.c_functions import call, library

Gradients = tuple[Tensor | None, ...]


def runs_in_c(x: Tensor) -> bool:
    """Whether states like these are for this module."""
    return x.dtype == torch.float32 and x.device.type == "cpu" and library() is not None


@dataclass(frozen=True, slots=True)
class Heads:
    """What a layer is, beside its weights."""

    queries: int
    keys: int
    size: int
    eps: float


def look(
    x_NH: Tensor,
    products: tuple[Tensor, Tensor, Tensor],
    norms: tuple[Tensor, Tensor | None, Tensor | None],
    turn: tuple[Tensor, Tensor],
    heads: Heads,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rotated queries `[N, heads, D]`, rotated keys and values `[N, kv heads, D]`, and `x` itself to go on with.

    products: of queries, keys, values. norms: before them, of queries, of keys. turn: cosine and sine `[N, D]`.
    Take `x` from here on and not the old one: then both gradients meet within one pass.
    """
    found: tuple[Tensor, Tensor, Tensor, Tensor]
    found = _Look.apply(x_NH, *products, *norms, *turn, heads)  # type: ignore[no-untyped-call]
    return found


def think(
    x_NH: Tensor,
    seen: Tensor,
    products: tuple[Tensor, Tensor, Tensor, Tensor],
    norm: Tensor,
    eps: float,
) -> Tensor:
    """The residual stream after a layer, from what attention saw. products: of the output, gate, up, down."""
    y: Tensor = _Think.apply(x_NH, seen, *products, norm, eps)  # type: ignore[no-untyped-call]
    return y


def _rms(x_NH: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The norm, and the inverse of the root mean square `_N`."""
    y, inverse_N = torch.empty_like(x_NH), x_NH.new_empty(len(x_NH))
    call("rms", x_NH, weight, eps, y, inverse_N, *x_NH.shape)
    return y, inverse_N


def _rms_back(
    x_NH: Tensor, weight: Tensor, inverse_N: Tensor, grad: Tensor, residual: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of `x`, with what reaches it beside the norm, and of the weight."""
    of_x, of_weight = torch.empty_like(x_NH), torch.zeros_like(weight)
    call("rms_backward", x_NH, weight, inverse_N, grad, residual, of_x, of_weight, *x_NH.shape)
    return of_x, of_weight


class _Look(torch.autograd.Function):
    """`look`."""

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
        normed, inverse = _rms(x, norm, heads.eps)
        weight = torch.cat((wq, wk, wv))
        qkv = F.linear(normed, weight)
        q = x.new_empty(len(x), heads.queries, heads.size)
        k = x.new_empty(len(x), heads.keys, heads.size)
        counts = (len(x), heads.queries, heads.keys, heads.size)
        call("rotate", qkv, norm_q, norm_k, heads.eps, cos, sin, q, k, *counts)
        v = qkv[:, -wv.shape[0] :].reshape(k.shape)
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
        call("rotate_backward", *given, of_qkv, *of_norms, *counts)
        of_products = torch.split(of_qkv.t() @ normed, ctx.rows)
        of_x, of_norm = _rms_back(x, norm, inverse, of_qkv @ weight, residual)
        return of_x, *of_products, of_norm, *of_norms, None, None, None


class _Think(torch.autograd.Function):
    """`think`."""

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
        """Keeps the states between the products."""
        y = torch.addmm(x, seen, out.t())
        normed, inverse = _rms(y, norm, eps)
        weight = torch.cat((gate, up))
        both = F.linear(normed, weight)
        inner = x.new_empty(len(x), len(up))
        call("gated", both, inner, *inner.shape)
        ctx.save_for_backward(seen, y, inverse, normed, both, inner, out, weight, down, norm)
        return torch.addmm(y, inner, down.t())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Gradients:
        """Of the states, what was seen, the products and the norm."""
        seen, y, inverse, normed, both, inner, out, weight, down, norm = ctx.saved_tensors
        grad = grads[0].contiguous()
        of_both = torch.empty_like(both)
        call("gated_backward", both, grad @ down, of_both, *inner.shape)
        of_down = grad.t() @ inner
        of_gate, of_up = (of_both.t() @ normed).chunk(2)
        of_y, of_norm = _rms_back(y, norm, inverse, of_both @ weight, grad)
        return of_y, of_y @ out, of_y.t() @ seen, of_gate, of_up, of_down, of_norm, None
