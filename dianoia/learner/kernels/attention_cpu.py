"""Attention on a CPU by the C functions of `hardware.c_functions`, without padding and without masks.

In: queries, keys (after RoPE) and values of positions end to end in one row, and `AttentionSpans`, which say which
positions attend to which. Out: the attention output of every position, with its gradient. One function serves responses
behind shared prompts, texts with shared prefixes and packed samples, which differ in their spans only.

Shapes: `N` positions, `R` spans, `H` heads, `D` head.
"""

from typing import Any

import torch
from torch import Tensor

from dianoia.hardware.c_functions import call, round_to_vectors
from dianoia.learner.batching.attention_spans import AttentionSpans
from dianoia.learner.kernels.layers_cpu import runs_in_c

_TILE = 8
"""Queries that attend.c treats at a time; the same number stands there."""


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


def _scratch(like: Tensor, longest: int, copies: int) -> Tensor:
    """Return as many numbers as attend.c wants for `copies` copies of a span of `longest` positions."""
    padded = round_to_vectors(like.shape[-1])
    return like.new_empty(copies * longest * padded + 2 * _TILE * (longest + padded))


class _Attention(torch.autograd.Function):
    """`attend_in_c` on `_NHD`."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, spans: AttentionSpans, scale: float
    ) -> Tensor:
        """Keep the arguments, the output and the normalisers."""
        output, normal_NH = torch.zeros_like(query), query.new_empty(query.shape[:2])
        longest = round_to_vectors(spans.longest)
        sizes = (longest, len(spans.spans_R4), query.shape[1], *key.shape[1:])
        inputs = (query, key, value, spans.spans_R4, spans.context_K, scale)
        call("attend", *inputs, output, normal_NH, _scratch(query, longest, 4), *sizes)
        ctx.save_for_backward(query, key, value, output, normal_NH)
        ctx.spans, ctx.scale = spans, scale
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of queries, keys and values."""
        query, key, value, output, normal_NH = ctx.saved_tensors
        spans: AttentionSpans = ctx.spans
        results = [torch.zeros_like(part) for part in (query, key, value)]
        longest = round_to_vectors(spans.longest)
        sizes = (longest, len(spans.spans_R4), query.shape[1], *key.shape[1:])
        inputs = (query, key, value, spans.spans_R4, spans.context_K, ctx.scale)
        output_and_grad = (output, normal_NH, grads[0].contiguous())
        scratch = _scratch(query, longest, 6)
        call("attend_backward", *inputs, *output_and_grad, *results, scratch, *sizes)
        return *results, None, None
