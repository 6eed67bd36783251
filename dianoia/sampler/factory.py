"""Choice of the sampler for a model: the native one where it can run the model, else transformers' `generate`.

In: a loaded transformers model. Out: a `Sampler` with a copy of its weights.
"""

import logging
from collections.abc import Mapping

import torch
from transformers import PreTrainedModel

from dianoia.sampler.interface import Sampler, WeightUpdate
from dianoia.sampler.native.engine import CACHE_SHARE, NativeSampler
from dianoia.sampler.native.weights import refusal
from dianoia.sampler.transformers import TransformersSampler

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Data types by the name that a recipe gives them."""


def make_sampler(
    model: PreTrainedModel,
    *,
    slots: int = 256,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
    cache_share: float = CACHE_SHARE,
) -> Sampler:
    """Return a sampler with a copy of the model's present weights, as version 0.

    slots: samples decoded at a time. dtype: of weights and KV cache; by default float32 on a CPU and
    the model's own elsewhere. device: by default the model's. weights: the native sampler takes these and not the model's.
    cache_share: see `NativeSampler`.
    """
    target = torch.device(device) if device is not None else model.device
    chosen_dtype = dtype or (torch.float32 if target.type == "cpu" else model.dtype)
    reason = refusal(model.config)
    if reason is not None:
        log.warning(
            "Sampling %s through transformers' generate, several times slower than the native "
            "sampler: %s.",
            type(model).__name__,
            reason,
        )
        return TransformersSampler(model, slots=slots, dtype=chosen_dtype, device=target)
    sampler = NativeSampler(
        model.config, slots=slots, dtype=chosen_dtype, device=target, cache_share=cache_share
    )
    sampler.load(WeightUpdate(0, model.state_dict() if weights is None else weights))
    # the caller may go on to train this model or to drop it, so the copy cannot wait for `generate`
    sampler.pull()
    return sampler
