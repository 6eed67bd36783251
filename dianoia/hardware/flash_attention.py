"""PyTorch's flash attention over sequences packed end to end, with and without gradients.

In: queries `[N, heads, D]`, keys and values `[M, kv heads, D]` in bfloat16 or float16 on CUDA, and the bounds of the
sequences. Out: the attention output `[N, heads, D]`. Several query heads share a KV head without a copy. The operators
are those behind PyTorch's own attention functions. Not supported: dropout, windows, masks.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dianoia.hardware.devices import strict_determinism, to_device

LARGEST_HEAD = 256


@dataclass(frozen=True, slots=True)
class SequenceBounds:
    """Bounds of sequences that are packed in one row of tokens."""

    edges: Tensor
    """int32 `[sequences + 1]`, the `cu_seqlens` of flash attention: the start of each sequence, and the end of the last."""
    longest: int
    """Tokens of the longest sequence."""

    @classmethod
    def of(cls, lengths: list[int], device: torch.device) -> "SequenceBounds":
        """Return the bounds of sequences of these lengths, without gaps."""
        # Cast last: a cumsum of integers is int64, and the kernels read int32.
        edges = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
        return cls(to_device(edges, device), max(lengths))


def has_flash_attention(device: torch.device, dtype: torch.dtype, head: int) -> bool:
    """Return True if the kernels support this device, dtype and head size."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    capable = torch.cuda.get_device_capability(device) >= (8, 0)
    built = bool(torch.backends.cuda.is_flash_attention_available())
    return capable and built and head % 8 == 0 and head <= LARGEST_HEAD


def causal_attention(
    q: Tensor, k: Tensor, v: Tensor, bounds: SequenceBounds, scale: float
) -> Tensor:
    """Return causal attention within each sequence, with its gradient."""
    attended: Tensor = _Causal.apply(q, k, v, bounds, scale)  # type: ignore[no-untyped-call]
    return attended


def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bounds: tuple[SequenceBounds, SequenceBounds],
    scale: float,
    causal: bool,
) -> tuple[Tensor, ...]:
    """Return the attention output, its log-sum-exp, and two tensors that the backward kernel needs.

    bounds: of the queries, and of the keys.
    """
    q_bounds, k_bounds = bounds
    # lengths and bounds are positional in all versions of PyTorch that have the operator
    dropout, debug_mask = 0.0, False
    result: tuple[Tensor, ...] = torch.ops.aten._flash_attention_forward(
        q,
        k,
        v,
        q_bounds.edges,
        k_bounds.edges,
        q_bounds.longest,
        k_bounds.longest,
        dropout,
        causal,
        debug_mask,
        scale=scale,
    )
    # The fifth is the debug mask, which is empty.
    return result[:4]


class _Causal(torch.autograd.Function):
    """`causal_attention` with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bounds: SequenceBounds, scale: float
    ) -> Tensor:
        """Compute the output, and keep what the backward kernel reads."""
        attended, lse, state, unused = _forward(q, k, v, (bounds, bounds), scale, causal=True)
        ctx.save_for_backward(q, k, v, attended, lse, state, unused)
        ctx.bounds, ctx.scale = bounds, scale
        return attended

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of queries, keys and values."""
        q, k, v, attended, lse, state, unused = ctx.saved_tensors
        bounds: SequenceBounds = ctx.bounds
        dropout, causal = 0.0, True
        # this kernel adds in any order unless it is forced not to
        with strict_determinism():
            q_grad, k_grad, v_grad = torch.ops.aten._flash_attention_backward(
                # The gradient may come as a view with its axes in another order.
                grads[0].contiguous(),
                q,
                k,
                v,
                attended,
                lse,
                bounds.edges,
                bounds.edges,
                bounds.longest,
                bounds.longest,
                dropout,
                causal,
                state,
                unused,
                scale=ctx.scale,
            )
        return q_grad, k_grad, v_grad, None, None
