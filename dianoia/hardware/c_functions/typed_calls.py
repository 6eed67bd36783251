"""Typed calls of the C functions, one per function: they check tensors, and take sizes from shapes.

C trusts its caller: an address of the wrong dtype or layout, or a wrong size, would corrupt memory. Results go into
tensors that the caller allocates, named `y`, `..._grad` and so on. What a function computes stands above it in the C file.

Shapes: `N` rows, `H` hidden size, `D` head size, `V` vocabulary, `W` the same in whole vectors.
"""

import torch
from torch import Tensor

from dianoia.hardware.c_functions import call, constant, round_to_vectors

TILE = constant("TILE")
"""Queries that attention treats at a time."""
SCORED = constant("SCORED")
"""Rows of logits that `score_head_bfloat16` treats at a time."""
Norms = tuple[Tensor | None, Tensor | None]
"""Weights of the norms of queries and of keys `_D`; None for models without them."""


def _check(dtype: torch.dtype, *tensors: Tensor | None) -> None:
    """Assert that C can read and write the tensors."""
    for tensor in tensors:
        # Asserts and no errors: callers are our own layers, and a check per call must cost next to nothing.
        if tensor is not None and tensor.numel():  # C does not touch an empty one
            assert tensor.dtype == dtype, f"{tensor.dtype} where C expects {dtype}"
            assert tensor.is_contiguous() and tensor.device.type == "cpu"


# Layers -------------------------------------------------------------------------------------------


def rms(x_NH: Tensor, weight_H: Tensor, eps: float, y_NH: Tensor, inverse_N: Tensor) -> None:
    """Store the RMS norm in `y`, and 1 / RMS of each row in `inverse`."""
    _check(torch.float32, x_NH, weight_H, y_NH, inverse_N)
    call("rms", x_NH, weight_H, eps, y_NH, inverse_N, *x_NH.shape)


def rms_backward(
    x_NH: Tensor,
    weight_H: Tensor,
    inverse_N: Tensor,
    grad_NH: Tensor,
    residual_NH: Tensor,
    x_grad_NH: Tensor,
    weight_grad_H: Tensor,
) -> None:
    """Store `residual` plus the gradient of `x`; add to the gradient of the weight."""
    tensors = (x_NH, weight_H, inverse_N, grad_NH, residual_NH, x_grad_NH, weight_grad_H)
    _check(torch.float32, *tensors)
    call("rms_backward", *tensors, *x_NH.shape)


def add_rms_bfloat16(
    x_NH: Tensor,
    addend_NH: Tensor | None,
    weight_H: Tensor,
    eps: float,
    y_NH: Tensor,
    normed_NH: Tensor,
    inverse_N: Tensor,
) -> None:
    """Store x + addend (bfloat16) in `y`, its RMS norm in bfloat16 in `normed`, and 1 / RMS in `inverse`.

    Without an addend `y` is `x` and not written.
    """
    _check(torch.float32, x_NH, weight_H, y_NH, inverse_N)
    _check(torch.bfloat16, addend_NH, normed_NH)
    tensors = (y_NH, normed_NH, inverse_N)
    call("add_rms_bfloat16", x_NH, addend_NH, weight_H, eps, *tensors, *x_NH.shape)


def rms_backward_bfloat16(
    x_NH: Tensor,
    weight_H: Tensor,
    inverse_N: Tensor,
    grad_NH: Tensor,
    residual_NH: Tensor,
    x_grad_NH: Tensor,
    rounded_NH: Tensor,
    weight_grad_H: Tensor,
) -> None:
    """Compute `rms_backward` from a bfloat16 gradient; store the gradient of `x` in bfloat16 too, in `rounded`."""
    _check(torch.float32, x_NH, weight_H, inverse_N, residual_NH, x_grad_NH, weight_grad_H)
    _check(torch.bfloat16, grad_NH, rounded_NH)
    inputs = (x_NH, weight_H, inverse_N, grad_NH, residual_NH)
    call("rms_backward_bfloat16", *inputs, x_grad_NH, rounded_NH, weight_grad_H, *x_NH.shape)


def rope_qkv(
    qkv: Tensor,
    norms: Norms,
    eps: float,
    rope: tuple[Tensor, Tensor],
    q_NHD: Tensor,
    k_NHD: Tensor,
    v_NHD: Tensor | None = None,
) -> None:
    """Store queries and keys of `qkv` `[N, (heads + 2 kv heads) D]` after norm and RoPE (cosine and sine `_ND`).

    From a bfloat16 `qkv` the values are stored too, in float32; else `v` is None and they stay where they are.
    """
    _check(qkv.dtype, qkv)
    _check(torch.float32, *norms, *rope, q_NHD, k_NHD, v_NHD)
    (rows, heads, head), kv = q_NHD.shape, k_NHD.shape[1]
    # float32 values are read where they are; bfloat16 ones are widened into tensors of their own
    if v_NHD is None:
        assert qkv.dtype == torch.float32, "values of a bfloat16 product are stored in float32"
        call("rope_qkv", qkv, *norms, eps, *rope, q_NHD, k_NHD, rows, heads, kv, head)
        return
    assert qkv.dtype == torch.bfloat16
    scratch = q_NHD.new_empty(head)
    results = (q_NHD, k_NHD, v_NHD, scratch)
    call("rope_qkv_bfloat16", qkv, *norms, eps, *rope, *results, rows, heads, kv, head)


def rope_qkv_backward(
    qkv: Tensor,
    norms: Norms,
    eps: float,
    rope: tuple[Tensor, Tensor],
    grads: tuple[Tensor, Tensor, Tensor],
    qkv_grad: Tensor,
    norm_grads: Norms,
) -> None:
    """Store the gradient of `qkv`, in its dtype, from those of queries, keys and values; add to those of the norms."""
    _check(qkv.dtype, qkv, qkv_grad)
    _check(torch.float32, *norms, *rope, *grads, *norm_grads)
    (rows, heads, head), kv = grads[0].shape, grads[1].shape[1]
    inputs = (qkv, *norms, eps, *rope, *grads, qkv_grad, *norm_grads)
    sizes = (rows, heads, kv, head)
    if qkv.dtype == torch.float32:
        call("rope_qkv_backward", *inputs, *sizes)
    else:
        call("rope_qkv_backward_bfloat16", *inputs, rope[0].new_empty(2 * head), *sizes)


def swiglu(gate_up: Tensor, y: Tensor) -> None:
    """Store silu(gate) up in `y` `[N, inner]`, from `gate_up` `[N, 2 inner]`; both float32 or both bfloat16."""
    _check(gate_up.dtype, gate_up, y)
    name = "swiglu" if gate_up.dtype == torch.float32 else "swiglu_bfloat16"
    call(name, gate_up, y, *y.shape)


def swiglu_backward(gate_up: Tensor, grad: Tensor, gate_up_grad: Tensor) -> None:
    """Store the gradient of `gate_up` from that of the result of `swiglu`; all float32 or all bfloat16."""
    _check(gate_up.dtype, gate_up, grad, gate_up_grad)
    # sizes are those of the result: half as wide as gate and up together
    single = gate_up.dtype == torch.float32
    name = "swiglu_backward" if single else "swiglu_backward_bfloat16"
    call(name, gate_up, grad, gate_up_grad, *grad.shape)


# Attention of a learner ---------------------------------------------------------------------------


def _attention_scratch(like: Tensor, longest: int, copies: int) -> Tensor:
    """Return the scratch memory of attention: `copies` of the longest span, and two tiles."""
    padded = round_to_vectors(like.shape[-1])
    return like.new_empty(copies * longest * padded + 2 * TILE * (longest + padded))


def attend(
    qkv: tuple[Tensor, Tensor, Tensor],
    spans_R4: Tensor,
    context_K: Tensor,
    longest: int,
    scale: float,
    output_NHD: Tensor,
    normal_NH: Tensor,
) -> None:
    """Store the attention output of every position of a span, and the logarithm of its normaliser.

    qkv: queries, keys and values `[N, heads, D]`. longest: most positions that a query of a span attends to.
    """
    _check(torch.float32, *qkv, output_NHD, normal_NH)
    _check(torch.int64, spans_R4, context_K)
    # four copies: keys and values, each along and across
    room, (query, key, _) = round_to_vectors(longest), qkv
    scratch = _attention_scratch(query, room, 4)
    # Keys may have fewer heads than queries: (kv heads, head size) are those of the keys.
    sizes = (room, len(spans_R4), query.shape[1], *key.shape[1:])
    call("attend", *qkv, spans_R4, context_K, scale, output_NHD, normal_NH, scratch, *sizes)


def attend_backward(
    qkv: tuple[Tensor, Tensor, Tensor],
    spans_R4: Tensor,
    context_K: Tensor,
    longest: int,
    scale: float,
    output_NHD: Tensor,
    normal_NH: Tensor,
    grad_NHD: Tensor,
    grads: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Store the gradient of the queries in `grads`, and add to those of keys and values; see `attend`."""
    _check(torch.float32, *qkv, output_NHD, normal_NH, grad_NHD, *grads)
    _check(torch.int64, spans_R4, context_K)
    # two more copies than forward, for the sums of key and value gradients
    room, (query, key, _) = round_to_vectors(longest), qkv
    scratch = _attention_scratch(query, room, 6)
    sizes = (room, len(spans_R4), query.shape[1], *key.shape[1:])
    inputs = (*qkv, spans_R4, context_K, scale, output_NHD, normal_NH, grad_NHD)
    call("attend_backward", *inputs, *grads, scratch, *sizes)


# Output head --------------------------------------------------------------------------------------


def score(
    logits_NV: Tensor,
    ids_N: Tensor,
    scale: float,
    normal_N: Tensor,
    logprobs_N: Tensor,
    entropies_N: Tensor,
) -> None:
    """Store logarithm of the normaliser, log-probability and entropy of each token, of logits times `scale`."""
    _check(torch.float32, logits_NV, normal_N, logprobs_N, entropies_N)
    _check(torch.int64, ids_N)
    results = (normal_N, logprobs_N, entropies_N)
    call("score", logits_NV, ids_N, scale, *results, *logits_NV.shape)


def score_backward(
    logits_NV: Tensor, ids_N: Tensor, scale: float, normal_N: Tensor, grad_N: Tensor
) -> None:
    """Replace the logits by their gradient, from that of the log-probabilities."""
    _check(torch.float32, logits_NV, normal_N, grad_N)
    _check(torch.int64, ids_N)
    call("score_backward", logits_NV, ids_N, scale, normal_N, grad_N, *logits_NV.shape)


def score_head_bfloat16(
    states_NH: Tensor,
    head: tuple[Tensor, Tensor | None],
    ids_N: Tensor,
    scale: float,
    logits: Tensor,
    keep: bool,
    vocabulary: int,
    scores_3N: Tensor,
) -> None:
    """Store what `score` gives, of the logits of an output head with bfloat16 factors.

    head: weight in panels, and bias `_V`. logits: receives all rows `_NW` if `keep`, else it holds SCORED rows at a time.
    """
    _check(torch.bfloat16, states_NH, head[0])
    _check(torch.float32, head[1], logits, scores_3N)
    _check(torch.int64, ids_N)
    # a buffer that is too small is the one mistake here that no shape would show
    assert len(logits) >= (len(ids_N) if keep else min(SCORED, len(ids_N)))
    inputs = (states_NH, *head, ids_N, scale, logits, int(keep))
    call("score_head_bfloat16", *inputs, *scores_3N, *states_NH.shape, vocabulary)


def score_backward_bfloat16(
    logits_NW: Tensor,
    ids_N: Tensor,
    scale: float,
    normal_N: Tensor,
    grad_N: Tensor,
    logits_grad_NV: Tensor,
) -> None:
    """Store the gradient of the logits in bfloat16, from that of the log-probabilities."""
    _check(torch.float32, logits_NW, normal_N, grad_N)
    _check(torch.int64, ids_N)
    _check(torch.bfloat16, logits_grad_NV)
    inputs = (logits_NW, ids_N, scale, normal_N, grad_N)
    call("score_backward_bfloat16", *inputs, logits_grad_NV, *logits_grad_NV.shape)


def matmul(x: Tensor, packed: Tensor, y: Tensor, outer: int) -> None:
    """Store x `[rows, inner]` times a weight in panels in `y` `[rows, outer in whole vectors]`, float32.

    `x` and the weight are float32 or bfloat16; a bfloat16 `inner` is even.
    """
    _check(x.dtype, x, packed)
    _check(torch.float32, y)
    call("matmul", x, packed, y, int(x.dtype == torch.bfloat16), *x.shape, outer)


# Sampler ------------------------------------------------------------------------------------------


def draw(
    logits_NV: Tensor,
    owners_B: Tensor | None,
    seeds_B: Tensor,
    indices_B: Tensor,
    params: tuple[float, float, int],
    ids_B: Tensor,
    logprobs_B: Tensor,
) -> None:
    """Draw a token per row, or per row `owners_B` of the logits. params: temperature, top-p, top-k.

    Rows of the logits may be further apart than they are long.
    """
    # Not `_check`, which asks for contiguous memory: rows padded to whole vectors are read where they are.
    assert logits_NV.dtype == torch.float32 and logits_NV.stride(1) == 1
    _check(torch.int64, owners_B, seeds_B, indices_B, ids_B)
    _check(torch.float32, logprobs_B)
    # scratch: masses of all tokens, and a sorted list of (mass, id)
    vocabulary = logits_NV.shape[1]
    scratch = logprobs_B.new_empty(3 * vocabulary)
    sizes = (logits_NV.stride(0), len(seeds_B), vocabulary)
    call(
        "draw", logits_NV, owners_B, seeds_B, indices_B, *params, ids_B, logprobs_B, scratch, *sizes
    )


def scratch_size(model: Tensor, memory: Tensor) -> int:
    """Return how many floats of scratch memory a decoding step takes. Arguments: C structures."""
    size = torch.zeros(1, dtype=torch.int64)
    call("scratch_size", model, memory, size)
    return int(size)


def read_prompts(model: Tensor, eps: float, memory: Tensor, rows: Tensor, states: Tensor) -> None:
    """Read tokens of prompts (structures `Row`, `[tokens, 6]`) and store their final hidden states `[tokens, hidden]`."""
    _check(torch.int64, model, memory, rows)
    _check(torch.float32, states)
    call("read_prompts", model, eps, memory, rows, states, len(rows))


def head_logits(model: Tensor, states: Tensor, logits_NW: Tensor) -> None:
    """Store the logits of final hidden states, which have the dtype of the model's matrices."""
    _check(states.dtype, states)
    _check(torch.float32, logits_NW)
    call("head_logits", model, states, logits_NW, len(states))


def decode(
    model: Tensor,
    eps: float,
    memory: Tensor,
    slots: Tensor,
    params: Tensor,
    live: Tensor,
    ids: Tensor,
    logprobs: Tensor,
    steps: int,
    progress: Tensor,
) -> None:
    """Decode the `live` slots until one of them ends, for at most `steps` steps.

    model, memory, slots, params: C structures. ids, logprobs `[slots, most response tokens]`: the responses. progress: receives
    the steps done, the number of responses that have ended, and their positions in `live`.
    """
    _check(torch.int64, model, memory, slots, params, live, ids, progress)
    _check(torch.float32, logprobs)
    responses = (ids.shape[1], ids, logprobs)
    call("decode", model, eps, memory, slots, params, live, len(live), *responses, steps, progress)
