"""What a learner exchanges in a model before it runs: layers with fewer passes over memory, rows end to end.

In: a model and the name of its autocast. Out: the model prepared, and how micro-batches are laid out for it. On a GPU layers are exchanged for bfloat16's
products and rows may run end to end; on a CPU with a C compiler layers are exchanged for C functions.
"""

from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel

from dianoia.hardware.flash_attention import has_flash_attention
from dianoia.learner.attention.packed_rows import can_pack, never_plain
from dianoia.learner.attention.prompt_sharing import can_share_prompts
from dianoia.learner.batching.batch import Layout
from dianoia.learner.kernels.fused_layers import fuse_layers, has_biases
from dianoia.learner.kernels.layers_cpu import runs_in_c


def prepared_for_gpu(model: PreTrainedModel, autocast: str) -> bool:
    """Whether the model runs packed rows through a flash kernel; its layers are fused where they can be."""
    kind = torch.bfloat16 if autocast == "bfloat16" else model.dtype
    config = model.config.get_text_config()
    head = getattr(config, "head_dim", None)
    head = head or config.hidden_size // config.num_attention_heads
    if not has_flash_attention(model.device, kind, head) or not can_pack(model):
        return False
    never_plain(model)
    fuse_layers(model, kind)
    return True


def prepare_for_cpu(model: nn.Module, autocast: str) -> None:
    """Exchange the layers of a model without biases, in float32 on a CPU with a C compiler; results stay, up to
    the rounding that `autocast` asks for. Anything else is left as it is."""
    plain = isinstance(model, PreTrainedModel) and not has_biases(model)
    if plain and runs_in_c(next(model.parameters())):
        kind = torch.bfloat16 if autocast == "bfloat16" else torch.float32
        fuse_layers(cast(PreTrainedModel, model), kind)


def layout_for(model: PreTrainedModel, autocast: str, share_prompts: bool) -> Layout:
    """Prepare a model whose head is plain, on a GPU too; how its micro-batches are laid out."""
    if prepared_for_gpu(model, autocast):
        return Layout.PACKED
    if not share_prompts or not can_share_prompts(model):
        return Layout.PADDED
    # layers that are left as they are attend in autocast's format, which C has no function for
    in_c = runs_in_c(next(model.parameters())) and (autocast == "none" or not has_biases(model))
    return Layout.TIGHT if in_c else Layout.SHARED
