"""One forward pass in which all responses to a prompt share it, gradients included.

Inputs are a transformers model and `Shared` of `learner.batching.shared_prompts`: prompts and responses laid end to end
in one row. Everything in a decoder but attention treats positions one by one, so the model runs on
that row as it is; only its attention is exchanged for the time of the pass, through transformers'
`AttentionInterface`, for one that knows which prompt a response continues. Nothing is approximated:
the keys and values of a prompt are those that every response would have computed for itself, and
their gradients add up.

Left out: layers that mix positions in any other way (sliding windows, recurrent states, encoders).
`can_share_prompts` tells them apart, by what they say and by what they compute.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel

from dianoia.base.records import Sample
from dianoia.learner.batching.batch import Batch, Layout, PreparedSample, collate
from dianoia.learner.batching.shared_prompts import Shared
from dianoia.learner.kernels.attention_cpu import attend_in_c, attends_in_c

_NAME = "dianoia_shared_prompts"

REFUSED_ARGUMENTS = ("sliding_window", "softcap", "s_aux", "position_bias", "chunk_size", "cache")
"""Arguments of attention functions that ask for more than causal attention over everything."""


class OtherAttentionError(ValueError):
    """The architecture wants an attention that is not plain and causal over everything."""


def check_plain(layout: Any, mask: Tensor | None, dropout: float, more: Mapping[str, Any]) -> None:
    """Raises OtherAttentionError for what an attention function that knows its own `layout` is not for."""
    refused = [name for name in REFUSED_ARGUMENTS if more.get(name) is not None]
    if layout is None or mask is not None or dropout or refused:
        raise OtherAttentionError(f"no attention over rows end to end with {refused}")


def shared_hidden_states(model: PreTrainedModel, shared: Shared) -> Tensor:
    """The backbone's last hidden states `_ND` at all positions, padding included."""
    with attention_of(model, _NAME):
        output = model.base_model(
            input_ids=shared.ids_1N,
            position_ids=shared.places_1N,
            use_cache=False,
            shared_prompts=shared,
        )
    hidden_ND: Tensor = output.last_hidden_state[0]
    return hidden_ND


@contextmanager
def attention_of(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Attention layers look their function up by name in every pass; afterwards it is their own."""
    with attention_named(model.config.get_text_config(), name):
        yield


@contextmanager
def attention_named(config: PretrainedConfig, name: str | None) -> Iterator[None]:
    """`attention_of` by the configuration that the layers of one model share."""
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def _attend(
    module: nn.Module,
    query_1HND: Tensor,
    key_1HND: Tensor,
    value_1HND: Tensor,
    attention_mask: Tensor | None,
    *,
    shared_prompts: Shared | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Tensor, None]:
    """Prompts attend to themselves; responses to their prompt and to themselves."""
    check_plain(shared_prompts, attention_mask, dropout, more)
    assert shared_prompts is not None
    if attends_in_c(query_1HND, key_1HND, value_1HND):
        views = shared_prompts.views
        return attend_in_c(query_1HND, key_1HND, value_1HND, views, scaling), None
    # split, whose backward pass is one copy; that of slices is one copy of everything a slice
    parts = zip(
        *(_split(states, shared_prompts) for states in (query_1HND, key_1HND, value_1HND)),
        strict=True,
    )
    query, prompt_keys, prompt_values = next(parts)
    outputs = [sdpa(query, prompt_keys, prompt_values, None, scaling)]
    for block, (query, keys, values) in zip(shared_prompts.blocks, parts, strict=True):
        keys = torch.cat([prompt_keys.index_select(0, block.prompts_R), keys], dim=2)
        values = torch.cat([prompt_values.index_select(0, block.prompts_R), values], dim=2)
        outputs.append(sdpa(query, keys, values, block.mask_R1TK, scaling))
    return torch.cat([rows.transpose(1, 2).flatten(0, 1) for rows in outputs])[None], None


AttentionInterface.register(_NAME, _attend)


def _split(states_1HND: Tensor, shared: Shared) -> list[Tensor]:
    """The prompts and each block, `_RHTD`: views."""
    shapes = shared.shapes
    sizes = [rows * length for rows, length in shapes]
    parts = torch.split(states_1HND[0].transpose(0, 1), sizes)
    return [
        part.view(*shape, *part.shape[1:]).transpose(1, 2)
        for part, shape in zip(parts, shapes, strict=True)
    ]


def sdpa(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scaling: float | None
) -> Tensor:
    """Causal without a mask: right padding is seen by padding alone."""
    groups = query.shape[1] // keys.shape[1]
    native = groups > 1 and (mask is None or query.device.type == "cpu")
    if groups > 1 and not native:  # CUDA has no fast kernel for fewer key heads under a mask
        keys, values = (states.repeat_interleave(groups, dim=1) for states in (keys, values))
    output: Tensor = scaled_dot_product_attention(
        query,
        keys,
        values,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=native,
    )
    return output


# Where it is exact --------------------------------------------------------------------------------


def can_share_prompts(model: PreTrainedModel) -> bool:
    """Whether the shared pass gives the hidden states of ordinary passes over whole rows.

    What a configuration says is looked up; and since that is never complete, a few samples go both
    ways and must agree up to rounding.
    """
    return has_plain_attention(model) and _agrees(model, _probe(model))


def has_plain_attention(model: PreTrainedModel) -> bool:
    """Whether every layer says that it attends to all earlier positions, by an exchangeable function."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = getattr(config, "sliding_window", None) and not hasattr(config, "layer_types")
    return kinds == {"full_attention"} and not windowed and bool(model._supports_attention_backend)


def _probe(model: PreTrainedModel) -> Batch:
    """Two prompts, and responses of several lengths, one token among them."""
    draw = torch.Generator().manual_seed(0)
    size: int = model.config.get_text_config().vocab_size

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(size, (count,), generator=draw).tolist())

    short, long = ids(3), ids(5)
    shape = [(short, 6), (long, 1), (long, 7), (short, 2), (long, 2)]
    samples = [Sample(prompt, ids(n), (0.0,) * n, 1.0) for prompt, n in shape]
    rows = [PreparedSample(sample, torch.zeros(len(sample.response_ids))) for sample in samples]
    return collate(rows, device=model.device, layout=Layout.SHARED)


@torch.no_grad()
def _agrees(model: PreTrainedModel, batch: Batch) -> bool:
    assert batch.shared is not None
    try:
        shared_ND = shared_hidden_states(model, batch.shared)
    except (OtherAttentionError, TypeError):  # or a forward without room for further arguments
        return False
    plain_BLD = model.base_model(
        input_ids=batch.ids_BL, attention_mask=batch.attention_BL, use_cache=False
    ).last_hidden_state
    rows_M = batch.mask_BT.nonzero()[:, 0]
    expected_MD = plain_BLD[rows_M, batch.positions_BT[batch.mask_BT]].float()
    worst = (shared_ND[batch.shared.before_M].float() - expected_MD).abs().max()
    tolerance = torch.finfo(plain_BLD.dtype).eps ** 0.5
    return bool(worst <= tolerance * expected_MD.abs().max())
