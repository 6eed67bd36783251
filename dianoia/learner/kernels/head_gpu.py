"""Log-probabilities under an output head over a large vocabulary, for a GPU: few float32 logits at a time.

In: hidden states, the head's weight, the tokens that followed. Out: their log-probabilities, the entropies, and
whether each token was the likeliest, with gradients of the first for states and weight. Products take factors of
`kind`; logits, sums over them and results are float32 at least. What the backward pass needs of a logit is its
slope, (1 at the token) - probability: computed while the logits are there and kept in `kind` where there is room
for it, else from logits computed again, chunk by chunk. The gradient of a token scales its row, so it is
multiplied to the states and not to the slopes. Left out: heads that cap or scale.

Shapes: `N` tokens, `C` tokens of a chunk, `D` hidden, `V` vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dianoia.hardware.compiled import compile_for, mark_dynamic
from dianoia.hardware.matmul import matmul_float32

FLOOR = -1e30
"""Logits below it count as it, so that minus infinity has an entropy of 0 and no NaN."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """How tokens are scored."""

    temperature: float
    kind: torch.dtype
    """Of the factors of products, and of slopes that are kept."""
    chunk: int
    """Tokens whose logits exist at one time."""
    kept: int = 0
    """Most slopes kept for the backward pass; of more, logits are computed again."""


class Scores(NamedTuple):
    """Of each token, `_N`; the first alone carries a gradient."""

    logprobs: Tensor
    """float32 at least"""
    entropies: Tensor
    """float32 at least, in nats"""
    likeliest: Tensor
    """bool"""


def scored(
    states_ND: Tensor, head: tuple[Tensor, Tensor | None], ids_N: Tensor, scoring: Scoring
) -> Scores:
    """Log-probability and entropy of each token under `head`: weight `_VD` and bias `_V`."""
    learns = torch.is_grad_enabled() and (states_ND.requires_grad or head[0].requires_grad)
    keeps = learns and len(ids_N) * len(head[0]) <= scoring.kept
    return Scores(*_Scored.apply(states_ND, *head, ids_N, scoring, keeps))  # type: ignore[no-untyped-call]


class _Scored(torch.autograd.Function):
    """`scored`."""

    @staticmethod
    def forward(
        ctx: Any,
        states_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        ids_N: Tensor,
        scoring: Scoring,
        keeps: bool,
    ) -> tuple[Tensor, ...]:
        """Keeps states, weight, normalisers, and slopes where asked to."""
        ctx.scoring = scoring
        read, small_VD = compile_for(_read, states_ND.device), weight_VD.to(scoring.kind)
        chunks = []
        for states_CD, ids_C in _chunks(scoring, states_ND, ids_N):
            logits_CV = _logits(states_CD, small_VD, bias_V, scoring)
            mark_dynamic(logits_CV, ids_C)
            chunks.append(read(logits_CV, ids_C, scoring.temperature, scoring.kind, keeps))
            del logits_CV  # before the next ones are made
        *read_N, slopes = zip(*chunks, strict=True)
        normal_N, logprobs_N, entropies_N, likeliest_N = map(torch.cat, read_N)
        ctx.save_for_backward(states_ND, weight_VD, bias_V, ids_N, normal_N, *slopes)
        ctx.mark_non_differentiable(entropies_N, likeliest_N)
        return logprobs_N, entropies_N, likeliest_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of states, weight and bias."""
        states_ND, weight_VD, bias_V, ids_N, normal_N, *kept = ctx.saved_tensors
        scoring: Scoring = ctx.scoring
        small_VD, of_states = weight_VD.to(scoring.kind), []
        of_weight = of_bias = None
        chunks = _chunks(scoring, states_ND, ids_N, normal_N, grads[0] / scoring.temperature)
        for slopes_CV, (states_CD, ids_C, normal_C, grad_C) in zip(kept, chunks, strict=True):
            if slopes_CV is None:
                logits_CV = _logits(states_CD, small_VD, bias_V, scoring)
                mark_dynamic(logits_CV, ids_C, normal_C)
                slope = compile_for(_slope, states_CD.device)
                slopes_CV = slope(logits_CV, ids_C, normal_C, scoring.temperature, scoring.kind)
                del logits_CV
            of_states.append(
                (matmul_float32(slopes_CV, small_VD) * grad_C[:, None]).to(states_ND.dtype)
            )
            scaled_CD = (states_CD * grad_C[:, None]).to(scoring.kind)
            of_weight = _added(of_weight, matmul_float32(slopes_CV.t(), scaled_CD))
            if bias_V is not None:
                of_bias = _added(of_bias, grad_C @ slopes_CV.to(grad_C.dtype))
        return (
            torch.cat(of_states),
            _as(of_weight, weight_VD),
            _as(of_bias, bias_V),
            None,
            None,
            None,
        )


def _added(total: Tensor | None, more: Tensor) -> Tensor:
    return more if total is None else total.add_(more)


def _as(gradient: Tensor | None, of: Tensor | None) -> Tensor | None:
    return None if gradient is None or of is None else gradient.to(of.dtype)


def _chunks(scoring: Scoring, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(torch.split(tensor, scoring.chunk) for tensor in tensors), strict=True)


def _logits(states_CD: Tensor, small_VD: Tensor, bias_V: Tensor | None, scoring: Scoring) -> Tensor:
    """Float32 at least, of factors of `kind`."""
    logits_CV = matmul_float32(states_CD.to(scoring.kind), small_VD.t())
    return logits_CV if bias_V is None else logits_CV.add_(bias_V)


def _read(
    logits_CV: Tensor, ids_C: Tensor, temperature: float, kind: torch.dtype, keeps: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Logarithm of the normaliser, log-probability of the token, entropy, likeliest or not; slopes."""
    scaled_CV = (logits_CV / temperature).clamp(min=FLOOR)
    normal_C = scaled_CV.logsumexp(-1)
    taken_C = scaled_CV.gather(1, ids_C[:, None])[:, 0]
    mean_C = ((scaled_CV - normal_C[:, None]).exp() * scaled_CV).sum(-1)
    likeliest_C = taken_C >= scaled_CV.amax(-1)
    slopes_CV = _slope(logits_CV, ids_C, normal_C, temperature, kind) if keeps else None
    return normal_C, taken_C - normal_C, normal_C - mean_C, likeliest_C, slopes_CV


def _slope(
    logits_CV: Tensor, ids_C: Tensor, normal_C: Tensor, temperature: float, kind: torch.dtype
) -> Tensor:
    """(1 at the token) - probabilities. Subtracted before it is rounded: near 1 a half has few numbers."""
    probs_CV = (logits_CV / temperature - normal_C[:, None]).exp()
    there_CV = torch.arange(logits_CV.shape[1], device=ids_C.device) == ids_C[:, None]
    return (there_CV.to(probs_CV.dtype) - probs_CV).to(kind)
