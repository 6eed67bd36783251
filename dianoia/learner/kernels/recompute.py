"""Activation recomputation: a third more work for a fraction of the memory.

In: a model. Out: the same model, whose decoder layers keep nothing but their input for the backward pass and run once
more there. Results are the same to the last bit, since there is no dropout and the second run repeats the first. The
attention function of the pass (`learner.attention.exchange`) is put back for the second run, which comes after the pass
has ended. Left out: architectures without transformers' own marks for such layers.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from dianoia.base.errors import ConfigError
from dianoia.learner.attention.exchange import attention_named


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
