"""Log-probabilities of response tokens under a policy.

In: a transformers model and a `Batch` of `learner.batching.batch`. Out: `logprobs_BT` under the policy at the sampling
temperature, and entropies where they are needed.

Memory: the vocabulary is large and the prompt is long, so the output head runs on the positions that predict response
tokens and no others, in chunks of at most `LOGITS_AT_ONCE` logits. When more than one chunk is needed, logits are computed
again in the backward pass and never kept. On a GPU `learner.kernels.head_gpu` does so with larger chunks and fewer passes
over memory, and keeps bfloat16 gradients of a few logits.

Precision: log-softmax in float32 at least. Logits are float32 under autocast too, since logits rounded to
bfloat16 are what separates sampler and learner (MiniMax-M1, https://arxiv.org/abs/2506.13585, section 3.2).
Where products are bfloat16, the head's factors are too, in the sampler and in the learner alike, and sums are
float32; a CPU without the C functions multiplies the head in the precision of its weights.
"""

import inspect
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from dianoia.base.limits import GPU_LOGIT_GRADIENTS_KEPT, GPU_LOGITS_AT_ONCE, LOGITS_AT_ONCE
from dianoia.learner.attention.exchange import product_dtype
from dianoia.learner.attention.packed_rows import packed_states
from dianoia.learner.attention.prompt_sharing import shared_hidden_states
from dianoia.learner.batching.batch import Batch
from dianoia.learner.kernels.head_cpu import score_tokens
from dianoia.learner.kernels.head_gpu import Scores, Scoring, scored
from dianoia.learner.kernels.layers_cpu import runs_in_c
from dianoia.learner.lora import stored_weight

_HEAD_ATTRIBUTES = (
    "logit_scale",
    "logits_scaling",
    "final_logit_softcapping",
    "lm_head_multiplier",
)
"""Configuration entries of architectures that change logits after the output head."""


def active_dropout(model: nn.Module) -> list[str]:
    """Return the names of modules and settings that would drop activations now; empty in evaluation mode.

    Log-probabilities under dropout are those of another policy, and differ with every pass.
    """
    if not model.training:
        return []
    modules = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Dropout) and module.p
    ]
    config = getattr(model, "config", None)
    entries = config.to_dict().items() if config is not None else ()
    # Some architectures have no dropout module and read the rate from their configuration.
    rates = [name for name, value in entries if _is_dropout_rate(name) and value]
    return modules + rates


def _is_dropout_rate(name: str) -> bool:
    return name.endswith(("dropout", "pdrop", "dropout_prob"))


def _head(model: PreTrainedModel) -> nn.Linear | None:
    """Return the output embedding; None if the model has none or it is not a linear map."""
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return head if isinstance(head, nn.Linear) else None


def has_plain_head(model: PreTrainedModel) -> bool:
    """Return True if logits are the output head applied to the backbone's last hidden states and no more.

    Some architectures scale or cap their logits. Known configuration entries are looked up; since a list is never complete,
    four tokens are run both ways and must agree to the last bit.
    """
    config = model.config.get_text_config()
    # First what the configuration says, then what the model computes.
    if any(getattr(config, name, None) is not None for name in _HEAD_ATTRIBUTES):
        return False
    backbone, head = model.base_model, _head(model)
    if backbone is model or head is None:
        return False
    # Four tokens, which every vocabulary has.
    ids_BL = torch.arange(4, device=model.device)[None] % head.out_features
    with torch.no_grad():
        hidden_BLD = backbone(input_ids=ids_BL, use_cache=False).last_hidden_state
        return torch.equal(head(hidden_BLD), model(input_ids=ids_BL, use_cache=False).logits)


def response_logprobs(
    model: PreTrainedModel,
    batch: Batch,
    temperature: float,
    *,
    with_entropy: bool = False,
    plain_head: bool | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the natural-log probability of each response token, and the policy's entropy there in nats.

    Logits are divided by `temperature` first, as the sampler does; entropies carry no gradient. Both are `_BT`, at least
    float32, and 0 at masked positions. `plain_head` is the answer of `has_plain_head` where the caller knows it already;
    None: it is determined again.
    """
    if not temperature > 0:
        raise ValueError(
            f"temperature is {temperature}; a greedy sampler has no log-probabilities to learn "
            "from. Sample with a temperature above 0 (the paper: 1.0, and 0.7 in the last stage)."
        )
    # Under dropout, log-probabilities would be those of another policy in every pass.
    dropping = active_dropout(model)
    assert not dropping, f"dropout is on in {dropping}; call model.eval()"
    plain = has_plain_head(model) if plain_head is None else plain_head
    special = batch.shared is not None or batch.packed is not None
    assert plain or not special, "prompts are shared and rows packed only under a plain head"
    # X is the hidden size, or the vocabulary where the model makes its logits itself.
    run = _hidden_states if plain else _own_logits
    states_NX, logits_of, vocabulary = run(model, batch)
    ids_N = batch.response_ids_BT.flatten()[batch.real_M]
    head = _head(model) if plain else None
    on_cpu = states_NX.device.type == "cpu"
    if head is not None and on_cpu and runs_in_c(weight_VD := head.weight):
        size, dtype = max(1, LOGITS_AT_ONCE // vocabulary), product_dtype(states_NX)
        logprobs_N, entropies_N = score_tokens(
            states_NX, (weight_VD, head.bias), ids_N, temperature, size, dtype
        )
    elif head is not None and states_NX.device.type == "cuda":
        logprobs_N, entropies_N, _ = gpu_scores(model, states_NX, ids_N, temperature)
    else:
        size = max(1, LOGITS_AT_ONCE // vocabulary)
        chunks = _chunks(states_NX, ids_N, logits_of, temperature, with_entropy, size)
        logprobs_N, entropies_N = (torch.cat(part) for part in zip(*chunks, strict=True))
    logprobs_BT = at_mask(logprobs_N, batch)
    return logprobs_BT, at_mask(entropies_N, batch) if with_entropy else None


LogitsOf = Callable[[Tensor], Tensor]


def _predicting(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return (row, position) before each real response token, in the order of `mask_BT`; both `_N`."""
    # real_M indexes B * T row by row.
    rows_N = batch.real_M // batch.mask_BT.shape[1]
    return rows_N, batch.predicting_BT.flatten()[batch.real_M]


def states_before(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Return the backbone's last hidden states `_ND` before each real response token, in `mask_BT`'s order.

    Prompts of a shared batch run once and rows of a packed one end to end; the caller knows that the model allows it.
    """
    if batch.packed is not None:
        return packed_states(model, batch.packed)
    if batch.shared is None:
        output = model.base_model(
            input_ids=batch.ids_BL, attention_mask=batch.attention_mask_BL, use_cache=False
        )
        plain_ND: Tensor = output.last_hidden_state[_predicting(batch)]
        return plain_ND
    hidden_ND = shared_hidden_states(model, batch.shared)
    # The backward pass of an embedding adds rows up several times faster on a CPU than that of an index does.
    return nn.functional.embedding(batch.shared.predicting_M, hidden_ND)


def _hidden_states(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, LogitsOf, int]:
    """Return hidden states `_ND` before the response tokens, the head that makes logits of them, and V."""
    return states_before(model, batch), *head_alone(model)


def head_alone(model: PreTrainedModel) -> tuple[LogitsOf, int]:
    """Return the function that makes logits of hidden states, and V; only for a plain head."""
    head = _head(model)
    assert head is not None, "only for models with a plain head"

    def logits_of(states_ND: Tensor) -> Tensor:
        # The head runs in the dtype of its weights even under autocast: rounded logits are what separates
        # sampler and learner.
        with torch.autocast(states_ND.device.type, enabled=False):
            logits_NV: Tensor = head(states_ND.to(head.weight.dtype))
            return logits_NV

    return logits_of, head.out_features


def gpu_scores(
    model: PreTrainedModel, states_ND: Tensor, ids_N: Tensor, temperature: float = 1.0
) -> Scores:
    """Score tokens under the plain head of a model, with as many logits at a time as a GPU has room for."""
    head = _head(model)
    assert head is not None, "only for models with a plain head"
    # Each chunk costs a pass over the gradient of the whole head, so chunks are large.
    size = max(1, GPU_LOGITS_AT_ONCE // head.out_features)
    scoring = Scoring(temperature, product_dtype(states_ND), size, GPU_LOGIT_GRADIENTS_KEPT)
    return scored(states_ND, (stored_weight(head), head.bias), ids_N, scoring)


def _own_logits(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, LogitsOf, int]:
    """Return the model's own logits `_NV` before the response tokens, the identity as their head, and V."""
    rows_N, positions_N = _predicting(batch)
    # Logits of the prompts are not made where the model can leave them out.
    first, arguments = 0, {}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        first = int(positions_N.min())
        arguments = {"logits_to_keep": batch.ids_BL.shape[1] - first}
    output = model(
        input_ids=batch.ids_BL, attention_mask=batch.attention_mask_BL, use_cache=False, **arguments
    )
    logits_NV = output.logits[rows_N, positions_N - first]
    return logits_NV, lambda logits_CV: logits_CV, logits_NV.shape[-1]


def _chunks(
    states_NX: Tensor,
    ids_N: Tensor,
    logits_of: LogitsOf,
    temperature: float,
    with_entropy: bool,
    size: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (logprobs, entropies) of `size` tokens at a time; logits of several chunks are not kept."""

    def score(states_CX: Tensor, ids_C: Tensor) -> tuple[Tensor, Tensor]:
        return _score(logits_of(states_CX), ids_C, temperature, with_entropy)

    # A single chunk keeps its logits; of several, each is made again in the backward pass.
    recompute = torch.is_grad_enabled() and len(ids_N) > size
    for states_CX, ids_C in zip(
        torch.split(states_NX, size), torch.split(ids_N, size), strict=True
    ):
        if recompute:
            yield checkpoint(score, states_CX, ids_C, use_reentrant=False)
        else:
            yield score(states_CX, ids_C)


def _score(
    logits_NV: Tensor, ids_N: Tensor, temperature: float, with_entropy: bool
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and entropies `_N`; without `with_entropy` the second has no meaning."""
    # float32 at least: rounded logits are what separates sampler and learner.
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    if temperature != 1.0:  # else the division would copy all logits for nothing
        logits_NV = logits_NV / temperature
    all_NV = torch.log_softmax(logits_NV, dim=-1)
    logprobs_N = all_NV.gather(1, ids_N[:, None])[:, 0]
    if not with_entropy:
        return logprobs_N, logprobs_N.detach()
    # -p log p without a second logarithm; the bound makes 0 x -inf the 0 that it is in the limit.
    bounded_NV = all_NV.detach().clamp(min=torch.finfo(all_NV.dtype).min)
    return logprobs_N, -torch.linalg.vecdot(bounded_NV.exp(), bounded_NV)


def at_mask(values_N: Tensor, batch: Batch) -> Tensor:
    """Return values in the order of the mask as `_BT`; 0 where masked."""
    # By index: a boolean mask would make a GPU wait until its size is known.
    zeros_N = values_N.new_zeros(batch.mask_BT.numel())
    return zeros_N.index_copy(0, batch.real_M, values_N).view(batch.mask_BT.shape)
