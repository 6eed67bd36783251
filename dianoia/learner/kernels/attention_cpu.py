"""A learner's attention on a CPU by the C functions of `hardware.c_functions`, without padding and without masks.

In: rotated queries, keys and values of positions end to end in one row, and `Views` that say who sees whom. Out: what
every position sees, with its gradient. One function serves responses behind shared prompts, texts with shared
prefixes and packed samples, which differ in their views only.

Shapes: `N` positions, `R` spans, `H` heads, `D` head.
"""

from typing import Any

import torch
from torch import Tensor

from dianoia.hardware.c_functions import call, round_to_vectors
from dianoia.learner.batching.attention_spans import Views
from dianoia.learner.kernels.layers_cpu import runs_in_c

_TILE = 8
"""As in attend.c."""


def attends_in_c(*states: Tensor) -> bool:
    """Whether queries, keys and values like these are for this module: all float32, and to stay so."""
    return all(map(runs_in_c, states)) and not torch.is_autocast_enabled("cpu")


def attend_in_c(
    query_1HND: Tensor, key_1HND: Tensor, value_1HND: Tensor, views: Views, scaling: float | None
) -> Tensor:
    """What transformers' attention functions give, `_1NHD`: zeros at positions of no span."""
    states = (query_1HND, key_1HND, value_1HND)
    query, key, value = (part.squeeze(0).transpose(0, 1).contiguous() for part in states)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # squeezed above and not indexed: the backward pass of an index is a copy of everything
    seen_NHD: Tensor = _Attend.apply(query, key, value, views, scale)  # type: ignore[no-untyped-call]
    return seen_NHD[None]


def _scratch(like: Tensor, room: int, parts: int) -> Tensor:
    """As many numbers as attend.c wants for `parts` copies of a span."""
    padded = round_to_vectors(like.shape[-1])
    return like.new_empty(parts * room * padded + 2 * _TILE * (room + padded))


class _Attend(torch.autograd.Function):
    """`attend_in_c` on `_NHD`."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, views: Views, scale: float
    ) -> Tensor:
        """Keeps what it was given, what was seen, and the normalisers."""
        seen, normal_NH = torch.zeros_like(query), query.new_empty(query.shape[:2])
        room = round_to_vectors(views.longest)
        sizes = (room, len(views.spans_R4), query.shape[1], *key.shape[1:])
        given = (query, key, value, views.spans_R4, views.known_K, scale)
        call("attend", *given, seen, normal_NH, _scratch(query, room, 4), *sizes)
        ctx.save_for_backward(query, key, value, seen, normal_NH)
        ctx.views, ctx.scale = views, scale
        return seen

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Of queries, keys and values."""
        query, key, value, seen, normal_NH = ctx.saved_tensors
        views: Views = ctx.views
        results = [torch.zeros_like(part) for part in (query, key, value)]
        room = round_to_vectors(views.longest)
        sizes = (room, len(views.spans_R4), query.shape[1], *key.shape[1:])
        given = (query, key, value, views.spans_R4, views.known_K, ctx.scale)
        pulled = (seen, normal_NH, grads[0].contiguous())
        call("attend_backward", *given, *pulled, *results, _scratch(query, room, 6), *sizes)
        return *results, None, None
