"""Drawing tokens: from logits and a sample's own random stream to ids and log-probabilities.

In: logits `[B, V]`, and per row a 64-bit seed and the index of the token to draw. Out: ids and float32
log-probabilities `[B]`. The random number behind a token is a hash of (request key, sample index,
token index), so a draw does not depend on what it is batched with. One limit remains in PyTorch: logits of the
same row may differ by rounding (about 1e-7) between batch shapes, and a random number that falls
within that distance of the border between two tokens then picks the other one. Not here: penalties,
beams, and all else that would make the sampled policy differ from the recorded one.
"""

from collections.abc import Sequence

import torch

from dianoia.base.records import SamplingParams
from dianoia.hardware.c_functions import library
from dianoia.hardware.c_functions import typed_calls as functions
from dianoia.hardware.compiled import compile_for, mark_dynamic

PREFIX = 64
"""Most likely tokens that top-p tries before it sorts a whole row."""
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def _signed(value: int) -> int:
    """Return a 64-bit pattern as the two's complement number that int64 tensors hold."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _mix(value: int) -> int:
    """Apply the finalizer of splitmix64 (Steele, Lea, Flood 2014) to a Python integer."""
    value = ((value ^ (value >> 30)) * _MIX_1) & _MASK
    value = ((value ^ (value >> 27)) * _MIX_2) & _MASK
    return value ^ (value >> 31)


def seed_of(key: Sequence[int], sample: int) -> int:
    """Return the seed of a sample's random stream, as a signed 64-bit number."""
    state = 0
    # the length of the key comes last: without it (1,) and (1, 0) could share a stream
    for part in (*key, sample, len(key)):
        state = _mix((state + _GOLDEN + (part & _MASK)) & _MASK)
    return _signed(state)


def key_of(seed: int) -> tuple[int, ...]:
    """Return the key whose sample 0 has the random stream `seed`, as `seed_of` gives it for another key and sample.

    So who is sent a seed draws what the sender would have drawn.
    """
    state = seed & _MASK
    # The steps of `seed_of((part,), 0)` backwards: each is a bijection.
    for part in (1, 0):
        state = (_unmix(state) - _GOLDEN - part) & _MASK
    return ((_unmix(state) - _GOLDEN) & _MASK,)


def _unmix(value: int) -> int:
    """Undo `_mix`."""
    for shift, factor in ((31, _MIX_2), (27, _MIX_1), (30, 1)):
        # A shift of at least 22 bits is undone by applying it three times.
        value ^= (value >> shift) ^ (value >> 2 * shift)
        value = (value * pow(factor, -1, 1 << 64)) & _MASK
    return value


def uniforms(seeds_B: torch.Tensor, indices_B: torch.Tensor) -> torch.Tensor:
    """Return float32 numbers in [0, 1), one per row: splitmix64 of (seed, token index) in int64."""
    # int64 wraps around like uint64, but shifts keep the sign: masks clear what a logical shift would
    z = (indices_B + 1) * _signed(_GOLDEN) + seeds_B
    z = (z ^ ((z >> 30) & (_MASK >> 30))) * _signed(_MIX_1)
    z = (z ^ ((z >> 27) & (_MASK >> 27))) * _signed(_MIX_2)
    z = z ^ ((z >> 31) & (_MASK >> 31))
    # 24 bits are what a float32 holds exactly; more could round up to 1
    return ((z >> 40) & 0xFFFFFF).to(torch.float32) * 2.0**-24


def draw(
    logits_BV: torch.Tensor, seeds_B: torch.Tensor, indices_B: torch.Tensor, params: SamplingParams
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw ids, and return them with their log-probabilities, both `[B]`.

    Log-probabilities are those at the sampling temperature, before top-p and top-k. Temperature 0 takes the most
    likely token and reports its log-probability at temperature 1.
    """
    logits_BV = logits_BV.float()
    # in C on a CPU; on CUDA without writing probabilities where nothing is truncated; else in plain PyTorch
    if logits_BV.device.type == "cpu" and library() is not None:
        return _draw_in_c(logits_BV.contiguous(), None, seeds_B, indices_B, params)
    whole_vocabulary = params.temperature > 0.0 and params.top_p >= 1.0 and not params.top_k
    if whole_vocabulary and logits_BV.is_cuda:
        return _draw_by_blocks(logits_BV, uniforms(seeds_B, indices_B), params.temperature)
    # log-probabilities of greedy samples are those at temperature 1
    if params.temperature not in (0.0, 1.0):
        logits_BV = logits_BV / params.temperature
    probs_BV = logits_BV.softmax(-1)
    if params.temperature == 0.0 or params.top_k == 1:
        ids_B = logits_BV.argmax(-1)
    elif params.top_p < 1.0 or params.top_k:
        ids_B = _draw_truncated(probs_BV, uniforms(seeds_B, indices_B), params)
    else:
        ids_B = _draw_all(probs_BV, uniforms(seeds_B, indices_B))
    return ids_B, probs_BV.gather(1, ids_B[:, None])[:, 0].log()


def draw_owned(
    logits_NV: torch.Tensor, owners_B: torch.Tensor, seeds_B: torch.Tensor, params: SamplingParams
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the first token of each sample in C, from row `owners_B` of the logits; returns what `draw` returns."""
    return _draw_in_c(logits_NV, owners_B, seeds_B, torch.zeros_like(seeds_B), params)


def _draw_in_c(
    logits_NV: torch.Tensor,
    owners_B: torch.Tensor | None,
    seeds_B: torch.Tensor,
    indices_B: torch.Tensor,
    params: SamplingParams,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run `draw` in C. The rows of the logits may be further apart than they are long."""
    ids_B, logprobs_B = torch.empty_like(seeds_B), torch.empty(len(seeds_B))
    draw_params = (params.temperature, params.top_p, params.top_k)
    seeds_B, indices_B = seeds_B.contiguous(), indices_B.contiguous()
    functions.draw(logits_NV, owners_B, seeds_B, indices_B, draw_params, ids_B, logprobs_B)
    return ids_B, logprobs_B


def _invert(weights_BN: torch.Tensor, points_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first index whose running sum exceeds the point, and the point less the sum before that index.

    A point at or past the total (rounding) is moved just below it, so an entry of weight 0 is never hit.
    """
    sums_BN = weights_BN.cumsum(-1)
    last_B1 = sums_BN[:, -1:].contiguous()
    # nextafter: the largest float below the total
    points_B1 = torch.minimum(points_B[:, None], last_B1.nextafter(torch.zeros_like(last_B1)))
    index_B1 = torch.searchsorted(sums_BN, points_B1, right=True)
    before_B1 = sums_BN.gather(1, (index_B1 - 1).clamp_min(0)).masked_fill_(index_B1 == 0, 0.0)
    return index_B1[:, 0], (points_B1 - before_B1)[:, 0]


def _draw_all(probs_BV: torch.Tensor, uniforms_B: torch.Tensor) -> torch.Tensor:
    """Draw by inverse CDF over the whole vocabulary, in two levels: a block of about sqrt(V) ids, then an id in it.

    Cheaper than one running sum over V, and rounds less.
    """
    rows, vocabulary = probs_BV.shape
    width = _block_width(vocabulary)
    # zeros fill up the last block; they are never drawn, since their running sum does not grow
    padded_BV = torch.nn.functional.pad(probs_BV, (0, -vocabulary % width))
    blocks_BNW = padded_BV.view(rows, -1, width)
    sums_BN = blocks_BNW.sum(-1)
    block_B, remainder_B = _invert(sums_BN, uniforms_B * sums_BN.sum(-1))
    block_BW = blocks_BNW[torch.arange(rows, device=probs_BV.device), block_B]
    return block_B * width + _invert(block_BW, remainder_B)[0]


def _block_width(vocabulary: int) -> int:
    """Return the number of ids per block: a power of two near the square root of the vocabulary."""
    return 1 << (vocabulary.bit_length() // 2)


def _draw_by_blocks(
    logits_BV: torch.Tensor, uniforms_B: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run `_draw_all`, and return log-probabilities too, without storing the probabilities.

    Logits are read twice for the masses of the blocks, and once more in the block that is drawn.
    """
    vocabulary = logits_BV.shape[1]
    width = _block_width(vocabulary)
    mark_dynamic(logits_BV)
    # one pass over the logits for the normaliser, one for the masses of the blocks
    normal_B1, sums_BN = compile_for(_masses, logits_BV.device)(logits_BV, temperature, width)
    block_B, remainder_B = _invert(sums_BN, uniforms_B * sums_BN.sum(-1))
    ids_BW = block_B[:, None] * width + torch.arange(width, device=logits_BV.device)
    inside_BW = ids_BW < vocabulary  # the last block may reach past the vocabulary
    block_BW = logits_BV.gather(1, ids_BW.clamp(max=vocabulary - 1)) / temperature
    index_B, _ = _invert((block_BW - normal_B1).exp() * inside_BW, remainder_B)
    index_B1 = index_B[:, None]
    return ids_BW.gather(1, index_B1)[:, 0], (block_BW.gather(1, index_B1) - normal_B1)[:, 0]


def _masses(
    logits_BV: torch.Tensor, temperature: float, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logarithm of the normaliser `[B, 1]`, and the probability of each block of `width` ids."""
    scaled_BV = logits_BV / temperature
    normal_B1 = scaled_BV.logsumexp(-1, keepdim=True)
    probs_BV = (scaled_BV - normal_B1).exp()
    padded_BV = torch.nn.functional.pad(probs_BV, (0, -logits_BV.shape[1] % width))
    return normal_B1, padded_BV.view(len(logits_BV), -1, width).sum(-1)


def _draw_truncated(
    probs_BV: torch.Tensor, uniforms_B: torch.Tensor, params: SamplingParams
) -> torch.Tensor:
    """Draw by inverse CDF over the tokens that top-k, and then top-p of what top-k left, keep."""
    vocabulary = probs_BV.shape[-1]
    # a partial sort suffices for top-k, and in most rows for top-p
    count = min(params.top_k or PREFIX, vocabulary)
    values_BN, order_BN = probs_BV.topk(count)
    ids_B = _draw_sorted(values_BN, order_BN, uniforms_B, params)
    # rows whose most likely tokens hold less than top-p are drawn again from all tokens
    if not params.top_k and count < vocabulary:
        short = (values_BN.sum(-1) < params.top_p).nonzero()[:, 0]
        if short.numel():
            values_SV, order_SV = probs_BV[short].sort(descending=True)
            # The same random numbers: a row gets the token that sorting all rows would have given it.
            ids_B[short] = _draw_sorted(values_SV, order_SV, uniforms_B[short], params)
    return ids_B


def _draw_sorted(
    values_BN: torch.Tensor,
    order_BN: torch.Tensor,
    uniforms_B: torch.Tensor,
    params: SamplingParams,
) -> torch.Tensor:
    """Draw from descending probabilities: from the smallest leading set that holds top-p of the mass."""
    mass_B1 = values_BN.sum(-1, keepdim=True) if params.top_k else 1.0
    # a token is kept if the tokens before it do not hold top-p yet; the first one always is
    before_BN = values_BN.cumsum(-1) - values_BN
    nucleus_BN = before_BN < params.top_p * mass_B1
    nucleus_BN[:, 0] = True
    weights_BN = values_BN * nucleus_BN
    index_B, _ = _invert(weights_BN, uniforms_B * weights_BN.sum(-1))
    return order_BN.gather(1, index_B[:, None])[:, 0]
