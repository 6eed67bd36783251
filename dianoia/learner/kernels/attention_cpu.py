"""Attention on a CPU by the C functions of `hardware.c_functions`, without padding and without masks.

In: queries, keys (after RoPE) and values of positions end to end in one row, and `AttentionSpans`, which say which
positions attend to which. Out: the attention output of every position, with its gradient. One function serves responses
behind shared prompts, texts with shared prefixes and packed samples, which differ in their spans only.

Shapes: `N` positions, `R` spans, `H` heads, `D` head.
"""

from typing import Any

import torch
from torch import Tensor

from dianoia.hardware.c_functions import typed_calls as functions
from dianoia.learner.batching.attention_spans import AttentionSpans
from dianoia.learner.kernels.layers_cpu import runs_in_c


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
