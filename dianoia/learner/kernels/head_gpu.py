"""Log-probabilities under an output head over a large vocabulary, for a GPU: few float32 logits at a time.

In: hidden states, the head, the tokens that followed. Out: their log-probabilities, the entropies, and whether each token
was the likeliest, with gradients of the first for states and weight. Products take factors of `dtype`; logits, sums over
them and results are float32 at least. What the backward pass needs is the gradient of each logit, (1 at the token) -
probability: computed while the logits are there and kept in `dtype` where there is room for it, else from logits computed
again, chunk by chunk. The gradient of a token's log-probability scales its row, so it is multiplied to the states and not
to the gradients of its logits. Left out: heads that cap or scale.

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
    dtype: torch.dtype
    """Of the factors of products, and of gradients of logits that are kept."""
    chunk: int
    """Tokens whose logits exist at one time."""
    most_kept: int = 0
    """Most gradients of logits kept for the backward pass; of more, logits are computed again."""


class Scores(NamedTuple):
    """Scores of each token, `_N`; the first alone carries a gradient."""

    logprobs: Tensor
    """float32 at least"""
    entropies: Tensor
    """float32 at least, in nats"""
    likeliest: Tensor
    """bool"""


def scored(
    states_ND: Tensor, head: tuple[Tensor, Tensor | None], ids_N: Tensor, scoring: Scoring
) -> Scores:
    """Return log-probability and entropy of each token under `head`: weight `_VD` and bias `_V`."""
    learns = torch.is_grad_enabled() and (states_ND.requires_grad or head[0].requires_grad)
    keeps = learns and len(ids_N) * len(head[0]) <= scoring.most_kept
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
        """Keep states, weight, normalisers, and with `keeps` the gradients of the logits."""
        ctx.scoring = scoring
        score = compile_for(_score_chunk, states_ND.device)
        rounded_VD = weight_VD.to(scoring.dtype)
        chunks = []
        # At most one chunk of float32 logits exists at a time.
        for states_CD, ids_C in _chunks(scoring, states_ND, ids_N):
            logits_CV = _logits(states_CD, rounded_VD, bias_V, scoring)
            mark_dynamic(logits_CV, ids_C)
            chunks.append(score(logits_CV, ids_C, scoring.temperature, scoring.dtype, keeps))
            del logits_CV  # before the next ones are made
        *columns, logits_grads = zip(*chunks, strict=True)
        normal_N, logprobs_N, entropies_N, likeliest_N = map(torch.cat, columns)
        ctx.save_for_backward(states_ND, weight_VD, bias_V, ids_N, normal_N, *logits_grads)
        ctx.mark_non_differentiable(entropies_N, likeliest_N)
        return logprobs_N, entropies_N, likeliest_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of states, weight and bias."""
        states_ND, weight_VD, bias_V, ids_N, normal_N, *logits_grads = ctx.saved_tensors
        scoring: Scoring = ctx.scoring
        rounded_VD, states_grads = weight_VD.to(scoring.dtype), []
        weight_grad = bias_grad = None
        # Scores are of logits over the temperature, so that each gradient of a logit has its factor.
        chunks = _chunks(scoring, states_ND, ids_N, normal_N, grads[0] / scoring.temperature)
        pairs = zip(logits_grads, chunks, strict=True)
        for logits_grad_CV, (states_CD, ids_C, normal_C, grad_C) in pairs:
            if logits_grad_CV is None:  # not kept: from logits computed again
                logits_CV = _logits(states_CD, rounded_VD, bias_V, scoring)
                mark_dynamic(logits_CV, ids_C, normal_C)
                differentiate = compile_for(_logits_grad, states_CD.device)
                logits_grad_CV = differentiate(
                    logits_CV, ids_C, normal_C, scoring.temperature, scoring.dtype
                )
                del logits_CV
            # The token's own gradient scales rows of [C, D] and not of the much wider [C, V].
            products = matmul_float32(logits_grad_CV, rounded_VD)
            states_grads.append((products * grad_C[:, None]).to(states_ND.dtype))
            if ctx.needs_input_grad[1]:  # a frozen head needs no gradient
                scaled_CD = (states_CD * grad_C[:, None]).to(scoring.dtype)
                weight_grad = _add(weight_grad, matmul_float32(logits_grad_CV.t(), scaled_CD))
            if ctx.needs_input_grad[2]:
                bias_grad = _add(bias_grad, grad_C @ logits_grad_CV.to(grad_C.dtype))
        return (
            torch.cat(states_grads),
            _cast_like(weight_grad, weight_VD),
            _cast_like(bias_grad, bias_V),
            None,
            None,
            None,
        )


def _add(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total.add_(part)


def _cast_like(gradient: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    return None if gradient is None or parameter is None else gradient.to(parameter.dtype)


def _chunks(scoring: Scoring, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(torch.split(tensor, scoring.chunk) for tensor in tensors), strict=True)


def _logits(
    states_CD: Tensor, rounded_VD: Tensor, bias_V: Tensor | None, scoring: Scoring
) -> Tensor:
    """Return logits, float32 at least, of factors of `scoring.dtype`."""
    logits_CV = matmul_float32(states_CD.to(scoring.dtype), rounded_VD.t())
    return logits_CV if bias_V is None else logits_CV.add_(bias_V)


def _score_chunk(
    logits_CV: Tensor, ids_C: Tensor, temperature: float, dtype: torch.dtype, keeps: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Return log-normaliser, log-probability, entropy, likeliest or not, and with `keeps` the gradients of the logits."""
    scaled_CV = (logits_CV / temperature).clamp(min=FLOOR)
    normal_C = scaled_CV.logsumexp(-1)
    # The logit of each token that followed.
    token_C = scaled_CV.gather(1, ids_C[:, None])[:, 0]
    # Entropy: log-normaliser minus the mean logit under the softmax.
    mean_C = ((scaled_CV - normal_C[:, None]).exp() * scaled_CV).sum(-1)
    # Several tokens may have the largest logit; each of them is a likeliest one.
    likeliest_C = token_C >= scaled_CV.amax(-1)
    grad_CV = _logits_grad(logits_CV, ids_C, normal_C, temperature, dtype) if keeps else None
    return normal_C, token_C - normal_C, normal_C - mean_C, likeliest_C, grad_CV


def _logits_grad(
    logits_CV: Tensor, ids_C: Tensor, normal_C: Tensor, temperature: float, dtype: torch.dtype
) -> Tensor:
    """Return (1 at the token) - probabilities. Subtracted before rounding: near 1, bfloat16 has few numbers."""
    probs_CV = (logits_CV / temperature - normal_C[:, None]).exp()
    is_token_CV = torch.arange(logits_CV.shape[1], device=ids_C.device) == ids_C[:, None]
    return (is_token_CV.to(probs_CV.dtype) - probs_CV).to(dtype)
