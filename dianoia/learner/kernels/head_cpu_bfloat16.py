"""Log-probabilities under an output head with bfloat16 factors on a CPU, by the C functions of `hardware.c_functions`.

In: hidden states, the head, the tokens that followed. Out: what `learner.kernels.head_gpu` gives a GPU: factors of products are
rounded to bfloat16, in the sampler as well (`sampler.native.cpu.packed_weights`); logits, sums over them and results are float32.
A few logits are scored before the next are made. They are kept for the backward pass where they are one chunk; of
several they are computed again. Left out: hidden sizes that are odd, as such numbers are multiplied in pairs.

Shapes: `N` tokens, `C` tokens of a chunk, `D` hidden, `V` vocabulary, `W` that in whole vectors.
"""

from typing import Any

import torch
from torch import Tensor

from dianoia.hardware.c_functions import call, pack_panels, round_to_vectors
from dianoia.learner.kernels.head_cpu import scored_by

HALF = torch.bfloat16
_SCORED = 96
"""As in head.c."""


def scored_in_half(
    states_ND: Tensor,
    head: tuple[Tensor, Tensor | None],
    ids_N: Tensor,
    temperature: float,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """As `head_c.scored_in_c`."""
    assert states_ND.shape[1] % 2 == 0, "an odd hidden size is for head_c"
    return scored_by(_Scored, states_ND, head, ids_N, temperature, chunk)


class _Scored(torch.autograd.Function):
    """`scored_in_half`."""

    @staticmethod
    def forward(
        ctx: Any,
        states_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        ids_N: Tensor,
        scale: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        """Keeps rounded states, normalisers, and the logits if they are one chunk and will be asked for."""
        ids_N, narrow_ND = ids_N.contiguous(), states_ND.to(HALF)
        keeps = any(ctx.needs_input_grad) and len(ids_N) <= chunk
        logits_CW = _room(states_ND, len(ids_N) if keeps else _SCORED, len(weight_VD))
        head = (pack_panels(weight_VD, HALF), bias_V)
        scores_3N = _score(narrow_ND, head, ids_N, scale, logits_CW, keeps, len(weight_VD))
        normal_N, logprobs_N, entropies_N = scores_3N
        ctx.scale, ctx.chunk, ctx.kept = scale, chunk, logits_CW if keeps else None
        ctx.save_for_backward(narrow_ND, weight_VD, bias_V, ids_N, normal_N)
        ctx.mark_non_differentiable(entropies_N)
        return logprobs_N, entropies_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Of states, weight and bias."""
        narrow_ND, weight_VD, bias_V, ids_N, normal_N = ctx.saved_tensors
        grad_N, of_states = grads[0].contiguous(), torch.empty_like(narrow_ND, dtype=torch.float32)
        of_weight, narrow_VD = torch.zeros_like(weight_VD), weight_VD.to(HALF)
        of_bias = None if bias_V is None else torch.zeros_like(bias_V)
        head = (pack_panels(weight_VD, HALF), bias_V) if ctx.kept is None else None
        for first in range(0, len(ids_N), ctx.chunk):
            some = slice(first, first + ctx.chunk)
            states_CD, ids_C = narrow_ND[some], ids_N[some]
            logits_CW = ctx.kept
            if head is not None:
                logits_CW = _room(grad_N, len(ids_C), len(weight_VD))
                _score(states_CD, head, ids_C, ctx.scale, logits_CW, True, len(weight_VD))
            slopes_CV = states_CD.new_empty(len(ids_C), len(weight_VD))
            given = (ids_C, ctx.scale, normal_N[some], grad_N[some])
            call("score_backward_half", logits_CW, *given, slopes_CV, *slopes_CV.shape)
            of_states[some] = slopes_CV @ narrow_VD
            of_weight += slopes_CV.t() @ states_CD
            if of_bias is not None:
                of_bias += slopes_CV.sum(0, dtype=torch.float32)
        return of_states, of_weight, of_bias, None, None, None


def _room(like: Tensor, rows: int, vocabulary: int) -> Tensor:
    return like.new_empty(rows, round_to_vectors(vocabulary))


def _score(
    states_ND: Tensor,
    head: tuple[Tensor, Tensor | None],
    ids_N: Tensor,
    scale: float,
    logits_CW: Tensor,
    keep: bool,
    vocabulary: int,
) -> Tensor:
    """Logarithm of the normaliser, log-probability and entropy of each token, `_3N`. keep: all logits stay."""
    scores_3N = logits_CW.new_empty(3, len(ids_N))
    given = (states_ND, *head, ids_N, scale, logits_CW, int(keep))
    call("score_half", *given, *scores_3N, *states_ND.shape, vocabulary)
    return scores_3N
