"""Log-probabilities under an output head over a large vocabulary, for a GPU: few logits at a time, none kept.

In: hidden states, the head's weight, the tokens that followed. Out: their log-probabilities and the entropies,
with gradients for states and weight. The backward pass computes the logits again, chunk by chunk, turns them
into their own gradient in place of a distribution, and adds each chunk to one gradient of the weight. Logits,
sums over them and results are float32; with products of `kind` bfloat16 the logits' product takes its factors
in TF32 and the two of the backward pass in bfloat16, as autocast would. Left out: heads that cap or scale.

Shapes: `N` tokens, `C` tokens of a chunk, `D` hidden, `V` vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dianoia.runtime.compiled import for_device, varying
from dianoia.runtime.devices import tf32

FLOOR = -1e30
"""Logits below it count as it, so that minus infinity has an entropy of 0 and no NaN."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """How tokens are scored."""

    temperature: float
    kind: torch.dtype
    """Of products."""
    chunk: int
    """Tokens whose logits exist at one time."""


def scored(
    states_ND: Tensor, head: tuple[Tensor, Tensor | None], ids_N: Tensor, scoring: Scoring
) -> tuple[Tensor, Tensor]:
    """(log-probability, entropy) of each token, both float32 `_N`; the entropy carries no gradient."""
    both: tuple[Tensor, Tensor]
    both = _Scored.apply(states_ND, *head, ids_N, scoring)  # type: ignore[no-untyped-call]
    return both


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
    ) -> tuple[Tensor, Tensor]:
        """Keeps states, weight and normalisers."""
        ctx.scoring = scoring
        read = for_device(_read, states_ND.device)
        chunks = []
        for states_CD, ids_C in _chunks(scoring, states_ND, ids_N):
            logits_CV = _logits(states_CD, weight_VD, bias_V, scoring)
            varying(logits_CV, ids_C)
            chunks.append(read(logits_CV, ids_C, scoring.temperature))
        normal_N, logprobs_N, entropies_N = (torch.cat(part) for part in zip(*chunks, strict=True))
        ctx.save_for_backward(states_ND, weight_VD, bias_V, ids_N, normal_N)
        ctx.mark_non_differentiable(entropies_N)
        return logprobs_N, entropies_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of states, weight and bias."""
        states_ND, weight_VD, bias_V, ids_N, normal_N = ctx.saved_tensors
        scoring: Scoring = ctx.scoring
        pull, small_VD = for_device(_pull, states_ND.device), weight_VD.to(scoring.kind)
        of_weight = torch.zeros_like(weight_VD)
        of_bias = None if bias_V is None else torch.zeros_like(bias_V)
        of_states = []
        chunks = _chunks(scoring, states_ND, ids_N, normal_N, grads[0])
        for states_CD, ids_C, normal_C, grad_C in chunks:
            logits_CV = _logits(states_CD, weight_VD, bias_V, scoring)
            varying(logits_CV, ids_C, normal_C, grad_C)
            grad_CV = pull(logits_CV, ids_C, normal_C, grad_C, scoring.temperature, scoring.kind)
            del logits_CV
            of_states.append((grad_CV @ small_VD).to(states_ND.dtype))
            of_weight += grad_CV.t() @ states_CD.to(scoring.kind)
            if of_bias is not None:
                of_bias += grad_CV.sum(0, dtype=of_bias.dtype)
        return torch.cat(of_states), of_weight, of_bias, None, None


def _chunks(scoring: Scoring, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(torch.split(tensor, scoring.chunk) for tensor in tensors), strict=True)


def _logits(
    states_CD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, scoring: Scoring
) -> Tensor:
    """In the number format of the weight, float32 at least."""
    full = torch.promote_types(weight_VD.dtype, torch.float32)
    rounded = scoring.kind != full and states_CD.device.type == "cuda"
    with torch.autocast(states_CD.device.type, enabled=False), tf32(rounded):
        bias = None if bias_V is None else bias_V.to(full)
        return F.linear(states_CD.to(full), weight_VD.to(full), bias)


def _read(logits_CV: Tensor, ids_C: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Logarithm of the normaliser, log-probability of the token, entropy."""
    scaled_CV = (logits_CV / temperature).clamp(min=FLOOR)
    normal_C = scaled_CV.logsumexp(-1)
    taken_C = scaled_CV.gather(1, ids_C[:, None])[:, 0]
    mean_C = ((scaled_CV - normal_C[:, None]).exp() * scaled_CV).sum(-1)
    return normal_C, taken_C - normal_C, normal_C - mean_C


def _pull(
    logits_CV: Tensor,
    ids_C: Tensor,
    normal_C: Tensor,
    grad_C: Tensor,
    temperature: float,
    kind: torch.dtype,
) -> Tensor:
    """Gradient of the logits: that of a log-probability is (1 at the token) - probabilities."""
    probs_CV = (logits_CV / temperature - normal_C[:, None]).exp()
    there_CV = torch.arange(logits_CV.shape[1], device=ids_C.device) == ids_C[:, None]
    pulled_CV = (there_CV.to(probs_CV.dtype) - probs_CV) * (grad_C[:, None] / temperature)
    return pulled_CV.to(kind)
