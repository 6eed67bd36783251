"""Log-probabilities under an output head on a CPU, by the C functions of `hardware.c_functions`.

In: hidden states, the head, the tokens that followed. Out: what `learner.kernels.head_gpu` gives a GPU, in float32: one
pass over the logits forward, and one backward that turns them into their own gradient. Logits of one chunk are kept in
between; those of several are computed again, so that no more than a chunk of them exists at a time.

With bfloat16, factors of products are rounded, in the sampler as well (`sampler.native.cpu.packed_model`); logits, sums
over them and results are float32. Odd hidden sizes stay float32, since bfloat16 numbers are multiplied in pairs.

Shapes: `N` tokens, `C` tokens of a chunk, `D` hidden, `V` vocabulary, `W` that in whole vectors.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dianoia.hardware.c_functions import pack_panels, round_to_vectors
from dianoia.hardware.c_functions import typed_calls as functions

Head = tuple[Tensor, Tensor | None]
"""Weight `_VD` and bias `_V`."""


def score_tokens(
    states_ND: Tensor,
    head: Head,
    ids_N: Tensor,
    temperature: float,
    chunk: int,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Return the log-probability and the entropy of each token, both `_N`; the entropy carries no gradient.

    `dtype` is that of the factors of products, whatever autocast says: float32 or bfloat16.
    """
    rounds = dtype == torch.bfloat16 and states_ND.shape[1] % 2 == 0
    function = _ScoreBFloat16 if rounds else _ScoreFloat32
    scores: tuple[Tensor, Tensor]
    # Autocast would round the factors of the float32 products too.
    with torch.autocast("cpu", enabled=False):
        arguments = (states_ND.float(), *head, ids_N, 1.0 / temperature, chunk)
        scores = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return scores


class _ScoreFloat32(torch.autograd.Function):
    """`score_tokens` with float32 products, which are PyTorch's."""

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
        """Keep states, normalisers, and the logits if they are one chunk."""
        ids_N = ids_N.contiguous()
        # normal_N: logarithm of the softmax's denominator, which the backward pass needs again.
        normal_N, logprobs_N, entropies_N = states_ND.new_empty(3, len(ids_N))
        ctx.scale, ctx.chunk, ctx.logits = scale, chunk, None
        for first in range(0, len(ids_N), chunk):
            part = slice(first, first + chunk)
            ids_C, logits_CV = ids_N[part], F.linear(states_ND[part], weight_VD, bias_V)
            results = (normal_N[part], logprobs_N[part], entropies_N[part])
            functions.score(logits_CV, ids_C, scale, *results)
            # Of several chunks these are the last one's, which the backward pass would take for the first one's.
            ctx.logits = logits_CV if len(ids_N) <= chunk else None
        ctx.save_for_backward(states_ND, weight_VD, bias_V, ids_N, normal_N)
        ctx.mark_non_differentiable(entropies_N)
        return logprobs_N, entropies_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of states, weight and bias."""
        states_ND, weight_VD, bias_V, ids_N, normal_N = ctx.saved_tensors
        grad_N, states_grad = grads[0].contiguous(), torch.empty_like(states_ND)
        # A frozen head needs no gradient, which is as large as itself.
        weight_grad = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        bias_grad = torch.zeros_like(bias_V) if ctx.needs_input_grad[2] else None
        for first in range(0, len(ids_N), ctx.chunk):
            part = slice(first, first + ctx.chunk)
            # The C function overwrites logits by their gradient, so they are good for one backward pass.
            logits_CV, ctx.logits = ctx.logits, None
            if logits_CV is None:
                logits_CV = F.linear(states_ND[part], weight_VD, bias_V)
            functions.score_backward(
                logits_CV, ids_N[part], ctx.scale, normal_N[part], grad_N[part]
            )
            # logits_CV is their gradient now.
            torch.mm(logits_CV, weight_VD, out=states_grad[part])
            if weight_grad is not None:
                weight_grad.addmm_(logits_CV.t(), states_ND[part])
            if bias_grad is not None:
                bias_grad += logits_CV.sum(0)
        return states_grad, weight_grad, bias_grad, None, None, None


class _ScoreBFloat16(torch.autograd.Function):
    """`score_tokens` with bfloat16 factors: C multiplies a few rows and scores them before it makes the next logits."""

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
        """Keep rounded states, normalisers, and the logits if they are one chunk and a gradient will be asked for."""
        ids_N, rounded_ND = ids_N.contiguous(), states_ND.to(torch.bfloat16)
        keeps = any(ctx.needs_input_grad) and len(ids_N) <= chunk
        rows = len(ids_N) if keeps else functions.SCORED
        logits_CW = _logits_buffer(states_ND, rows, len(weight_VD))
        # Weights in panels, as the C product reads them.
        head = (pack_panels(weight_VD, torch.bfloat16), bias_V)
        scores_3N = _multiply_and_score(
            rounded_ND, head, ids_N, scale, logits_CW, keeps, len(weight_VD)
        )
        normal_N, logprobs_N, entropies_N = scores_3N
        ctx.scale, ctx.chunk, ctx.logits = scale, chunk, logits_CW if keeps else None
        ctx.save_for_backward(rounded_ND, weight_VD, bias_V, ids_N, normal_N)
        ctx.mark_non_differentiable(entropies_N)
        return logprobs_N, entropies_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of states, weight and bias."""
        rounded_ND, weight_VD, bias_V, ids_N, normal_N = ctx.saved_tensors
        grad_N = grads[0].contiguous()
        states_grad = torch.empty_like(rounded_ND, dtype=torch.float32)
        # Rounded as in the forward pass, so that the gradient is that of the same product.
        rounded_VD = weight_VD.to(torch.bfloat16)
        weight_grad = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        bias_grad = torch.zeros_like(bias_V) if ctx.needs_input_grad[2] else None
        head = (pack_panels(weight_VD, torch.bfloat16), bias_V) if ctx.logits is None else None
        for first in range(0, len(ids_N), ctx.chunk):
            part = slice(first, first + ctx.chunk)
            states_CD, ids_C = rounded_ND[part], ids_N[part]
            logits_CW = ctx.logits
            if head is not None:  # of several chunks, logits are computed again
                logits_CW = _logits_buffer(grad_N, len(ids_C), len(weight_VD))
                _multiply_and_score(
                    states_CD, head, ids_C, ctx.scale, logits_CW, True, len(weight_VD)
                )
            # In bfloat16, and apart from the float32 logits, which may be needed once more.
            logits_grad_CV = states_CD.new_empty(len(ids_C), len(weight_VD))
            functions.score_backward_bfloat16(
                logits_CW, ids_C, ctx.scale, normal_N[part], grad_N[part], logits_grad_CV
            )
            states_grad[part] = logits_grad_CV @ rounded_VD
            if weight_grad is not None:
                weight_grad += logits_grad_CV.t() @ states_CD
            if bias_grad is not None:
                # A sum over many tokens in bfloat16 would lose the small ones.
                bias_grad += logits_grad_CV.sum(0, dtype=torch.float32)
        return states_grad, weight_grad, bias_grad, None, None, None


def _logits_buffer(like: Tensor, rows: int, vocabulary: int) -> Tensor:
    """Return memory for the logits `_CW` of `rows` tokens."""
    return like.new_empty(rows, round_to_vectors(vocabulary))


def _multiply_and_score(
    states_ND: Tensor,
    head: Head,
    ids_N: Tensor,
    scale: float,
    logits_CW: Tensor,
    keep: bool,
    vocabulary: int,
) -> Tensor:
    """Return the logarithm of the normaliser, log-probability and entropy of each token, `_3N`. keep: all logits stay."""
    scores_3N = logits_CW.new_empty(3, len(ids_N))
    functions.score_head_bfloat16(
        states_ND, head, ids_N, scale, logits_CW, keep, vocabulary, scores_3N
    )
    return scores_3N
