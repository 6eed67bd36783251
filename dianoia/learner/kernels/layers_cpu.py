"""A decoder layer on a CPU, with backward passes, by the C functions of `hardware.c_functions`.

Around attention. In: float32 states and the layer's weights. Out: what `learner.kernels.fused_layers` computes with PyTorch, up to
rounding, in a third of the passes over memory: products are PyTorch's, everything between two of them is one function. With
bfloat16, factors and results of products are rounded; sums within products, norms, RoPE, attention and the residual
stream stay float32, as under autocast, and what enters a product is written in bfloat16 by the function before it. Left
out: biases; other dtypes. A processor without bfloat16 products computes them several times slower.

Attention, without padding and without masks. In: queries, keys (after RoPE) and values of positions end to end in one row, and
`AttentionSpans`, which say which positions attend to which. Out: the attention output of every position, with its gradient. One
function serves responses behind shared prompts, texts with shared prefixes and packed samples, which differ in their spans only.
`learner.attention.exchange` puts it into a model, also where the layers stay those of
transformers.

Shapes: `N` positions, `H` hidden, `D` head; of attention `R` spans, `H` heads.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dianoia.hardware.c_functions import library
from dianoia.hardware.c_functions import typed_calls as functions
from dianoia.learner.batching.attention_spans import AttentionSpans

Gradients = tuple[Tensor | None, ...]


def runs_in_c(x: Tensor) -> bool:
    """Return True if the C functions can compute with states like `x`: float32, on a CPU, with a compiler."""
    return x.dtype == torch.float32 and x.device.type == "cpu" and library() is not None


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What a layer is, apart from its weights."""

    query_heads: int
    kv_heads: int
    head_size: int
    eps: float
    """Of the RMS norms."""
    dtype: torch.dtype
    """Of products: float32 or bfloat16."""


def qkv_projection(
    x_NH: Tensor,
    weights: tuple[Tensor, Tensor, Tensor],
    norms: tuple[Tensor, Tensor | None, Tensor | None],
    rope: tuple[Tensor, Tensor],
    shape: LayerShape,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return queries `[N, heads, D]` and keys `[N, kv heads, D]` after RoPE, values `[N, kv heads, D]`, and `x` itself.

    weights: of queries, keys, values. norms: of the input, of queries, of keys. rope: cosine and sine `[N, D]`. All
    results are float32. The residual stream goes on from the `x` that is returned and not from the argument: then the
    two gradients that reach it meet within one pass.
    """
    result: tuple[Tensor, Tensor, Tensor, Tensor]
    result = _QKVProjection.apply(x_NH, *weights, *norms, *rope, shape)  # type: ignore[no-untyped-call]
    return result


def output_and_mlp(
    x_NH: Tensor,
    attention_output: Tensor,
    weights: tuple[Tensor, Tensor, Tensor, Tensor],
    norm: Tensor,
    shape: LayerShape,
) -> Tensor:
    """Return the residual stream `[N, H]` after a layer. weights: of the output projection, gate, up, down."""
    y: Tensor = _OutputAndMLP.apply(x_NH, attention_output, *weights, norm, shape)  # type: ignore[no-untyped-call]
    return y


def attends_in_c(*states: Tensor) -> bool:
    """Return True if the C functions can compute with these queries, keys and values: all float32, and to stay so."""
    return all(map(runs_in_c, states)) and not torch.is_autocast_enabled("cpu")


def attend_in_c(
    query_1HND: Tensor,
    key_1HND: Tensor,
    value_1HND: Tensor,
    spans: AttentionSpans,
    scaling: float | None,
) -> Tensor:
    """Return the attention output `_1NHD`, as transformers' attention functions do; zeros at positions of no span."""
    states = (query_1HND, key_1HND, value_1HND)
    # Squeezed and not indexed: the backward pass of an index is a copy of everything.
    query, key, value = (part.squeeze(0).transpose(0, 1).contiguous() for part in states)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    output_NHD: Tensor = _Attention.apply(query, key, value, spans, scale)  # type: ignore[no-untyped-call]
    return output_NHD[None]


# C functions in both dtypes -----------------------------------------------------------------------


def _add_product(y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Return y + x @ weight.T in float32; the product in the dtype of `weight`."""
    if weight.dtype == torch.float32:
        return torch.addmm(y, x, weight.t())
    return y + F.linear(x, weight)


def _add_and_norm(
    x_NH: Tensor, branch: tuple[Tensor, Tensor] | None, norm: Tensor, shape: LayerShape
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the residual stream after `branch` (states and weight of a product), its norm, and the inverse RMS `_N`.

    The norm has the dtype of products. Without a branch the stream is `x` itself.
    """
    inverse_N = x_NH.new_empty(len(x_NH))
    normed = torch.empty_like(x_NH, dtype=shape.dtype)
    if shape.dtype == torch.float32:
        y = x_NH if branch is None else _add_product(x_NH, *branch)
        functions.rms(y, norm, shape.eps, normed, inverse_N)
        return y, normed, inverse_N
    # Here the sum is part of the norm's pass over memory.
    y = x_NH if branch is None else torch.empty_like(x_NH)
    product = None if branch is None else F.linear(*branch)
    functions.add_rms_bfloat16(x_NH, product, norm, shape.eps, y, normed, inverse_N)
    return y, normed, inverse_N


def _norm_backward(
    x_NH: Tensor, norm: Tensor, inverse_N: Tensor, grad: Tensor, residual: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient of `x`, the same in the dtype of `grad`, and that of the norm's weight.

    grad: of the normed states. residual: what reaches `x` past the norm; it is added.
    """
    x_grad, norm_grad = torch.empty_like(x_NH), torch.zeros_like(norm)
    arguments = (x_NH, norm, inverse_N, grad, residual, x_grad)
    if grad.dtype == torch.float32:
        functions.rms_backward(*arguments, norm_grad)
        return x_grad, x_grad, norm_grad
    rounded = torch.empty_like(x_NH, dtype=grad.dtype)
    functions.rms_backward_bfloat16(*arguments, rounded, norm_grad)
    return x_grad, rounded, norm_grad


Rope = tuple[functions.Norms, float, tuple[Tensor, Tensor]]
"""Norms of queries and keys, epsilon, (cosine, sine)."""


def _apply_rope(qkv: Tensor, rope: Rope, shape: LayerShape) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries and keys, normed and rotated, and values, all float32."""
    count, cos = len(qkv), rope[2][0]
    q = cos.new_empty(count, shape.query_heads, shape.head_size)
    if qkv.dtype == torch.float32:
        k = cos.new_empty(count, shape.kv_heads, shape.head_size)
        functions.rope_qkv(qkv, *rope, q, k)
        return q, k, qkv[:, -shape.kv_heads * shape.head_size :].reshape(k.shape)
    k, v = cos.new_empty(2, count, shape.kv_heads, shape.head_size)
    functions.rope_qkv(qkv, *rope, q, k, v)
    return q, k, v


def _rope_backward(
    qkv: Tensor, rope: Rope, grads: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, functions.Norms]:
    """Return the gradient of the product `qkv`, and those of the norms of queries and keys."""
    qkv_grad = torch.empty_like(qkv)
    norm_q, norm_k = rope[0]
    norm_grads = (
        None if norm_q is None else torch.zeros_like(norm_q),
        None if norm_k is None else torch.zeros_like(norm_k),
    )
    functions.rope_qkv_backward(qkv, *rope, grads, qkv_grad, norm_grads)
    return qkv_grad, norm_grads


# Autograd functions -------------------------------------------------------------------------------


class _QKVProjection(torch.autograd.Function):
    """`qkv_projection`."""

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
        shape: LayerShape,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Keep the normed states, the product before RoPE, and the three weights as one."""
        # One product for queries, keys and values reads the states once.
        _, normed, inverse = _add_and_norm(x, None, norm, shape)
        weight = torch.cat((wq, wk, wv)).to(shape.dtype)
        qkv = F.linear(normed, weight)
        q, k, v = _apply_rope(qkv, ((norm_q, norm_k), shape.eps, (cos, sin)), shape)
        ctx.shape, ctx.rows = shape, [len(part) for part in (wq, wk, wv)]
        ctx.save_for_backward(x, norm, inverse, normed, qkv, weight, norm_q, norm_k, cos, sin)
        # A view of x: autograd does not allow an input to be returned as an output.
        return q, k, v, x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Gradients:
        """Return the gradients of the states, the weights and the norms."""
        x, norm, inverse, normed, qkv, weight, norm_q, norm_k, cos, sin = ctx.saved_tensors
        shape: LayerShape = ctx.shape
        q_grad, k_grad, v_grad, residual = (grad.contiguous() for grad in grads)
        rope = ((norm_q, norm_k), shape.eps, (cos, sin))
        qkv_grad, norm_grads = _rope_backward(qkv, rope, (q_grad, k_grad, v_grad))
        # Backwards: RoPE, the product, the norm; the residual's gradient joins in the norm's pass.
        weight_grads: Gradients = (None, None, None)
        if any(ctx.needs_input_grad[1:4]):  # frozen weights have none
            weight_grads = torch.split((qkv_grad.t() @ normed).float(), ctx.rows)
        x_grad, _, norm_grad = _norm_backward(x, norm, inverse, qkv_grad @ weight, residual)
        return x_grad, *weight_grads, norm_grad, *norm_grads, None, None, None


class _OutputAndMLP(torch.autograd.Function):
    """`output_and_mlp`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        attention_output: Tensor,
        out: Tensor,
        gate: Tensor,
        up: Tensor,
        down: Tensor,
        norm: Tensor,
        shape: LayerShape,
    ) -> Tensor:
        """Keep the states between the products; the attention output in float32, as attention keeps it too."""
        out, down = out.to(shape.dtype), down.to(shape.dtype)
        branch = (attention_output.to(shape.dtype), out)
        y, normed, inverse = _add_and_norm(x, branch, norm, shape)
        # Gate and up are one product too; C multiplies SiLU(gate) by up.
        weight = torch.cat((gate, up)).to(shape.dtype)
        gate_up = F.linear(normed, weight)
        inner = gate_up.new_empty(len(x), len(up))
        functions.swiglu(gate_up, inner)
        ctx.save_for_backward(
            attention_output, y, inverse, normed, gate_up, inner, out, weight, down, norm
        )
        return _add_product(y, inner, down)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Gradients:
        """Return the gradients of the states, the attention output, the weights and the norm."""
        attention_output, y, inverse, normed, gate_up, inner, out, weight, down, norm = (
            ctx.saved_tensors
        )
        grad = grads[0].contiguous()
        rounded = grad.to(gate_up.dtype)  # in float32 the same tensor, as are the casts below
        gate_up_grad = torch.empty_like(gate_up)
        functions.swiglu_backward(gate_up, rounded @ down, gate_up_grad)
        # Gradients of weights are float32, whatever the products were; frozen weights have none.
        down_grad = (rounded.t() @ inner).float() if ctx.needs_input_grad[5] else None
        gate_grad = up_grad = out_grad = None
        if any(ctx.needs_input_grad[3:5]):
            gate_grad, up_grad = (gate_up_grad.t() @ normed).float().chunk(2)
        # What reaches the residual stream past the MLP (grad) is added within the norm's pass.
        y_grad, rounded, norm_grad = _norm_backward(y, norm, inverse, gate_up_grad @ weight, grad)
        output_grad = (rounded @ out).float()
        if ctx.needs_input_grad[2]:
            out_grad = (rounded.t() @ attention_output.to(rounded.dtype)).float()
        return y_grad, output_grad, out_grad, gate_grad, up_grad, down_grad, norm_grad, None


class _Attention(torch.autograd.Function):
    """`attend_in_c` on `_NHD`."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, spans: AttentionSpans, scale: float
    ) -> Tensor:
        """Keep the arguments, the output and the normalisers."""
        output, normal_NH = torch.zeros_like(query), query.new_empty(query.shape[:2])
        functions.attend(
            (query, key, value),
            spans.spans_R4,
            spans.context_K,
            spans.longest,
            scale,
            output,
            normal_NH,
        )
        ctx.save_for_backward(query, key, value, output, normal_NH)
        ctx.spans, ctx.scale = spans, scale
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of queries, keys and values."""
        query, key, value, output, normal_NH = ctx.saved_tensors
        spans: AttentionSpans = ctx.spans
        # Zeros: keys of a shared prompt add up gradients of all responses, and positions of no span get none.
        results = (torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value))
        functions.attend_backward(
            (query, key, value),
            spans.spans_R4,
            spans.context_K,
            spans.longest,
            ctx.scale,
            output,
            normal_NH,
            grads[0].contiguous(),
            results,
        )
        return *results, None, None
