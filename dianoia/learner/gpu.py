"""What a learner exchanges in a model for a GPU's bfloat16 products: layers that compile, rows end to end.

In: a model and the name of its autocast. Out: the model prepared, and whether rows may run end to end. In
float32, and on a CPU, nothing is exchanged.
"""

import torch
from transformers import PreTrainedModel

from dianoia.learner.fused import fuse_layers
from dianoia.learner.packed import can_pack, never_plain
from dianoia.runtime.flash import has_flash


def prepared_for_gpu(model: PreTrainedModel, autocast: str) -> bool:
    """Whether the model runs packed rows through a flash kernel; its layers are fused where they can be."""
    kind = torch.bfloat16 if autocast == "bfloat16" else model.dtype
    config = model.config.get_text_config()
    head = getattr(config, "head_dim", None)
    head = head or config.hidden_size // config.num_attention_heads
    if not has_flash(model.device, kind, head) or not can_pack(model):
        return False
    never_plain(model)
    fuse_layers(model, kind)
    return True
