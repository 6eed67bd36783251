"""Triton kernels of a decoding step: RoPE with the write into the KV cache, and attention over a slot of it.

Needs Triton, which PyTorch for CUDA installs; `decode_attention` calls the kernels and has references in PyTorch. One
program of `attend` reads one split of one slot for all query heads of a KV head, so keys are read once, and small
batches of long slots still keep every multiprocessor busy. `merge` combines the splits.
"""

# mypy: ignore-errors

import triton
import triton.language as tl


@triton.jit
def rope(
    qkv, norms, cosine, sine, lengths, queries, keys, values,
    eps, capacity, stride,
    HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr, NORMED: tl.constexpr,
):  # fmt: skip
    """Write one head of one token to the queries, keys or values: queries and keys after norm and RoPE."""
    # Program h of a token: query heads first, then key heads, then value heads.
    b, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    d = tl.arange(0, D)
    x = tl.load(qkv + b * stride + h * D + d).to(tl.float32)
    # Address of key head h - HEADS in the cache [slots, capacity, KV, D]; for a value head it is KV heads too far.
    target = ((b * capacity + tl.load(lengths + b)) * KV + h - HEADS) * D + d
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
def attend(
    queries, keys, values, filled, parts, masses,
    scale, capacity,
    HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr,
    SPLITS: tl.constexpr, BLOCK: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Attend over one split of a slot for the query heads of one KV head.

    `masses` receives the base-2 logarithm of the split's normaliser.
    """
    b, g, s = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    # a split is a whole number of blocks; the last splits of a short slot are empty
    length = tl.load(filled + b)
    span = tl.cdiv(tl.cdiv(length, SPLITS), BLOCK) * BLOCK
    first, last = s * span, tl.minimum((s + 1) * span, length)
    # GROUP rows are what tl.dot wants; those beyond the group's heads are masked
    r, d, n = tl.arange(0, GROUP), tl.arange(0, D), tl.arange(0, BLOCK)
    in_group = r < HEADS // KV
    heads = g * (HEADS // KV) + r
    q = tl.load(
        queries + (b * HEADS + heads[:, None]) * D + d[None, :], mask=in_group[:, None], other=0.0
    )
    # Online softmax: `top` is the largest score so far, `mass` the sum of weights relative to it.
    top = tl.full([GROUP], -1e30, tl.float32)
    mass = tl.zeros([GROUP], tl.float32)
    total = tl.zeros([GROUP, D], tl.float32)
    base = (b * capacity * KV + g) * D
    for start in range(first, last, BLOCK):
        inside = start + n < last
        address = base + (start + n)[:, None] * (KV * D) + d[None, :]
        k = tl.load(keys + address, mask=inside[:, None], other=0.0)
        v = tl.load(values + address, mask=inside[:, None], other=0.0)
        # log2(e) in the scale, so that exp2 serves as exp
        scores = tl.where(
            inside[None, :], tl.dot(q, tl.trans(k)) * (scale * 1.4426950408889634), -1e30
        )
        higher = tl.maximum(top, tl.max(scores, 1))
        weights = tl.exp2(scores - higher[:, None])
        fade = tl.exp2(top - higher)
        mass = mass * fade + tl.sum(weights, 1)
        total = total * fade[:, None] + tl.dot(weights.to(v.dtype), v)
        top = higher
    # an empty split gets a mass of -1e30, so it weighs nothing; here it only must not divide by zero
    total = total / tl.where(mass > 0.0, mass, 1.0)[:, None]
    row = (b * SPLITS + s) * HEADS + heads
    tl.store(
        parts + row[:, None] * D + d[None, :],
        total.to(parts.dtype.element_ty),
        mask=in_group[:, None],
    )
    if SPLITS > 1:
        tl.store(masses + row, tl.where(mass > 0.0, top + tl.log2(mass), -1e30), mask=in_group)


@triton.jit
def merge(
    parts, masses, attended,
    HEADS: tl.constexpr, D: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Combine the splits of one head of one token by their shares of the normaliser."""
    b, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    s, d = tl.arange(0, SPLITS), tl.arange(0, D)
    row = (b * SPLITS + s) * HEADS + h
    mass = tl.load(masses + row)
    share = tl.exp2(mass - tl.max(mass, 0))
    share = share / tl.sum(share, 0)
    part = tl.load(parts + row[:, None] * D + d[None, :])
    result = tl.sum(part * share[:, None], 0)
    tl.store(attended + (b * HEADS + h) * D + d, result.to(attended.dtype.element_ty))
