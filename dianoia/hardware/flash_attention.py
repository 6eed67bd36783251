"""Flash attention of PyTorch over sequences that lie end to end, with and without gradients.

In: queries `[N, heads, D]`, keys and values `[M, kv heads, D]` in bfloat16 or float16 on CUDA, and where each
sequence begins. Out: what was seen `[N, heads, D]`. Fewer kv heads than heads are shared, not copied. The
operators are those behind PyTorch's own attention functions, which have no public form with `used` in all of
the versions that we run on. Left out: dropout, windows, masks.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dianoia.hardware.devices import strict_determinism, to_device

LARGEST_HEAD = 256


@dataclass(frozen=True, slots=True)
class SequenceBounds:
    """Where sequences lie in a row of tokens."""

    edges: Tensor
    """int32 `[sequences + 1]`: where each one begins, and where the last one ends."""
    longest: int

    @classmethod
    def of(cls, lengths: list[int], device: torch.device) -> "SequenceBounds":
        """Sequences of these lengths, without gaps."""
        edges = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
        return cls(to_device(edges, device), max(lengths))


def has_flash_attention(device: torch.device, kind: torch.dtype, head: int) -> bool:
    """Whether the kernels serve this device, number format and head."""
    if device.type != "cuda" or kind not in (torch.bfloat16, torch.float16):
        return False
    capable = torch.cuda.get_device_capability(device) >= (8, 0)
    built = bool(torch.backends.cuda.is_flash_attention_available())
    return capable and built and head % 8 == 0 and head <= LARGEST_HEAD


def causal_attention(
    q: Tensor, k: Tensor, v: Tensor, spans: SequenceBounds, scale: float
) -> Tensor:
    """Every token sees itself and what comes before it in its sequence."""
    seen: Tensor = _Causal.apply(q, k, v, spans, scale)  # type: ignore[no-untyped-call]
    return seen


def cached_attention(
    q: Tensor, keys: Tensor, values: Tensor, rows: SequenceBounds, used: Tensor, scale: float
) -> Tensor:
    """One query a row `[B, heads, D]` over the first `used` keys (int32 `[B]`) of its row of a cache."""
    edges = torch.arange(q.shape[0] + 1, dtype=torch.int32, device=q.device)
    queries = SequenceBounds(edges, 1)
    return _forward(q, keys, values, (queries, rows), scale, causal=False, used=used)[0]


def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    spans: tuple[SequenceBounds, SequenceBounds],
    scale: float,
    causal: bool,
    used: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """What was seen, log-sum-exp, and two tensors that the backward pass asks for."""
    of_q, of_k = spans
    result: tuple[Tensor, ...] = torch.ops.aten._flash_attention_forward(
        q,
        k,
        v,
        of_q.edges,
        of_k.edges,
        of_q.longest,
        of_k.longest,
        0.0,
        causal,
        False,
        scale=scale,
        seqused_k=used,
    )
    return result[:4]


class _Causal(torch.autograd.Function):
    """`causal_attention` with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, spans: SequenceBounds, scale: float
    ) -> Tensor:
        """Keep what the backward kernel reads."""
        seen, lse, state, unused = _forward(q, k, v, (spans, spans), scale, causal=True)
        ctx.save_for_backward(q, k, v, seen, lse, state, unused)
        ctx.spans, ctx.scale = spans, scale
        return seen

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of queries, keys and values."""
        q, k, v, seen, lse, state, unused = ctx.saved_tensors
        spans: SequenceBounds = ctx.spans
        with strict_determinism():
            of_q, of_k, of_v = torch.ops.aten._flash_attention_backward(
                grads[0].contiguous(),
                q,
                k,
                v,
                seen,
                lse,
                spans.edges,
                spans.edges,
                spans.longest,
                spans.longest,
                0.0,
                True,
                state,
                unused,
                scale=ctx.scale,
            )
        return of_q, of_k, of_v, None, None
