"""Prepare a model for training: exchange its layers for fused ones, and choose the layout of its micro-batches.

In: a model and the name of its autocast. Out: the model with other kernels, or an answer. Questions (`packs_on_gpu`,
`choose_layout`) only run the model; actions (`prepare_for_cpu`, `prepare_for_gpu`) exchange its layers. On a GPU layers
are fused for bfloat16 products and rows may run end to end; on a CPU with a C compiler layers run C functions.

`recompute_layers` trades a third more work for a fraction of the memory: decoder layers keep nothing but their input for
the backward pass and run once more there. Results are the same to the last bit, since there is no dropout and the second run
repeats the first. The attention function of the pass (`learner.attention.exchange`) is put back for the second run.
Architectures without transformers' own marks for such layers are refused.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from dianoia.base.errors import ConfigError
from dianoia.hardware.flash_attention import has_flash_attention
from dianoia.learner.attention.exchange import attention_named
from dianoia.learner.attention.packed_rows import can_pack, never_plain
from dianoia.learner.attention.prompt_sharing import can_share_prompts
from dianoia.learner.batching.batch import Layout
from dianoia.learner.kernels.fused_layers import fuse_layers, has_biases
from dianoia.learner.kernels.layers_cpu import runs_in_c


def prepare_for_cpu(model: nn.Module, autocast: str, device: torch.device | None = None) -> None:
    """Fuse the layers of a model without biases, in float32 on a CPU with a C compiler.

    Results stay, up to the rounding that `autocast` asks for. Any other model is left as it is. `device`: where the model
    will run; None: where it is.
    """
    # A value model is no PreTrainedModel: its backbone is a copy of one that is prepared.
    plain = isinstance(model, PreTrainedModel) and not has_biases(model)
    vector = _vector(model)
    if plain and runs_in_c(torch.empty(0, dtype=vector.dtype, device=device or vector.device)):
        dtype = torch.bfloat16 if autocast == "bfloat16" else torch.float32
        fuse_layers(cast(PreTrainedModel, model), dtype)


def packs_on_gpu(model: PreTrainedModel, autocast: str) -> bool:
    """Return True if the model may run packed rows through a flash kernel."""
    config = model.config.get_text_config()
    # Flash kernels exist for some head sizes only.
    head_size = getattr(config, "head_dim", None)
    head_size = head_size or config.hidden_size // config.num_attention_heads
    return has_flash_attention(
        model.device, _product_dtype(model, autocast), head_size
    ) and can_pack(model)


def prepare_for_gpu(model: PreTrainedModel, autocast: str) -> None:
    """Let a model that `packs_on_gpu` run every row packed, and fuse its layers where they can be."""
    never_plain(model)
    fuse_layers(model, _product_dtype(model, autocast))


def _product_dtype(model: PreTrainedModel, autocast: str) -> torch.dtype:
    """Return the dtype of the factors of products."""
    return torch.bfloat16 if autocast == "bfloat16" else _vector(model).dtype


def _vector(model: nn.Module) -> Tensor:
    """Return a vector of weights, such as a norm's: it has the dtype of the states, which a frozen matrix need not have."""
    parameters = list(model.parameters())
    return next((weight for weight in parameters if weight.ndim < 2), parameters[0])


def choose_layout(model: PreTrainedModel, autocast: str, share_prompts: bool) -> Layout:
    """Return how the micro-batches of a model with a plain head are laid out.

    `Layout.PACKED` is for a model that the caller then gives to `prepare_for_gpu`.
    """
    if packs_on_gpu(model, autocast):
        return Layout.PACKED
    if not share_prompts or not can_share_prompts(model, _product_dtype(model, autocast)):
        return Layout.PADDED
    # Layers that were left as they are attend in autocast's dtype, which C has no function for.
    in_c = runs_in_c(_vector(model)) and (autocast == "none" or not has_biases(model))
    return Layout.TIGHT if in_c else Layout.SHARED


def recompute_layers(model: PreTrainedModel) -> None:
    """Let every decoder layer run again in the backward pass; copies of the model do so too.

    Raises ConfigError for a model without layers that can.
    """
    modules = model.modules()
    layers = [module for module in modules if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise ConfigError(
            f"recompute = true: the architecture {type(model).__name__} has no layers that can be computed "
            "again in the backward pass; set recompute = false and lower tokens_per_micro_batch"
        )
    rerun = partial(_checkpoint, model.config.get_text_config())
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = rerun  # type: ignore[assignment]
        # The layer asks for its own flag alone; the modules inside stay in evaluation mode, without dropout.
        layer.training = True


def _checkpoint(config: PretrainedConfig, function: Callable[..., Any], *inputs: Any) -> Any:
    """Run `function` without keeping activations; the second run has the attention function of the first."""
    # Read now: by the time of the second run the pass has put the model's own attention back.
    name = config._attn_implementation

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), attention_named(config, name)

    return checkpoint(
        function, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts
    )
