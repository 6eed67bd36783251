"""How long work takes: operations of learning, and of drawing tokens, over what the machine can do. No torch.

In: `Work`, as the plan counts it, and a `Machine`. Out: seconds, an estimate. On a CPU all is arithmetic. On a GPU
a decoding step reads weights and cache once whatever the number of samples, and starts a few kernels a layer.
"""

from dataclasses import dataclass

from dianoia.hardware.machine import Machine
from dianoia.recipe.plan.memory import PROMPT_TOKENS
from dianoia.recipe.plan.model_sizes import Size

FILLED = 0.4
"""Guess for the share of max_tokens that a response fills."""
_LAYER_SECONDS = 2e-4
"""Guess for the kernels that one layer starts in one decoding step."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage has to do."""

    learned: float = 0.0
    """Operations of a learner."""
    autocast: bool = False
    drawn: float = 0.0
    """Operations of a sampler."""
    bfloat16: bool = False
    """Whether the sampler is."""
    steps: float = 0.0
    """Decoding steps, each of one token for every live sample."""
    read: float = 0.0
    """Bytes that a decoding step reads."""
    layers: int = 0


def learning(size: Size, tokens: float, length: float, passes: float, autocast: bool) -> Work:
    """`passes` forward passes' worth of operations on texts of `length` tokens; a backward pass is two."""
    return Work(tokens * passes * size.operations(length / 2), autocast)


def drawing(
    size: Size, completions: float, longest: int, slots: int, dtype: str, calls: float
) -> Work:
    """Completions of at most `longest` tokens in `calls` calls of the sampler, each with its slow end."""
    length, width = FILLED * longest, 2 if dtype == "bfloat16" else 4
    context = PROMPT_TOKENS + length / 2
    used = min(slots, completions / calls)
    return Work(
        drawn=completions * length * size.operations(context),
        bfloat16=dtype == "bfloat16",
        steps=completions * length / used + calls * (longest - length),
        read=width * (size.parameters + used * context * size.cache_per_token),
        layers=size.layers,
    )


def seconds(work: Work, machine: Machine) -> float:
    """An estimate."""
    learned = work.learned / (machine.bfloat16 if work.autocast else machine.float32)
    drawn = work.drawn / (machine.bfloat16 if work.bfloat16 else machine.float32)
    if machine.bandwidth is None:
        return learned + drawn
    waiting = work.steps * (work.read / machine.bandwidth + work.layers * _LAYER_SECONDS)
    return learned + max(drawn, waiting)
