"""Estimate of the time that work takes: the operations of training and of sampling over the speed of the machine. No torch.

In: `Work`, as `plan.stage_work` counts it, and a `Machine`. Out: seconds. On a CPU only arithmetic counts. On a GPU a
decoding step also reads weights and KV cache once, however many samples are decoded, and launches a few kernels per layer.
"""

from dataclasses import dataclass

from dianoia.hardware.machine import Machine
from dianoia.recipe.plan.memory import PROMPT_TOKENS
from dianoia.recipe.plan.model_sizes import Size

FILLED = 0.4
"""Guess for the share of max_tokens that a response fills."""
_LAYER_SECONDS = 2e-4
"""Guess for the seconds of one layer's kernel launches per decoding step."""


@dataclass(frozen=True, slots=True)
class Work:
    """Work of a stage."""

    training_flops: float = 0.0
    """Operations of the learner."""
    autocast: bool = False
    sampling_flops: float = 0.0
    """Operations of the sampler."""
    bfloat16: bool = False
    """Whether the sampler computes in bfloat16."""
    decoding_steps: float = 0.0
    """Decoding steps, each of one token for every live sample."""
    bytes_per_step: float = 0.0
    """Bytes that a decoding step reads."""
    layers: int = 0


def training_work(size: Size, tokens: float, length: float, passes: float, autocast: bool) -> Work:
    """Return the work of training on texts of `length` tokens.

    `passes`: forward passes per token; a backward pass counts as two.
    """
    return Work(tokens * passes * size.forward_flops(length / 2), autocast)


def sampling_work(
    size: Size, completions: float, max_tokens: int, slots: int, dtype: str, calls: float
) -> Work:
    """Return the work of sampling completions in `calls` calls of the sampler.

    At the end of each call only the longest completions are live, so that it costs extra decoding steps.
    """
    # Bytes per number of weights and cache.
    length, width = FILLED * max_tokens, 2 if dtype == "bfloat16" else 4
    # On average a token attends to the prompt and half of the response.
    context = PROMPT_TOKENS + length / 2
    # A call cannot use more slots than it has completions.
    live = min(slots, completions / calls)
    return Work(
        sampling_flops=completions * length * size.forward_flops(context),
        bfloat16=dtype == "bfloat16",
        # All slots are full until the queue is empty; then the longest response is decoded alone.
        decoding_steps=completions * length / live + calls * (max_tokens - length),
        bytes_per_step=width * (size.parameters + live * context * size.cache_per_token),
        layers=size.layers,
    )


def seconds(work: Work, machine: Machine) -> float:
    """Return the estimated seconds of the work on the machine."""
    training = work.training_flops / (machine.bfloat16 if work.autocast else machine.float32)
    sampling = work.sampling_flops / (machine.bfloat16 if work.bfloat16 else machine.float32)
    # On a CPU the caches hold what a decoding step reads, so memory bandwidth is no limit.
    if machine.bandwidth is None:
        return training + sampling
    step = work.bytes_per_step / machine.bandwidth + work.layers * _LAYER_SECONDS
    # Sampling is limited by arithmetic or by memory bandwidth, whichever is slower.
    return training + max(sampling, work.decoding_steps * step)
