"""Activations that are computed again instead of kept: a third more work for a fraction of the memory.

In: a model. Out: the same model, whose decoder layers keep nothing but their input for the backward pass and
run once more there. Results are the same to the last bit, since there is no dropout and the second run repeats
the first. The attention of the pass (`learner.attention.prompt_sharing`, `learner.attention.packed_rows`) is put back for the second run, which
comes after the pass has ended. Left out: architectures without transformers' own marks for such layers.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from dianoia.base.errors import ConfigError
from dianoia.learner.attention.prompt_sharing import attention_named


def recompute_layers(model: PreTrainedModel) -> None:
    """Let every decoder layer run again in the backward pass; copies of the model do so too.

    Raises ConfigError for a model without layers that can.
    """
    layers = [one for one in model.modules() if isinstance(one, GradientCheckpointingLayer)]
    if not layers:
        raise ConfigError(
            f"recompute = true: the architecture {type(model).__name__} has no layers that can be computed "
            "again in the backward pass; set recompute = false and lower tokens_per_micro_batch"
        )
    again = partial(_again, model.config.get_text_config())
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = again  # type: ignore[assignment]
        # Its own mark alone, which it asks for; what is inside stays in evaluation, without dropout.
        layer.training = True


def _again(config: PretrainedConfig, function: Callable[..., Any], *inputs: Any) -> Any:
    name = config._attn_implementation

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), attention_named(config, name)

    return checkpoint(
        function, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts
    )
