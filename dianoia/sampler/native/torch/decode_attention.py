"""Attention of one token per slot over a KV cache, for decoding on a GPU.

In: queries, keys and values of one token per slot, and a layer of a cache whose slots have room for `capacity` tokens.
Out: the attention output. A slot is read in `splits` parts in parallel: each gives the softmax over its part and the
logarithm of its normaliser, and the result is the parts weighted by their normalisers ("flash decoding", Dao et al. 2023,
https://crfm.stanford.edu/2023/10/12/flashdecoding.html). On CUDA with Triton these are our own kernels
(`triton_kernels`), which can be captured in a graph. The same in plain PyTorch is the reference that tests compare with.

Shapes: `B` slots, `H` query heads, `K` KV heads, `D` head size, `S` splits.
"""

import logging
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

log = logging.getLogger(__name__)

try:
    from dianoia.sampler.native.torch import triton_kernels
except ImportError:  # without Triton
    triton_kernels = None  # type: ignore[assignment]

BLOCK = 64
"""Keys that a program loads at a time."""
SHORTEST_SPLIT = 128
"""Tokens; shorter splits of a slot cost more than they save."""
LONGEST_SPLIT = 1024
"""Tokens; longer slots are split even where there are many, because they are not equally long."""
PROGRAMS = 4
"""Programs that a multiprocessor of the GPU runs at a time."""
MOST_GROUP = 16
"""Most query heads per KV head."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """Norms and RoPE angles that are applied to the queries and keys of a step."""

    norms: Tensor | None
    """`[H + K, D]`: of queries, then of keys; None for models without such norms."""
    eps: float
    cosine: Tensor
    """`[B, D]`."""
    sine: Tensor
    """`[B, D]`; the first half is negated, so that RoPE is `x * cosine + roll(x, D / 2) * sine`."""


def has_decode_kernels(device: torch.device, dtype: torch.dtype, head: int, group: int) -> bool:
    """Return True if the kernels support this device, dtype, head size, and `group` query heads per KV head."""
    if triton_kernels is None or device.type != "cuda":
        return False
    if dtype not in (torch.bfloat16, torch.float16):
        return False
    supported = head in (16, 32, 64, 128, 256) and group <= MOST_GROUP
    capable = torch.cuda.get_device_capability(device) >= (8, 0)
    return supported and capable and _triton_works(device)


@cache
def _triton_works(device: torch.device) -> bool:
    """Try the attention kernel on a small case: Triton needs a toolchain, which can be missing or broken."""
    try:
        queries = torch.ones(2, 2, 16, device=device, dtype=torch.bfloat16)
        cached = queries.new_ones(2 * BLOCK, 1, 16), queries.new_ones(2 * BLOCK, 1, 16)
        filled_B = torch.full((2,), BLOCK, device=device, dtype=torch.int32)
        return bool((attend_slots(queries, cached, filled_B, 1.0, (BLOCK, 2)) == 1.0).all())
    except Exception as error:  # noqa: BLE001 - a toolchain can be broken in any way
        log.warning("Triton does not work here, so decoding on the GPU is slower: %s", error)
        return False


@cache
def multiprocessor_count(device: torch.device) -> int:
    """Return the number of streaming multiprocessors of a GPU; 1 for any other device."""
    if device.type != "cuda":
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def split_count(slots: int, kv_heads: int, longest: int, processors: int) -> int:
    """Return in how many splits to read each slot: a power of two that gives every processor work.

    No split is shorter than SHORTEST_SPLIT, and none is longer than LONGEST_SPLIT by more than a factor of two.
    """
    useful = max(PROGRAMS * processors // (slots * kv_heads), longest // LONGEST_SPLIT)
    allowed = max(1, min(useful, longest // SHORTEST_SPLIT))
    return 1 << (allowed.bit_length() - 1)


def rope_into_cache(
    qkv: Tensor, rotation: Rotation, lengths_B: Tensor, cached: tuple[Tensor, Tensor], capacity: int
) -> Tensor:
    """Return the queries `[B, H, D]` of `qkv` `[B, (H + 2 K) D]` after RoPE, and append its keys and values.

    Keys (after RoPE) and values go behind the `lengths_B` tokens that their slots hold.
    """
    keys, values = cached
    kv, head = keys.shape[-2:]
    heads = qkv.shape[1] // head - 2 * kv
    queries = qkv.new_empty(qkv.shape[0], heads, head)
    # a kernel's pointer cannot be None; without norms it is never read
    norms = rotation.cosine if rotation.norms is None else rotation.norms
    triton_kernels.rope[qkv.shape[0], heads + 2 * kv](
        qkv, norms, rotation.cosine, rotation.sine, lengths_B, queries, keys, values,
        rotation.eps, capacity, qkv.stride(0),
        HEADS=heads, KV=kv, D=head, NORMED=rotation.norms is not None, num_warps=1,
    )  # fmt: skip
    return queries


def attend_slots(
    queries: Tensor,
    cached: tuple[Tensor, Tensor],
    filled_B: Tensor,
    scale: float,
    size: tuple[int, int],
) -> Tensor:
    """Return the attention of `queries` `[B, H, D]` over the first `filled_B` tokens of their slots.

    size: capacity of a slot, and the number of splits.
    """
    keys, values = cached
    (slots, heads, head), kv, (capacity, splits) = queries.shape, keys.shape[-2], size
    attended = torch.empty_like(queries)
    # with one split the kernel writes the result itself
    parts, masses = attended, attended
    if splits > 1:
        parts = queries.new_empty(slots, splits, heads, head, dtype=torch.float32)
        masses = queries.new_empty(slots, splits, heads, dtype=torch.float32)
    triton_kernels.attend[slots, kv, splits](
        queries, keys, values, filled_B, parts, masses, scale, capacity,
        HEADS=heads, KV=kv, D=head, SPLITS=splits, BLOCK=BLOCK, GROUP=MOST_GROUP,
        num_warps=4, num_stages=2,
    )  # fmt: skip
    if splits > 1:
        triton_kernels.merge[slots, heads](
            parts, masses, attended, HEADS=heads, D=head, SPLITS=splits, num_warps=1
        )
    return attended


# References in plain PyTorch ----------------------------------------------------------------------


def rope_into_cache_reference(
    qkv: Tensor, rotation: Rotation, lengths_B: Tensor, cached: tuple[Tensor, Tensor], capacity: int
) -> Tensor:
    """Compute `rope_into_cache`."""
    keys, values = cached
    kv, head = keys.shape[-2:]
    parts = qkv.view(qkv.shape[0], -1, head)
    qk, v = parts[:, :-kv].float(), parts[:, -kv:]
    if rotation.norms is not None:
        qk = qk * torch.rsqrt(qk.square().mean(-1, keepdim=True) + rotation.eps) * rotation.norms
    rotated = qk * rotation.cosine[:, None] + qk.roll(head // 2, -1) * rotation.sine[:, None]
    columns = torch.arange(qkv.shape[0], device=qkv.device) * capacity + lengths_B
    keys.index_copy_(0, columns, rotated[:, -kv:].to(keys.dtype))
    values.index_copy_(0, columns, v)
    return rotated[:, :-kv].to(qkv.dtype)


def attend_slots_reference(
    queries: Tensor,
    cached: tuple[Tensor, Tensor],
    filled_B: Tensor,
    scale: float,
    size: tuple[int, int],
) -> Tensor:
    """Compute `attend_slots`, split by split."""
    (slots, heads, _), (capacity, splits) = queries.shape, size
    # length of a split: the fewest whole blocks with which the splits cover all tokens
    span_B = (filled_B + splits * BLOCK - 1) // (splits * BLOCK) * BLOCK
    keys, values = (
        part.view(-1, capacity, *part.shape[1:])[:slots]
        .float()
        .repeat_interleave(heads // part.shape[1], 2)
        for part in cached
    )
    scores_BHN = scale * torch.einsum("bhd,bnhd->bhn", queries.float(), keys)
    column_N, parts, masses = torch.arange(capacity, device=queries.device), [], []
    for split in range(splits):
        first_B, last_B = split * span_B, torch.minimum((split + 1) * span_B, filled_B)
        inside_BN = (column_N >= first_B[:, None]) & (column_N < last_B[:, None])
        part_BHN = scores_BHN.masked_fill(~inside_BN[:, None], -1e30)
        masses.append(part_BHN.logsumexp(-1))
        parts.append(torch.einsum("bhn,bnhd->bhd", part_BHN.softmax(-1), values))
    return merge_splits(torch.stack(parts), torch.stack(masses)).to(queries.dtype)


def merge_splits(parts_SBHD: Tensor, masses_SBH: Tensor) -> Tensor:
    """Return the splits weighted by their normalisers, whose logarithms are `masses`: `[B, H, D]`."""
    return (parts_SBHD * masses_SBH.softmax(0)[..., None]).sum(0)
