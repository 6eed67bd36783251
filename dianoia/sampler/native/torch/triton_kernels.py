"""Triton kernels over a paged KV cache: RoPE with the write into a page, and attention.

Needs Triton, which PyTorch for CUDA installs; `decode_attention` calls the kernels and has references in PyTorch. A program
attends for the query heads of one KV head and one tile: a few tokens of one sample that follow one another, so that keys are
read once for all of them. Keys are read in spans of fixed positions. A decoding step gives each span a program of its own, so
that a long sample keeps every multiprocessor busy, and `merge` combines them in order; in `attend_prompt` one program does both.
What a token gets depends on its position alone: not on other rows, on the pages, or on the number of spans of a step.
"""

# mypy: ignore-errors

import triton
import triton.language as tl


@triton.jit
def rope(
    qkv, norms, cosine, sine, positions, owners, tables, queries, keys, values,
    eps, width, stride,
    HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr, PAGE: tl.constexpr, NORMED: tl.constexpr,
):  # fmt: skip
    """Write one head of one token to the queries, keys or values: queries and keys after norm and RoPE."""
    # Program h of a token: query heads first, then key heads, then value heads.
    b, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    d = tl.arange(0, D)
    x = tl.load(qkv + b * stride + h * D + d).to(tl.float32)
    # Address of key head h - HEADS in the cache [pages, PAGE, KV, D]; for a value head it is KV heads too far.
    position = tl.load(positions + b)
    page = tl.load(tables + tl.load(owners + b) * width + position // PAGE).to(tl.int64)
    target = ((page * PAGE + position % PAGE) * KV + h - HEADS) * D + d
    if h >= HEADS + KV:
        tl.store(values + target - KV * D, x.to(values.dtype.element_ty))
    else:
        # "rotate half": each element is paired with the one half a head away
        across = (d + D // 2) % D
        paired = tl.load(qkv + b * stride + h * D + across).to(tl.float32)
        if NORMED:
            scale = tl.rsqrt(tl.sum(x * x) / D + eps)
            x *= scale * tl.load(norms + h * D + d).to(tl.float32)
            paired *= scale * tl.load(norms + h * D + across).to(tl.float32)
        # the sign of "rotate half" is in the sine
        x = x * tl.load(cosine + b * D + d).to(tl.float32) + paired * tl.load(sine + b * D + d).to(
            tl.float32
        )
        if h < HEADS:
            tl.store(queries + (b * HEADS + h) * D + d, x.to(queries.dtype.element_ty))
        else:
            tl.store(keys + target, x.to(keys.dtype.element_ty))


@triton.jit
def _tile(
    queries, row, count, position, g,
    HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Return a tile's queries `[GROUP, D]`, (row x heads + head) of each, which of the GROUP rows exist, and the keys they see."""
    # GROUP rows are what tl.dot wants: the heads of the first token, then those of the next; what is left over is masked
    repeats: tl.constexpr = HEADS // KV
    r, d = tl.arange(0, GROUP), tl.arange(0, D)
    exists = r < count * repeats
    heads = (row + r // repeats) * HEADS + g * repeats + r % repeats
    q = tl.load(queries + heads[:, None] * D + d[None, :], mask=exists[:, None], other=0.0)
    return q, heads, exists, position + r // repeats + 1


@triton.jit
def _attend_span(
    q, seen, keys, values, table, begin, end, g, scale,
    KV: tl.constexpr, D: tl.constexpr, PAGE: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Return the softmax over keys `begin` to `end` `[GROUP, D]`, and the base-2 logarithm of its normaliser."""
    n, d = tl.arange(0, PAGE), tl.arange(0, D)
    # Online softmax: `top` is the largest score so far, `mass` the sum of weights relative to it.
    top = tl.full([GROUP], -1e30, tl.float32)
    mass = tl.zeros([GROUP], tl.float32)
    total = tl.zeros([GROUP, D], tl.float32)
    for start in range(begin, end, PAGE):
        column = start + n
        page = tl.load(table + start // PAGE).to(tl.int64)
        address = ((page * PAGE + n)[:, None] * KV + g) * D + d[None, :]
        k = tl.load(keys + address, mask=(column < end)[:, None], other=0.0)
        v = tl.load(values + address, mask=(column < end)[:, None], other=0.0)
        # log2(e) in the scale, so that exp2 serves as exp; minus infinity gives a weight of 0 beside any `top`
        scores = tl.where(
            column[None, :] < seen[:, None],
            tl.dot(q, tl.trans(k)) * (scale * 1.4426950408889634),
            float("-inf"),
        )
        higher = tl.maximum(top, tl.max(scores, 1))
        weights = tl.exp2(scores - higher[:, None])
        fade = tl.exp2(top - higher)
        mass = mass * fade + tl.sum(weights, 1)
        total = total * fade[:, None] + tl.dot(weights.to(v.dtype), v)
        top = higher
    # a span of which a row sees nothing gets a logarithm of -1e30, so it weighs nothing
    normaliser = tl.where(mass > 0.0, mass, 1.0)
    return total / normaliser[:, None], tl.where(mass > 0.0, top + tl.log2(normaliser), -1e30)


@triton.jit
def attend(
    queries, keys, values, tables, owners, rows, counts, positions, parts, masses,
    scale, width,
    HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr,
    PAGE: tl.constexpr, SPAN: tl.constexpr, SPANS: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Attend over one span for the tokens of one tile and the query heads of one KV head."""
    t, g, s = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    row, count = tl.load(rows + t).to(tl.int64), tl.load(counts + t)
    position = tl.load(positions + t)
    q, heads, exists, seen = _tile(queries, row, count, position, g, HEADS, KV, D, GROUP)
    table = tables + tl.load(owners + t) * width
    begin = s * SPAN
    end = tl.minimum(begin + SPAN, position + count)
    part, mass = _attend_span(
        q, seen, keys, values, table, begin, end, g, scale, KV, D, PAGE, GROUP
    )
    d = tl.arange(0, D)
    target = heads * SPANS + s
    tl.store(
        parts + target[:, None] * D + d[None, :],
        part.to(parts.dtype.element_ty),
        mask=exists[:, None],
    )
    if SPANS > 1:
        tl.store(masses + target, mass, mask=exists)


@triton.jit
def attend_prompt(
    queries, keys, values, tables, owners, rows, counts, positions, attended,
    scale, width,
    HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr,
    PAGE: tl.constexpr, SPAN: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Run `attend` over all spans of a tile, and `merge`, in one program."""
    t, g = tl.program_id(0), tl.program_id(1)
    row, count = tl.load(rows + t).to(tl.int64), tl.load(counts + t)
    position = tl.load(positions + t)
    q, heads, exists, seen = _tile(queries, row, count, position, g, HEADS, KV, D, GROUP)
    table = tables + tl.load(owners + t) * width
    last = position + count
    top = tl.full([GROUP], -1e30, tl.float32)
    total_mass = tl.zeros([GROUP], tl.float32)
    total = tl.zeros([GROUP, D], tl.float32)
    for begin in range(0, last, SPAN):
        end = tl.minimum(begin + SPAN, last)
        part, mass = _attend_span(
            q, seen, keys, values, table, begin, end, g, scale, KV, D, PAGE, GROUP
        )
        higher = tl.maximum(top, mass)
        fade, share = tl.exp2(top - higher), tl.exp2(mass - higher)
        total_mass = total_mass * fade + share
        total = total * fade[:, None] + part * share[:, None]
        top = higher
    # a row that does not exist may see nothing
    result = total / tl.where(total_mass > 0.0, total_mass, 1.0)[:, None]
    d = tl.arange(0, D)
    tl.store(
        attended + heads[:, None] * D + d[None, :],
        result.to(attended.dtype.element_ty),
        mask=exists[:, None],
    )


@triton.jit
def merge(
    parts, masses, positions, attended,
    HEADS: tl.constexpr, D: tl.constexpr, SPAN: tl.constexpr, SPANS: tl.constexpr,
):  # fmt: skip
    """Combine the spans of one head of one token, first to last, by their shares of the normaliser."""
    b, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    d = tl.arange(0, D)
    row = (b * HEADS + h) * SPANS
    # vectors of one element, as `attend_prompt` has vectors of GROUP: the same operations in the same order
    top = tl.full([1], -1e30, tl.float32)
    total_mass = tl.zeros([1], tl.float32)
    total = tl.zeros([1, D], tl.float32)
    # a token that no sample has is at position 0, and reads a span of its own
    for s in range(tl.load(positions + b) // SPAN + 1):
        mass = tl.load(masses + row + s + tl.arange(0, 1))
        part = tl.load(parts + (row + s) * D + d)[None, :]
        higher = tl.maximum(top, mass)
        fade, share = tl.exp2(top - higher), tl.exp2(mass - higher)
        total_mass = total_mass * fade + share
        total = total * fade[:, None] + part * share[:, None]
        top = higher
    result = total / total_mass[:, None]
    tl.store(attended + ((b * HEADS + h) * D + d)[None, :], result.to(attended.dtype.element_ty))
