"""Attention of one token a row over a cache of keys and values, for decoding on a GPU.

In: queries, keys and values of one token a row `B`, and a layer of a cache whose rows are `row` tokens long. Out:
what was seen. A row is read in parts (`splits`) beside one another: for each, the softmax over the part and the
logarithm of its normaliser; the whole is the parts weighed by their normalisers ("flash decoding", Dao et al.
2023, https://crfm.stanford.edu/2023/10/12/flashdecoding.html). On CUDA with Triton these are kernels of our own
(`row_kernels`), which can be captured; the same in plain PyTorch is here too, and is what the tests run.

Shapes: `B` rows, `H` query heads, `K` kv heads, `D` head, `S` parts.
"""

import logging
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

log = logging.getLogger(__name__)

try:
    from dianoia.sampler.native.gpu import triton_kernels as row_kernels
except ImportError:  # without Triton
    row_kernels = None  # type: ignore[assignment]

BLOCK = 64
"""Keys a program looks at together."""
LEAST_PART = 128
"""Shorter parts of a row cost more than they save."""
LONGEST_PART = 1024
"""Longer rows are divided even where there are enough of them, since they are not equally long."""
PROGRAMS = 4
"""Programs a processor of the GPU can work on at a time."""
MOST_GROUP = 16
"""Query heads that share a kv head."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """How a token's heads are normalised and turned before they are compared."""

    norms: Tensor | None
    """`[H + K, D]`, of queries, then of keys; None without such norms"""
    eps: float
    cosine: Tensor
    """`[B, D]`"""
    sine: Tensor
    """`[B, D]`, its first half negative, so that turning is a roll"""


def has_row_kernels(device: torch.device, kind: torch.dtype, head: int, group: int) -> bool:
    """Whether the kernels serve this device, number format, head, and query heads a kv head."""
    if row_kernels is None or device.type != "cuda" or kind not in (torch.bfloat16, torch.float16):
        return False
    even = head in (16, 32, 64, 128, 256)
    capable = torch.cuda.get_device_capability(device) >= (8, 0)
    return even and group <= MOST_GROUP and capable and _run(device)


@cache
def _run(device: torch.device) -> bool:
    """Whether Triton works here, tried once on a small case: it needs a toolchain."""
    try:
        queries = torch.ones(2, 2, 16, device=device, dtype=torch.bfloat16)
        cached = queries.new_ones(2 * BLOCK, 1, 16), queries.new_ones(2 * BLOCK, 1, 16)
        filled_B = torch.full((2,), BLOCK, device=device, dtype=torch.int32)
        return bool((attend_rows(queries, cached, filled_B, 1.0, (BLOCK, 2)) == 1.0).all())
    except Exception as error:  # noqa: BLE001 - a toolchain can be broken in any way
        log.warning("Triton does not work here, so decoding on the GPU is slower: %s", error)
        return False


@cache
def processors_of(device: torch.device) -> int:
    """Streaming multiprocessors of a GPU; 1 on anything else."""
    if device.type != "cuda":
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def splits_of(rows: int, kv_heads: int, longest: int, processors: int) -> int:
    """Parts to read each row in: a power of two, enough for every processor, none of them too short."""
    wanted = max(PROGRAMS * processors // (rows * kv_heads), longest // LONGEST_PART)
    allowed = max(1, min(wanted, longest // LEAST_PART))
    return 1 << (allowed.bit_length() - 1)


def turn_into_cache(
    qkv: Tensor, rotation: Rotation, used_B: Tensor, cached: tuple[Tensor, Tensor], row: int
) -> Tensor:
    """Queries `[B, H, D]` of `qkv` `[B, (H + 2 K) D]`; keys and values go behind the `used_B` of their row."""
    keys, values = cached
    kv, head = keys.shape[-2:]
    heads = qkv.shape[1] // head - 2 * kv
    queries = qkv.new_empty(qkv.shape[0], heads, head)
    norms = rotation.cosine if rotation.norms is None else rotation.norms  # never read without
    row_kernels.turn[qkv.shape[0], heads + 2 * kv](
        qkv, norms, rotation.cosine, rotation.sine, used_B, queries, keys, values,
        rotation.eps, row, qkv.stride(0),
        HEADS=heads, KV=kv, D=head, NORMED=rotation.norms is not None, num_warps=1,
    )  # fmt: skip
    return queries


def attend_rows(
    queries: Tensor,
    cached: tuple[Tensor, Tensor],
    filled_B: Tensor,
    scale: float,
    size: tuple[int, int],
) -> Tensor:
    """What `queries` `[B, H, D]` see of the first `filled_B` tokens of their rows. size: of a row, and parts."""
    keys, values = cached
    (rows, heads, head), kv, (row, splits) = queries.shape, keys.shape[-2], size
    seen = torch.empty_like(queries)
    parts, masses = seen, seen
    if splits > 1:
        parts = queries.new_empty(rows, splits, heads, head, dtype=torch.float32)
        masses = queries.new_empty(rows, splits, heads, dtype=torch.float32)
    row_kernels.attend[rows, kv, splits](
        queries, keys, values, filled_B, parts, masses, scale, row,
        HEADS=heads, KV=kv, D=head, SPLITS=splits, BLOCK=BLOCK, GROUP=MOST_GROUP,
        num_warps=4, num_stages=2,
    )  # fmt: skip
    if splits > 1:
        row_kernels.merge[rows, heads](
            parts, masses, seen, HEADS=heads, D=head, SPLITS=splits, num_warps=1
        )
    return seen


# The same in plain PyTorch ------------------------------------------------------------------------


def turned_plainly(
    qkv: Tensor, rotation: Rotation, used_B: Tensor, cached: tuple[Tensor, Tensor], row: int
) -> Tensor:
    """`turn_into_cache`."""
    keys, values = cached
    kv, head = keys.shape[-2:]
    parts = qkv.view(qkv.shape[0], -1, head)
    qk, v = parts[:, :-kv].float(), parts[:, -kv:]
    if rotation.norms is not None:
        qk = qk * torch.rsqrt(qk.square().mean(-1, keepdim=True) + rotation.eps) * rotation.norms
    turned = qk * rotation.cosine[:, None] + qk.roll(head // 2, -1) * rotation.sine[:, None]
    places = torch.arange(qkv.shape[0], device=qkv.device) * row + used_B
    keys.index_copy_(0, places, turned[:, -kv:].to(keys.dtype))
    values.index_copy_(0, places, v)
    return turned[:, :-kv].to(qkv.dtype)


def attended_plainly(
    queries: Tensor,
    cached: tuple[Tensor, Tensor],
    filled_B: Tensor,
    scale: float,
    size: tuple[int, int],
) -> Tensor:
    """`attend_rows`, part by part."""
    (rows, heads, _), (row, splits) = queries.shape, size
    span_B = (
        (filled_B + splits * BLOCK - 1) // (splits * BLOCK) * BLOCK
    )  # the least that covers all
    keys, values = (
        part.view(-1, row, *part.shape[1:])[:rows]
        .float()
        .repeat_interleave(heads // part.shape[1], 2)
        for part in cached
    )
    scores_BHN = scale * torch.einsum("bhd,bnhd->bhn", queries.float(), keys)
    place_N, seen, masses = torch.arange(row, device=queries.device), [], []
    for s in range(splits):
        first_B, last_B = s * span_B, torch.minimum((s + 1) * span_B, filled_B)
        inside_BN = (place_N >= first_B[:, None]) & (place_N < last_B[:, None])
        part_BHN = scores_BHN.masked_fill(~inside_BN[:, None], -1e30)
        masses.append(part_BHN.logsumexp(-1))
        seen.append(torch.einsum("bhn,bnhd->bhd", part_BHN.softmax(-1), values))
    return merged(torch.stack(seen), torch.stack(masses)).to(queries.dtype)


def merged(parts_SBHD: Tensor, masses_SBH: Tensor) -> Tensor:
    """Parts weighed by their share of the whole normaliser, whose logarithms are `masses`; `[B, H, D]`."""
    return (parts_SBHD * masses_SBH.softmax(0)[..., None]).sum(0)
