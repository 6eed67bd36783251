"""Which sampler a model gets: the native one where it can, transformers' `generate` everywhere
else.

In: a loaded transformers model. Out: a `Sampler` that holds a copy of its weights.
"""

import logging

import torch
from transformers import PreTrainedModel

from dianoia.sampler.interface import Sampler
from dianoia.sampler.native.engine import NativeSampler
from dianoia.sampler.native.weights import refusal
from dianoia.sampler.transformers import TransformersSampler

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""By the name that a recipe gives."""


def make_sampler(
    model: PreTrainedModel,
    *,
    slots: int = 256,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Sampler:
    """A sampler with the model's present weights.

    slots: samples decoded at a time. dtype: of weights and cache, by default float32 on a CPU and
    the model's own elsewhere. device: by default the model's.
    """
    place = torch.device(device) if device is not None else model.device
    kind = dtype or (torch.float32 if place.type == "cpu" else model.dtype)
    reason = refusal(model.config)
    if reason is not None:
        log.warning(
            "Sampling %s through transformers' generate, several times slower than the native "
            "sampler: %s.",
            type(model).__name__,
            reason,
        )
        return TransformersSampler(model, slots=slots, dtype=kind, device=place)
    sampler = NativeSampler(model.config, slots=slots, dtype=kind, device=place)
    sampler.load(model.state_dict())
    return sampler
