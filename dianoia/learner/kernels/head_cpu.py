"""Log-probabilities under an output head on a CPU, by the C functions of `hardware.c_functions`.

In: hidden states, the head, the tokens that followed. Out: what `learner.kernels.head_gpu` gives a GPU, in float32: one pass
over the logits forward, and one backward that turns them into their own gradient in place. Logits of one chunk are
kept in between; those of several are computed again, so that no more than a chunk of them exists at a time.

Shapes: `N` tokens, `C` tokens of a chunk, `D` hidden, `V` vocabulary.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dianoia.hardware.c_functions import call


def scored_in_c(
    states_ND: Tensor,
    head: tuple[Tensor, Tensor | None],
    ids_N: Tensor,
    temperature: float,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """(log-probability, entropy) of each token, both `_N`; the entropy carries no gradient."""
    return scored_by(_Scored, states_ND, head, ids_N, temperature, chunk)


def scored_by(
    function: type[torch.autograd.Function],
    states_ND: Tensor,
    head: tuple[Tensor, Tensor | None],
    ids_N: Tensor,
    temperature: float,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """What a function of states, weight, bias, ids, scale and chunk gives, on float32 whatever autocast says."""
    both: tuple[Tensor, Tensor]
    with torch.autocast("cpu", enabled=False):
        how = (1.0 / temperature, chunk)
        both = function.apply(states_ND.float(), *head, ids_N, *how)  # type: ignore[no-untyped-call]
    return both


class _Scored(torch.autograd.Function):
    """`scored_in_c`."""

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
        """Keeps states, normalisers, and the logits if they are one chunk."""
        ids_N = ids_N.contiguous()
        normal_N, logprobs_N, entropies_N = states_ND.new_empty(3, len(ids_N))
        ctx.scale, ctx.chunk, ctx.kept = scale, chunk, None
        for first in range(0, len(ids_N), chunk):
            some = slice(first, first + chunk)
            ids_C, logits_CV = ids_N[some], F.linear(states_ND[some], weight_VD, bias_V)
            results = (normal_N[some], logprobs_N[some], entropies_N[some])
            call("score", logits_CV, ids_C, scale, *results, *logits_CV.shape)
            ctx.kept = logits_CV if len(ids_N) <= chunk else None
        ctx.save_for_backward(states_ND, weight_VD, bias_V, ids_N, normal_N)
        ctx.mark_non_differentiable(entropies_N)
        return logprobs_N, entropies_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Of states, weight and bias."""
        states_ND, weight_VD, bias_V, ids_N, normal_N = ctx.saved_tensors
        grad_N, of_states = grads[0].contiguous(), torch.empty_like(states_ND)
        of_weight = torch.zeros_like(weight_VD)
        of_bias = None if bias_V is None else torch.zeros_like(bias_V)
        for first in range(0, len(ids_N), ctx.chunk):
            some = slice(first, first + ctx.chunk)
            kept, ctx.kept = ctx.kept, None  # overwritten below, so good for one backward pass
            logits_CV = F.linear(states_ND[some], weight_VD, bias_V) if kept is None else kept
            given = (ids_N[some], ctx.scale, normal_N[some], grad_N[some])
            call("score_backward", logits_CV, *given, *logits_CV.shape)
            torch.mm(logits_CV, weight_VD, out=of_states[some])
            of_weight.addmm_(logits_CV.t(), states_ND[some])
            if of_bias is not None:
                of_bias += logits_CV.sum(0)
        return of_states, of_weight, of_bias, None, None, None
