"""Triton kernels of a decoding step: a token's keys into the cache, and attention over a row of it.

Needs Triton, which PyTorch for CUDA brings along; `sampler.native.gpu.decode_attention` asks for them and says what they compute. One
program of `attend` reads one part of one row's keys for all query heads that share a kv head, so keys are read
once, and short batches of long rows still keep every processor busy; `merge` puts the parts together.
"""

# mypy: ignore-errors

import triton
import triton.language as tl


@triton.jit
def turn(
    qkv, norms, cosine, sine, used, queries, keys, values,
    eps, row, stride,
    HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr, NORMED: tl.constexpr,
):  # fmt: skip
    """One head of one token: normalised and rotated, to the queries or behind the row's keys."""
    b, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    d = tl.arange(0, D)
    x = tl.load(qkv + b * stride + h * D + d).to(tl.float32)
    place = ((b * row + tl.load(used + b)) * KV + h - HEADS) * D + d
    if h >= HEADS + KV:
        tl.store(values + place - KV * D, x.to(values.dtype.element_ty))
    else:
        across = (d + D // 2) % D
        other = tl.load(qkv + b * stride + h * D + across).to(tl.float32)
        if NORMED:
            scale = tl.rsqrt(tl.sum(x * x) / D + eps)
            x *= scale * tl.load(norms + h * D + d).to(tl.float32)
            other *= scale * tl.load(norms + h * D + across).to(tl.float32)
        x = x * tl.load(cosine + b * D + d).to(tl.float32) + other * tl.load(sine + b * D + d).to(
            tl.float32
        )
        if h < HEADS:
            tl.store(queries + (b * HEADS + h) * D + d, x.to(queries.dtype.element_ty))
        else:
            tl.store(keys + place, x.to(keys.dtype.element_ty))


@triton.jit
def attend(
    queries, keys, values, filled, seen, masses,
    scale, row,
    HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr,
    SPLITS: tl.constexpr, BLOCK: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """One part of a row for the heads of one kv head. `masses`: base-2 logarithm of the part's normaliser."""
    b, g, s = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    length = tl.load(filled + b)
    span = tl.cdiv(tl.cdiv(length, SPLITS), BLOCK) * BLOCK
    first, last = s * span, tl.minimum((s + 1) * span, length)
    r, d, n = tl.arange(0, GROUP), tl.arange(0, D), tl.arange(0, BLOCK)
    own = r < HEADS // KV
    heads = g * (HEADS // KV) + r
    q = tl.load(
        queries + (b * HEADS + heads[:, None]) * D + d[None, :], mask=own[:, None], other=0.0
    )
    top = tl.full([GROUP], -1e30, tl.float32)
    mass = tl.zeros([GROUP], tl.float32)
    total = tl.zeros([GROUP, D], tl.float32)
    base = (b * row * KV + g) * D
    for start in range(first, last, BLOCK):
        there = start + n < last
        place = base + (start + n)[:, None] * (KV * D) + d[None, :]
        k = tl.load(keys + place, mask=there[:, None], other=0.0)
        v = tl.load(values + place, mask=there[:, None], other=0.0)
        scores = tl.where(
            there[None, :], tl.dot(q, tl.trans(k)) * (scale * 1.4426950408889634), -1e30
        )
        higher = tl.maximum(top, tl.max(scores, 1))
        shares = tl.exp2(scores - higher[:, None])
        fade = tl.exp2(top - higher)
        mass = mass * fade + tl.sum(shares, 1)
        total = total * fade[:, None] + tl.dot(shares.to(v.dtype), v)
        top = higher
    # a part with nothing in it weighs nothing
    total = total / tl.where(mass > 0.0, mass, 1.0)[:, None]
    at = (b * SPLITS + s) * HEADS + heads
    tl.store(
        seen + at[:, None] * D + d[None, :], total.to(seen.dtype.element_ty), mask=own[:, None]
    )
    if SPLITS > 1:
        tl.store(masses + at, tl.where(mass > 0.0, top + tl.log2(mass), -1e30), mask=own)


@triton.jit
def merge(
    parts, masses, seen,
    HEADS: tl.constexpr, D: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """One head of one token: the parts by their share of the whole normaliser."""
    b, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    s, d = tl.arange(0, SPLITS), tl.arange(0, D)
    at = (b * SPLITS + s) * HEADS + h
    mass = tl.load(masses + at)
    share = tl.exp2(mass - tl.max(mass, 0))
    share = share / tl.sum(share, 0)
    part = tl.load(parts + at[:, None] * D + d[None, :])
    whole = tl.sum(part * share[:, None], 0)
    tl.store(seen + (b * HEADS + h) * D + d, whole.to(seen.dtype.element_ty))
