"""DeepSeek-R1-Zero's own run in the model of a rollout, beside the hours that the paper reports.

The paper (v2, sections 2.1, B.1, B.4.4): 512 H800 for about 198 hours; 10,400 steps, 16 per rollout of 8,192 responses; at most
32,768 tokens, from step 8,200 on 65,536; DeepSeek-V3-Base, 671 billion parameters of which 37 are active.

What the paper does not say is assumed, each with its source:

1. Mean length: a straight line from 500 to 14,200 tokens, the ends that others read off its figure 1b. Spreads: the default ones.
2. Samplers of 32 GPUs, FP8 weights (the format in which V3 was released), 512 slots each, so that all 8,192 responses run at once.
3. A decoding step reads all experts once and exchanges tokens twice per layer of experts: 155 + 273 microseconds on 32 H800
   (DeepEP, docs/legacy.md, low-latency kernels). 1.8 tokens per step with the model's second head (V3 report, 5.4.3).
4. Updates reach the rate of V3's pretraining: 180,000 H800 hours per 10^12 tokens (V3 report, 1), 35 % of the data sheet. Each
   minibatch is dealt to 32 replicas of 16 GPUs. The reference adds a forward pass.

Left out: moving models between memories after each phase, evaluations, failures, and waiting for graders.
"""

from dataclasses import dataclass, replace

import numpy as np

from dianoia.recipe.plan.model_sizes import Size
from dianoia.simulation.decoding import Decoder
from dianoia.simulation.learning import Learning, largest_load
from dianoia.simulation.lengths import BETWEEN, WITHIN, LogNormal
from dianoia.simulation.timeline import Rollout, simulate

GPUS, HOURS = 512, 198.0
"""Of the paper."""
STEPS, MINIBATCHES, PROBLEMS, GROUP = 10_400, 16, 512, 16
LIMIT, LONG_LIMIT, LONG_FROM = 32_768, 65_536, 8_200
SHORT_MEAN, LONG_MEAN = 500.0, 14_200.0
_PROMPT = 150.0
"""Tokens of a prompt: 122 to 420 in the paper's table 4."""
_SAMPLER_GPUS, _SLOTS = 32, 512
_LAYERS, _EXPERT_LAYERS = 61, 58
_EXCHANGE = 155e-6 + 273e-6
_LAUNCHES = 1.8e-5
_TOKENS_PER_STEP = 1.8
_WEIGHT_BYTES, _CACHE_BYTES = 671e9, 2 * 576 * _LAYERS
"""FP8; and 576 bfloat16 numbers per token and layer (multi-head latent attention)."""
_BANDWIDTH, _RATE = 0.72 * 3.35e12, 0.35 * 989e12
_REPLICAS = 32
# A token's score with another one: 128 heads of 192 numbers, and 128 of its value, in a multiply and an add each. While
# decoding, queries meet the compressed states: 576 and 512 numbers.
_TRAINING_ATTENTION = 2 * 128 * (192 + 128)
_DECODING_ATTENTION = 2 * 128 * (576 + 512)
ACTIVE = Size(
    parameters=37_000_000_000,
    cache_per_token=576 * _LAYERS,
    name="DeepSeek-V3-Base",
    layers=_LAYERS,
    hidden=7168,
    # `layer_flops` counts four operations per number of the queries and token attended to
    query_width=_TRAINING_ATTENTION // 4,
    vocabulary=129_280,
    tied=False,
)


@dataclass(frozen=True, slots=True)
class Part:
    """A rollout at one point of the run, in seconds."""

    step: int
    mean: float
    longest: float
    """Tokens of its longest response."""
    sampling: float
    updating: float
    total: float
    """Per rollout, in a long run of such rollouts."""


def lengths(step: int) -> LogNormal:
    """Return the lengths of the responses at a step."""
    limit = LIMIT if step < LONG_FROM else LONG_LIMIT
    mean = SHORT_MEAN + (LONG_MEAN - SHORT_MEAN) * step / STEPS
    return LogNormal(0.0, BETWEEN, WITHIN, limit).with_mean(mean)


def decoder(gpus: int = _SAMPLER_GPUS, tokens_per_step: float = _TOKENS_PER_STEP) -> Decoder:
    """Return a sampler of so many GPUs."""
    return Decoder(
        token_flops=2 * (ACTIVE.layer_parameters + ACTIVE.embedding),
        attention_flops=_LAYERS * _DECODING_ATTENTION,
        weight_bytes=_WEIGHT_BYTES,
        cache_bytes=_CACHE_BYTES,
        rate=gpus * _RATE,
        bandwidth=gpus * _BANDWIDTH,
        overhead=_EXPERT_LAYERS * _EXCHANGE + _LAYERS * _LAUNCHES,
        slots=_SLOTS,
        tokens_per_step=tokens_per_step,
    )


def update_seconds(tokens: np.ndarray, gpus: int) -> float:  # type: ignore[type-arg]
    """Return the seconds of the steps of a rollout on so many GPUs."""
    learning = Learning(ACTIVE, 0, 4.0, MINIBATCHES, LIMIT, _PROMPT, shared_prompts=False)
    flops = learning.flops(tokens).reshape(MINIBATCHES, -1)
    replicas = max(1, _REPLICAS * gpus // GPUS)
    rate = gpus / replicas * _RATE
    return sum(largest_load(step.tolist(), replicas) for step in flops) / rate


def part(
    step: int,
    gpus: int = GPUS,
    samplers: int | None = None,
    staleness: int = 0,
    tokens_per_step: float = _TOKENS_PER_STEP,
) -> Part:
    """Return the times of a rollout at `step`.

    `samplers`: GPUs that only sample; None: all GPUs sample and then learn.
    """
    count = 8 if staleness else 1
    random = np.random.default_rng(step)
    drawn = [lengths(step).draw(PROBLEMS, GROUP, random) for _ in range(count)]
    sampling_gpus = gpus if samplers is None else samplers
    learning_gpus = gpus if samplers is None else gpus - samplers
    updates = [update_seconds(tokens, learning_gpus) for tokens in drawn]
    rollouts = [
        Rollout(tokens, 0.0, seconds, 0.0) for tokens, seconds in zip(drawn, updates, strict=True)
    ]
    one = replace(decoder(), tokens_per_step=tokens_per_step)
    times = simulate(rollouts, [one] * (sampling_gpus // _SAMPLER_GPUS), _PROMPT, staleness)
    half = count // 2
    total = times[-1].released
    if staleness:
        total = (times[-1].updated - times[half - 1].updated) / (count - half)
    return Part(
        step,
        float(np.mean([tokens.mean() for tokens in drawn])),
        float(drawn[-1].max()),
        times[-1].sampled - times[-1].began,
        float(np.mean(updates)),
        total,
    )


def hours(parts: list[Part]) -> float:
    """Return the hours of the run whose rollouts are those of the parts, evenly spread."""
    return STEPS / MINIBATCHES * float(np.mean([part.total for part in parts])) / 3600


def steps(points: int) -> list[int]:
    """Return steps in the middle of as many equal parts of the run."""
    return [int(STEPS * (point + 0.5) / points) for point in range(points)]
