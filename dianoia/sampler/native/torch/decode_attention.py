"""Attention over a paged KV cache: tiles of tokens, each after its own prefix.

In: queries of the rows of a pass, a layer of the cache `[pages, PAGE, K, D]`, and for each tile the row of the page table that
leads to its keys. Out: the attention output. Keys are read in spans of fixed positions: each gives the softmax over its part and
the logarithm of its normaliser, and the result is the parts weighted by their normalisers, first to last ("flash decoding",
Dao et al. 2023, https://crfm.stanford.edu/2023/10/12/flashdecoding.html). So a token's result depends on its prefix alone, and
is the same bits in a decoding step and in a prompt, whatever the pages and the other rows are. On CUDA with Triton these are our
own kernels (`triton_kernels`), which can be captured in a graph. `attend_groups` is the same in plain PyTorch, for everything
else; the tests compare the two.

Shapes: `N` rows (one token each), `H` query heads, `K` KV heads, `R` query heads per KV head, `D` head size, `O` rows of the
table, `W` its width in pages.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dianoia.sampler.native.torch.page_pool import PAGE, SCRATCH, pages_for

log = logging.getLogger(__name__)

try:
    from dianoia.sampler.native.torch import triton_kernels
except ImportError:  # without Triton
    triton_kernels = None  # type: ignore[assignment]

SPAN = 256
"""Keys of a span in the kernels: few enough that a long sample gives every multiprocessor work."""
MOST_GROUP = 16
"""Rows of a tile, and most query heads per KV head."""
PLAIN_SPAN = 2
"""Pages of a span in plain PyTorch. All products have these sizes: a product over more keys would be summed in another order."""
FEWEST_ROWS, EVEN_ROWS = 4, 16
"""Plain products have FEWEST_ROWS rows or a multiple of EVEN_ROWS: with fewer, BLAS takes other kernels, of other bits."""
GATHERED = 2**18
"""Numbers of keys that are copied out of pages at a time, unless one sample has more: they stay in a core's cache."""
SCORED = 2**22
"""Most numbers of a product's result in plain PyTorch."""

Cached = tuple[Tensor, Tensor]
"""Keys and values of a layer."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """Norms and RoPE angles that are applied to the queries and keys of a pass."""

    norms: Tensor | None
    """`[H + K, D]`: of queries, then of keys; None for models without such norms."""
    eps: float
    cosine: Tensor
    """`[N, D]`."""
    sine: Tensor
    """`[N, D]`; the first half is negated, so that RoPE is `x * cosine + roll(x, D / 2) * sine`."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the tokens of a pass stand."""

    positions_N: Tensor
    """int64: tokens before each one."""
    owners_N: Tensor
    """int64: row of `tables`."""
    tables_OW: Tensor
    """int32: pages of a sample, in order; SCRATCH behind them."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tokens that follow one another, for the kernels; each field has one number per tile."""

    owners: Tensor
    """Row of the table."""
    rows: Tensor
    """Row of the first token."""
    counts: Tensor
    """Tokens, at most MOST_GROUP // R."""
    positions: Tensor
    """Position of the first token."""


@dataclass(frozen=True, slots=True)
class Group:
    """Consecutive rows for plain PyTorch: as many tokens of each of several samples."""

    first: int
    """The first row."""
    samples: int
    tokens: int
    """Tokens per sample."""
    pages: Tensor
    """int32 `[samples * spans * PLAIN_SPAN]`."""


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
    """Try the attention kernels on a small case: Triton needs a toolchain, which can be missing or broken."""
    try:
        queries = torch.ones(2, 2, 16, device=device, dtype=torch.bfloat16)
        cached = queries.new_ones(9, PAGE, 1, 16), queries.new_ones(9, PAGE, 1, 16)
        numbers = torch.arange(2, device=device)
        tables = torch.arange(1, 9, device=device, dtype=torch.int32).view(2, 4)
        tiles = Tiles(numbers, numbers, torch.ones_like(numbers), numbers + PAGE)
        step = attend_tiles(queries, cached, tables, tiles, 1.0, SPAN * 2)
        prompt = attend_tiles(queries, cached, tables, tiles, 1.0, None)
        return bool((step == 1.0).all() and (prompt == 1.0).all())
    except Exception as error:  # noqa: BLE001 - a toolchain can be broken in any way
        log.warning("Triton does not work here, so decoding on the GPU is slower: %s", error)
        return False


# Kernels ------------------------------------------------------------------------------------------


def rope_into_pages(qkv: Tensor, rotation: Rotation, places: Places, cached: Cached) -> Tensor:
    """Return the queries `[N, H, D]` of `qkv` `[N, (H + 2 K) D]` after RoPE, and write its keys and values into pages.

    Keys are written after RoPE.
    """
    keys, values = cached
    kv, head = keys.shape[-2:]
    heads = qkv.shape[1] // head - 2 * kv
    queries = qkv.new_empty(qkv.shape[0], heads, head)
    # a kernel's pointer cannot be None; without norms it is never read
    norms = rotation.cosine if rotation.norms is None else rotation.norms
    triton_kernels.rope[qkv.shape[0], heads + 2 * kv](
        qkv, norms, rotation.cosine, rotation.sine, places.positions_N, places.owners_N,
        places.tables_OW, queries, keys, values,
        rotation.eps, places.tables_OW.shape[1], qkv.stride(0),
        HEADS=heads, KV=kv, D=head, PAGE=PAGE, NORMED=rotation.norms is not None, num_warps=1,
    )  # fmt: skip
    return queries


def attend_tiles(
    queries: Tensor,
    cached: Cached,
    tables_OW: Tensor,
    tiles: Tiles,
    scale: float,
    longest: int | None,
) -> Tensor:
    """Return the attention of `queries` `[N, H, D]`, each over the keys up to its own position.

    longest: no tile ends behind so many tokens; each span then has a program of its own, and a tile is one token. None: one
    program reads all spans of a tile, which is better where there are many tiles.
    """
    keys, values = cached
    (rows, heads, head), kv, width = queries.shape, keys.shape[-2], tables_OW.shape[1]
    # Rows between two tiles are not written. Finite numbers, since they go through the layers all the same.
    attended = torch.zeros_like(queries) if longest is None else torch.empty_like(queries)
    where = (tables_OW, tiles.owners, tiles.rows, tiles.counts, tiles.positions)
    # without fused multiply-adds, which the compiler would place differently in the two kinds of kernels
    options = {"GROUP": MOST_GROUP, "num_warps": 4, "num_stages": 2, "enable_fp_fusion": False}
    sizes = {"HEADS": heads, "KV": kv, "D": head, "PAGE": PAGE, "SPAN": SPAN}
    if longest is None:
        triton_kernels.attend_prompt[len(tiles.rows), kv](
            queries, keys, values, *where, attended, scale, width, **sizes, **options
        )
        return attended
    spans = max(1, -(-longest // SPAN))
    # with one span the kernel writes the result itself
    parts, masses = attended, attended
    if spans > 1:
        parts = queries.new_empty(rows, heads, spans, head, dtype=torch.float32)
        masses = queries.new_empty(rows, heads, spans, dtype=torch.float32)
    triton_kernels.attend[len(tiles.rows), kv, spans](
        queries, keys, values, *where, parts, masses, scale, width, SPANS=spans, **sizes, **options
    )
    if spans > 1:
        triton_kernels.merge[rows, heads](
            parts, masses, tiles.positions, attended,
            HEADS=heads, D=head, SPAN=SPAN, SPANS=spans, num_warps=1, enable_fp_fusion=False,
        )  # fmt: skip
    return attended


# The same in plain PyTorch ------------------------------------------------------------------------


def columns_of(places: Places) -> Tensor:
    """Return the index of each token among all tokens of the cache, `[N]`."""
    pages = places.tables_OW[places.owners_N, places.positions_N // PAGE].long()
    return pages * PAGE + places.positions_N % PAGE


def rope_into_pages_reference(
    qkv: Tensor, rotation: Rotation, places: Places, cached: Cached
) -> Tensor:
    """Compute `rope_into_pages`."""
    keys, values = cached
    kv, head = keys.shape[-2:]
    parts = qkv.view(qkv.shape[0], -1, head)
    qk, v = parts[:, :-kv].float(), parts[:, -kv:]
    if rotation.norms is not None:
        qk = qk * torch.rsqrt(qk.square().mean(-1, keepdim=True) + rotation.eps) * rotation.norms
    rotated = qk * rotation.cosine[:, None] + qk.roll(head // 2, -1) * rotation.sine[:, None]
    columns = columns_of(places)
    keys.flatten(0, 1).index_copy_(0, columns, rotated[:, -kv:].to(keys.dtype))
    values.flatten(0, 1).index_copy_(0, columns, v)
    return rotated[:, :-kv].to(qkv.dtype)


def attend_tiles_reference(
    queries: Tensor,
    cached: Cached,
    tables_OW: Tensor,
    tiles: Tiles,
    scale: float,
    longest: int | None,
) -> Tensor:
    """Compute `attend_tiles`, tile by tile."""
    attended = torch.zeros_like(queries)
    repeats = queries.shape[1] // cached[0].shape[-2]
    numbers = torch.stack((tiles.owners, tiles.rows, tiles.counts, tiles.positions), 1)
    for owner, row, count, position in numbers.tolist():
        assert longest is None or (count == 1 and position < longest)
        group = Group(0, 1, count, span_pages([tables_OW[owner].tolist()], position + count))
        positions = torch.arange(position, position + count)
        masks = masks_of(group, Places(positions, positions, tables_OW), repeats)
        rows = slice(row, row + count)
        attended[rows] = attend_groups(queries[rows], cached, [masks], scale)
    return attended


def span_pages(tables: Sequence[Sequence[int]], tokens: int) -> Tensor:
    """Return the pages of the first `tokens` tokens of samples as whole spans, int32, for `Group.pages`."""
    count = -(-pages_for(tokens) // PLAIN_SPAN) * PLAIN_SPAN
    filled = [[*table[:count], *[SCRATCH] * (count - len(table))] for table in tables]
    return torch.tensor(filled, dtype=torch.int32).flatten()


def samples_at_once(tokens: int, kv_heads: int, head: int) -> int:
    """Return how many samples of so many tokens a group of a decoding step should have."""
    return max(1, GATHERED // (pages_for(tokens) * PAGE * kv_heads * head))


def tokens_at_once(first: int, heads: int, head: int) -> int:
    """Return how many tokens of a prompt a group should have that begins at position `first`."""
    # memory then does not grow with the square of the prompt's length
    numbers = (first + PAGE) * heads * max(head // (PLAIN_SPAN * PAGE), 1)
    return max(EVEN_ROWS, SCORED // numbers)


@dataclass(frozen=True, slots=True)
class Masks:
    """What the rows of a group do not see; the same in every layer."""

    group: Group
    rows: int
    """Rows of a product."""
    hidden: Tensor
    """`[samples * spans, 1, rows or 1, tokens of a span]`: minus infinity for keys that a row does not see."""
    unseen: Tensor | None
    """`[samples, spans, 1, rows or 1]`: minus infinity for spans of which a row sees nothing; None with one span."""


def masks_of(group: Group, places: Places, repeats: int) -> Masks:
    """Return the masks of a group for a model with `repeats` query heads per KV head."""
    token_rows = slice(group.first, group.first + group.samples * group.tokens)
    last = places.positions_N[token_rows].view(group.samples, group.tokens)
    rows = max(FEWEST_ROWS, repeats)
    if group.tokens > 1:
        rows = -(-group.tokens * repeats // EVEN_ROWS) * EVEN_ROWS
        # rows that are added see the first key
        last = F.pad(last.repeat_interleave(repeats, 1), (0, rows - group.tokens * repeats))
    span = PLAIN_SPAN * PAGE
    spans = len(group.pages) // (group.samples * PLAIN_SPAN)
    starts = torch.arange(0, spans * span, span, device=last.device)
    left = last[:, None] - starts[:, None]
    hidden = torch.arange(span, device=last.device) > left[..., None]
    unseen = None
    if spans > 1:
        empty = left < 0
        # of an empty span anything may be read: it gets no weight
        hidden &= ~empty[..., None]
        unseen = torch.zeros(empty.shape, device=last.device).masked_fill_(empty, -torch.inf)[
            :, :, None
        ]
    minus = torch.zeros(hidden.shape, device=last.device).masked_fill_(hidden, -torch.inf)
    return Masks(group, rows, minus.flatten(0, 1)[:, None], unseen)


def attend_groups(queries: Tensor, cached: Cached, groups: Sequence[Masks], scale: float) -> Tensor:
    """Return the attention of the rows `[N, H, D]`, in float32 arithmetic.

    The groups cover the first rows, in order; the others, which no sample has, get zeros.
    """
    parts = [_attend_group(queries, cached, masks, scale) for masks in groups]
    covered = groups[-1].group.first + groups[-1].group.samples * groups[-1].group.tokens
    if covered < len(queries):
        parts.append(torch.zeros_like(queries[covered:]))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _attend_group(queries: Tensor, cached: Cached, masks: Masks, scale: float) -> Tensor:
    """Return the attention of a group's rows `[samples * tokens, H, D]`."""
    group, rows = masks.group, masks.rows
    (_, heads, head), kv = queries.shape, cached[0].shape[-2]
    samples, tokens, count = group.samples, group.tokens, group.tokens * heads // kv
    spans = len(group.pages) // (samples * PLAIN_SPAN)
    keys, values = (_gathered(part, group.pages) for part in cached)
    # the query heads of a KV head, and tokens, are rows of one product, so keys need not be repeated
    q = queries[group.first : group.first + samples * tokens].float()
    q = q.reshape(samples, tokens, kv, -1, head).transpose(1, 2).reshape(samples, kv, count, head)
    if rows > count:
        q = F.pad(q, (0, 0, 0, rows - count))
    if spans > 1:
        q = q[:, None].expand(-1, spans, -1, -1, -1).reshape(-1, kv, rows, head)
    parts, masses = _softmax_parts(q, keys, values, masks.hidden, scale)
    if masks.unseen is not None:
        masses = masses.view(samples, spans, kv, rows) + masks.unseen
        shares = (masses - masses.amax(1, keepdim=True)).exp_()[..., None]
        # running sums add first to last; a sum may add in an order that depends on the number of spans
        parts = (parts.view(samples, spans, kv, rows, head) * shares).cumsum(1)[:, -1]
        parts /= shares.cumsum(1)[:, -1]
    result = parts[:, :, :count].reshape(samples, kv, tokens, -1, head)
    return result.transpose(1, 2).reshape(-1, heads, head).to(queries.dtype)


def _gathered(part: Tensor, pages: Tensor) -> Tensor:
    """Return keys or values of whole spans `[spans, K, tokens of a span, D]`, copied out of their pages."""
    flat = torch.index_select(part.view(len(part), -1), 0, pages)
    return flat.view(-1, PLAIN_SPAN * PAGE, *part.shape[-2:]).float().transpose(1, 2)


def _softmax_parts(
    q: Tensor, keys: Tensor, values: Tensor, hidden: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Return the softmax over each span `[.., rows, D]`, and the logarithm of its normaliser `[.., rows]`."""
    if q.device.type == "cpu":
        # what PyTorch's own attention runs on a CPU, but with the normaliser
        parts, masses = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, keys, values, attn_mask=hidden, scale=scale
        )
        return parts, masses
    scores = q @ keys.transpose(-1, -2) * scale + hidden
    masses = scores.logsumexp(-1)
    return (scores - masses[..., None]).exp_() @ values, masses
