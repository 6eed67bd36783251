"""Attention by spans in C: every output and gradient as a masked softmax in float64 gives it."""

import pytest
import torch
from torch import Tensor

from dianoia.learner.batching.attention_spans import AttentionSpans, Span
from dianoia.learner.kernels.layers_cpu import attend_in_c, attends_in_c

pytestmark = pytest.mark.usefixtures("in_c")

TREE = AttentionSpans.of(
    [(0, 21, 0, 0), (21, 9, 0, 4), (30, 1, 4, 3), (33, 40, 7, 2)],
    [2, 0, 1, 20, 31, 30, 5, 22, 29],
)
"""Known positions out of order, spans longer and shorter than a tile, 31 and 32 in none of them."""


def states(heads: int, kv: int, head: int, positions: int = 73) -> list[Tensor]:
    draw = torch.Generator().manual_seed(heads + head)
    shapes = [(positions, count, head) for count in (heads, kv, kv)]
    return [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]


def by_hand(parts: list[Tensor], views: AttentionSpans, scale: float) -> Tensor:
    """`_NHD`, a position and a head at a time."""
    query, key, value = parts
    repeats = query.shape[1] // key.shape[1]
    rows: list[Tensor] = [torch.zeros_like(query[0]) for _ in query]
    for start, length, before, count in views.spans_R4.tolist():
        for n in range(start, start + length):
            observed = [*views.context_K[before : before + count].tolist(), *range(start, n + 1)]
            keys, values = (part[observed].repeat_interleave(repeats, 1) for part in (key, value))
            weights = (torch.einsum("hd,khd->hk", query[n], keys) * scale).softmax(1)
            rows[n] = torch.einsum("hk,khd->hd", weights, values)
    return torch.stack(rows)


def ours(parts: list[Tensor], views: AttentionSpans, scale: float | None) -> Tensor:
    laid = [part.float().transpose(0, 1)[None] for part in parts]
    assert attends_in_c(*laid)
    return attend_in_c(laid[0], laid[1], laid[2], views, scale)[0]


@pytest.mark.parametrize(
    ("heads", "kv", "head"), [(4, 2, 32), (2, 1, 4), (3, 3, 24), (8, 1, 64), (2, 2, 128)]
)
@pytest.mark.parametrize("scale", [None, 0.7])
def test_outputs_and_gradients(heads: int, kv: int, head: int, scale: float | None) -> None:
    results = []
    for function in (ours, by_hand):
        parts = [part.requires_grad_() for part in states(heads, kv, head)]
        seen_NHD = function(parts, TREE, head**-0.5 if scale is None else scale)
        pull = torch.arange(seen_NHD.numel()).view(seen_NHD.shape).sin()
        (seen_NHD.double() * pull).sum().backward()
        results.append([seen_NHD.detach().double(), *(part.grad for part in parts)])
    for first, other in zip(*results, strict=True):
        assert other.abs().max() > 0.1
        torch.testing.assert_close(first, other, rtol=1e-4, atol=1e-4)


def test_without_a_scale_it_is_the_usual_one() -> None:
    parts = states(2, 1, 16)
    assert torch.equal(ours(parts, TREE, None), ours(parts, TREE, 0.25))


def test_large_scores_do_not_overflow() -> None:
    parts = [100 * part for part in states(2, 2, 32)]
    torch.testing.assert_close(
        ours(parts, TREE, None).double(), by_hand(parts, TREE, 32**-0.5), rtol=1e-4, atol=1e-3
    )


def test_positions_of_no_span_see_nothing_and_pull_at_nothing() -> None:
    parts = [part.requires_grad_() for part in states(2, 1, 16)]
    seen_NHD = ours(parts, TREE, None)
    assert seen_NHD[31:33].abs().max() == 0
    (seen_NHD[31:33] * 3).sum().backward()
    assert all(part.grad is not None and part.grad.abs().max() == 0 for part in parts)


def test_no_spans_at_all() -> None:
    assert ours(states(2, 1, 16), AttentionSpans.of([], [0]), None).abs().max() == 0


def test_half_precision_is_for_others() -> None:
    query = torch.zeros(1, 2, 3, 16)
    assert attends_in_c(query, query, query)
    assert not attends_in_c(query, query, query.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert not attends_in_c(query, query, query)


# AttentionSpans --------------------------------------------------------------------------------------------


def test_sequences_end_to_end() -> None:
    views = AttentionSpans.end_to_end([3, 1, 4])
    assert views.spans_R4.tolist() == [[0, 3, 0, 0], [3, 1, 0, 0], [4, 4, 0, 0]]
    assert views.longest == 4


def test_spans_without_positions_are_left_out() -> None:
    spans: list[Span] = [(0, 2, 0, 0), (2, 0, 0, 2), (2, 1, 0, 2)]
    views = AttentionSpans.of(spans, range(2))
    assert views.spans_R4.tolist() == [[0, 2, 0, 0], [2, 1, 0, 2]]
    assert views.longest == 3
