"""Estimate of the time that work takes: the operations of training and of sampling over the speed of the machine. No torch.

In: `Work`, as `plan.stage_work` counts it, and a `Machine`. Out: seconds. On a CPU only arithmetic counts. On a GPU a
decoding step also reads weights and KV cache once, however many samples are decoded, and launches a few kernels per layer.
"""

from dataclasses import dataclass

from dianoia.hardware.machine import Machine
from dianoia.recipe.plan.memory import PROMPT_TOKENS
from dianoia.recipe.plan.model_sizes import Size

FILLED = 0.3
"""Guess for the share of max_tokens that a response fills: the mean over a stage was 0.09 to 0.32 in the seven rl stages of
the miniature, 0.5 to 0.9 for SmolLM2 under a limit of 64 (log/2026-11-30-time-of-a-run.md)."""
START_SECONDS = 0.3
"""Seconds of a stage before its first step and after its last: its process, its model, its checkpoint."""
LAYER_SECONDS = 1.8e-5
"""Seconds of one layer per decoding step that reading weights and cache does not explain. Steps of Qwen3-0.6B and 1.7B on
an H100, 64 and 256 rows, take 0.5 ms and 1.38 times as long as the data sheet's bandwidth allows, within 5 %
(log/2026-11-26-one-gpu-to-itself.md); both have 28 layers."""


CORE_WIDTH = 75
"""Width at which the products of a model on a CPU reach half of the rate of wide ones. Measured per core, sampling and
updates: 57 % of that of large products at width 128 (the miniature), 82 % at 576 (SmolLM2-135M)."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts to train on, each a prompt and a response; a text without a prompt is all response."""

    count: float
    response: float
    """Tokens of a response."""
    prompts: float = 0.0
    """Prompts, each shared by several texts."""
    prompt: float = 0.0
    """Tokens of a prompt."""


@dataclass(frozen=True, slots=True)
class Work:
    """Work of a stage."""

    training_flops: float = 0.0
    """Operations of the learner, with one pass over a prompt for all of its responses."""
    packed_flops: float = 0.0
    """The same where every response has a copy of its prompt, as rows packed end to end on a GPU have."""
    autocast: bool = False
    sampling_flops: float = 0.0
    """Operations of the sampler."""
    bfloat16: bool = False
    """Whether the sampler computes in bfloat16."""
    decoding_steps: float = 0.0
    """Decoding steps of a rank, each of one token for every live sample."""
    bytes_per_step: float = 0.0
    """Bytes that a decoding step reads."""
    layers: int = 0
    width: int = 0
    """Hidden size of the model."""


def training_work(
    size: Size, texts: Texts, passes: float, autocast: bool, head_over_vocabulary: bool = True
) -> Work:
    """Return the work of training on texts.

    `passes`: forward passes per token; a backward pass counts as two. The head runs on responses alone; that of a reward
    model, which has no vocabulary, is too small to count.
    """
    length = texts.prompt + texts.response
    # On average a token attends to half of its text.
    layers, head = size.layer_flops(length / 2), 2 * size.embedding * head_over_vocabulary
    responses = texts.count * texts.response * (layers + head)
    shared, packed = (
        passes * (responses + copies * texts.prompt * layers)
        for copies in (texts.prompts, texts.count)
    )
    return Work(shared, packed if texts.prompts else shared, autocast=autocast, width=size.hidden)


def sampling_work(
    size: Size,
    completions: float,
    max_tokens: int,
    slots: int,
    dtype: str,
    calls: float,
    prompts: float,
    prompt: float = PROMPT_TOKENS,
    ranks: int = 1,
) -> Work:
    """Return the work of sampling completions to prompts of `prompt` tokens in `calls` calls of the sampler.

    `ranks` share out each call. At its end only the longest completions are live, so that it costs extra decoding steps.
    """
    # Bytes per number of weights and cache.
    length, width = FILLED * max_tokens, 2 if dtype == "bfloat16" else 4
    # On average a token attends to the prompt and half of the response.
    context = prompt + length / 2
    # A rank cannot use more slots than it has completions in a call.
    live = min(slots, completions / calls / ranks)
    decoding = completions * length * (size.layer_flops(context) + 2 * size.embedding)
    return Work(
        sampling_flops=decoding + prompts * prompt * size.layer_flops(prompt / 2),
        bfloat16=dtype == "bfloat16",
        # All slots are full until the queue is empty; then the longest response is decoded alone.
        decoding_steps=completions * length / live / ranks + calls * (max_tokens - length),
        bytes_per_step=width * (size.parameters + live * context * size.cache_per_token),
        layers=size.layers,
        width=size.hidden,
    )


def seconds(work: Work, machine: Machine, ranks: int = 1) -> float:
    """Return the estimated seconds of the work, shared out equally among ranks with such a device each.

    Communication is left out: `simulation.learning` has it.
    """
    float32, bfloat16 = machine.float32, machine.bfloat16
    if machine.cpu:
        # Narrow products are too short to reach the rate of wide ones.
        share = work.width / (work.width + CORE_WIDTH) if work.width else 1.0
        float32, bfloat16 = share * float32, share * bfloat16
    packed = work.autocast and not machine.cpu
    flops = (work.packed_flops if packed else work.training_flops) / ranks
    training = flops / (bfloat16 if work.autocast else float32)
    sampling = work.sampling_flops / ranks / (bfloat16 if work.bfloat16 else float32)
    # On a CPU the caches hold what a decoding step reads, so memory bandwidth is no limit.
    if machine.bandwidth is None:
        return training + sampling
    step = work.bytes_per_step / machine.bandwidth + work.layers * LAYER_SECONDS
    # Sampling is limited by arithmetic or by memory bandwidth, whichever is slower.
    return training + max(sampling, work.decoding_steps * step)
