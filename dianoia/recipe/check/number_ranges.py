"""Ranges of the numbers in a recipe: what no run can use, and what hardly any run wants. No torch.

In: a recipe. Out: for each number outside its range a sentence with its effect and what to write instead. Numbers outside
the possible range make `load_recipe` refuse the recipe. Numbers outside the usual range are warnings in the plan.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

from dianoia.config import PretrainStage, RewardModelStage, RLStage, SFTStage
from dianoia.recipe.graph import Recipe, Stage
from dianoia.recipe.resume.fingerprint import flatten


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, all inclusive."""

    usual: tuple[float, float]
    possible: tuple[float, float]
    effect: str
    """What a number outside the range does."""
    advice: str
    """What to write instead."""


# Ranges that several keys share.
_RATE = Range(
    (1e-9, 0.05),
    (0, 1),
    "AdamW moves every weight by about this much in a step, and few weights are larger than 0.1",
    "1e-6 to 1e-3, the smaller the larger the model (the paper: 3e-6)",
)
_TEMPERATURE = Range(
    (0, 2),
    (0, 10),
    "logits are divided by it, so that far above 1 all tokens of the vocabulary are about equally likely",
    "0.6 to 1 (the paper: 1 in training, 0.6 in evaluations)",
)
_CLIP = Range(
    (0, 1000),
    (0, 1e6),
    "probability ratios are bounded by 1 plus it, and none comes near such a bound",
    "0.2, or 10 for none, as in R1",
)
_WEIGHT = Range(
    (-100, 100),
    (-1e6, 1e6),
    "it multiplies a reward that is mostly between 0 and 1, and would outweigh every other part",
    "a number around 1",
)
_MANY = "runs take time and memory in proportion to it"
_COUNT = Range((1, 1e5), (0, 1e9), _MANY, "a smaller number")
_TOKENS = Range((1, 2e6), (0, 1e9), _MANY, "a smaller number")
RANGES: Mapping[str, Range] = {
    # optimizers
    "learning_rate": _RATE,
    "value_learning_rate": _RATE,
    # sampling
    "temperature": _TEMPERATURE,
    "top_p": Range((0.05, 1), (0, 1), "hardly any token is left to sample", "0.9 to 1"),
    # losses and advantages
    "clip_low": _CLIP,
    "clip_high": _CLIP,
    "value_clip": _CLIP,
    "kl_coefficient": Range(
        (0, 1),
        (0, 1e3),
        "the penalty for leaving the reference far outweighs a reward of 1, so that nothing is learnt",
        "0.001 to 0.1 (the paper: 0.001)",
    ),
    "std_epsilon": Range(
        (0, 0.1),
        (0, 100),
        "it is added to a standard deviation of at most about 0.5 and would shrink every advantage",
        "1e-6",
    ),
    "importance_cap": Range(
        (0.5, 100), (0, 1e6), "it bounds a ratio that is 1 if sampler and learner agree", "2"
    ),
    "gamma": Range(
        (0.9, 1), (0, 1), "rewards at the end of a response hardly affect its beginning", "1"
    ),
    # AdamW
    "weight_decay": Range(
        (0, 1),
        (0, 100),
        "it times the learning rate is the share of a weight that is lost per step",
        "0 to 0.1",
    ),
    "beta1": Range((0, 0.99), (0, 1), "the average of gradients lags by hundreds of steps", "0.9"),
    "beta2": Range(
        (0.9, 1), (0, 1), "the average of squares forgets within a few steps", "0.95 to 0.999"
    ),
    "epsilon": Range(
        (0, 1e-3), (0, 1), "it is added to the size of a gradient and would outweigh it", "1e-8"
    ),
    "max_grad_norm": Range(
        (1e-3, 1000), (0, 1e12), "gradients are scaled down to this norm, mostly 0.1 to 10", "1"
    ),
    # parts of the reward
    "weight": _WEIGHT,
    "helpful_weight": _WEIGHT,
    "safety_weight": _WEIGHT,
    "accuracy": _WEIGHT,
    "format": _WEIGHT,
    "language": _WEIGHT,
    # amounts of data, steps and samples
    "epochs": Range((1, 50), (0, 1e6), "data seen so often is memorised", "2 or 3 (the paper)"),
    "steps": Range((1, 1e6), (0, 1e9), _MANY, "a smaller number (the paper: 10,400)"),
    "tokens": Range((1, 1e12), (0, 1e15), _MANY, "a smaller number"),
    "group_size": Range((1, 1024), (0, 1e6), _MANY, "16 (the paper)"),
    "samples": Range((1, 1024), (0, 1e6), _MANY, "4 to 64"),
    "problems_per_rollout": _COUNT,
    "minibatches": Range((1, 1024), (0, 1e6), "each optimizer step sees few samples", "1 to 16"),
    "samples_per_step": _COUNT,
    "max_tokens": _TOKENS,
    "max_length": _TOKENS,
    "tokens_per_step": Range((1, 1e8), (0, 1e10), _MANY, "a smaller number"),
    "tokens_per_micro_batch": Range(
        (1, 1e7), (0, 1e9), "so many tokens are in memory at the same time", "16384"
    ),
    "slots": Range((1, 16_384), (0, 1e7), "so many samples are in memory at the same time", "256"),
    "prompts": Range((1, 1e7), (0, 1e9), _MANY, "a smaller number"),
    "rows": Range((1, 1e7), (0, 1e9), _MANY, "a smaller number"),
    "limit": Range((1, 1e6), (0, 1e9), _MANY, "512"),
    # endpoints
    "timeout": Range((1, 7200), (0, 1e6), "it is in seconds", "120"),
    "concurrency": Range((1, 512), (0, 1e5), "so many requests are sent at the same time", "8"),
    "retries": Range((0, 50), (0, 1e4), "the waits between them double, up to hours", "5"),
    # models that a pretrain stage builds
    "layers": Range((1, 500), (0, 1e4), _MANY, "2 to 32"),
    "hidden_size": Range((8, 32_768), (0, 1e6), _MANY, "64 to 4096"),
    "vocabulary": Range((300, 1e6), (0, 1e7), _MANY, "1024 to 150000"),
}
"""Range of a number by the last part of its key."""
_LORA_RATE = {"rl": 1e-5, "sft": 5e-5, "reward_model": 5e-5}
"""Learning rates below which adapters learn next to nothing, by kind of stage: what full training takes at 1 to 7 B parameters."""
_SEED = Range((0, 2**32 - 1), (0, 2**32 - 1), "random number generators take 32 bits", "1")
_THREADS = Range((0, 256), (0, 4096), "a CPU has fewer cores", "0: one per core, at most 8")


def impossible_numbers(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield (key, sentence) of every number that no run can use."""
    for key, value, bounds in _numbers(recipe):
        low, high = bounds.possible
        if not low <= value <= high:
            yield key, _sentence(value, bounds)


def unusual_numbers(recipe: Recipe) -> list[str]:
    """Return a sentence on each number, or pair of numbers, that hardly any run wants."""
    sentences = [
        f"{key} = {_shown(value)}: {_sentence(value, bounds)}"
        for key, value, bounds in _numbers(recipe)
        if not bounds.usual[0] <= value <= bounds.usual[1]
    ]
    return sentences + [line for name in recipe.stages for line in _unusual_pairs(name, recipe)]


def _numbers(recipe: Recipe) -> Iterator[tuple[str, float, Range]]:
    """Yield (key, value, range) of every number that has a range."""
    yield "seed", recipe.seed, _SEED
    yield "threads", recipe.threads, _THREADS
    for name, stage in recipe.stages.items():
        for key, value in flatten(stage.model_dump(mode="json")).items():
            last = key.rpartition(".")[2]
            # arguments of a reward function are the user's own, whatever their names
            if ".arguments." in f".{key}" or isinstance(value, bool) or last not in RANGES:
                continue
            if isinstance(value, int | float):
                yield f"stages.{name}.{key}", value, RANGES[last]


def _unusual_pairs(name: str, recipe: Recipe) -> Iterator[str]:
    """Yield a sentence on numbers that make no sense together."""
    stage = recipe.stages[name]
    if not isinstance(stage, PretrainStage | RLStage | SFTStage | RewardModelStage):
        return
    # Each number is fine by itself; together they defeat their purpose.
    optimizer, steps = stage.optimizer, _optimizer_steps(stage)
    if steps is not None and optimizer.warmup_steps >= steps > 0:
        yield (
            f"stages.{name}.optimizer.warmup_steps = {optimizer.warmup_steps}: the stage has {steps:,} optimizer steps, so "
            "that the learning rate never reaches its peak; write a tenth of the steps or less"
        )
    if not isinstance(stage, PretrainStage) and stage.lora is not None:
        yield from _unusual_lora_rate(name, stage)
    if isinstance(stage, RLStage):
        yield from _unusual_rl_pairs(name, stage)


def _unusual_lora_rate(name: str, stage: RLStage | SFTStage | RewardModelStage) -> Iterator[str]:
    """Yield a sentence on a learning rate that suits the training of all weights, and hardly moves adapters."""
    rate, least = stage.optimizer.learning_rate, _LORA_RATE[stage.kind]
    if rate < least:
        yield (
            f"stages.{name}.optimizer.learning_rate = {_shown(rate)}: with a lora table that is below {_shown(least)}, a rate "
            "for the training of all weights; adapters begin at 0 and want ten times the rate of full training or more, so "
            f"write {_shown(10 * rate)} or higher, such as {_shown(10 * least)}"
        )


def _unusual_rl_pairs(name: str, stage: RLStage) -> Iterator[str]:
    if stage.algorithm.clip_high == 0 and stage.minibatches > 1:
        yield (
            f"stages.{name}.algorithm.clip_high = 0: after the first of {stage.minibatches} minibatches every sample "
            "whose probability has increased is clipped; write 0.2, or 10 for no bound"
        )
    # GRPO compares the samples of a group, so it needs samples that differ.
    sampling, without_variety = stage.sampling, []
    if sampling.temperature < 0.2:
        without_variety.append(("temperature", sampling.temperature, "1 (the paper)"))
    if sampling.top_k == 1:
        without_variety.append(("top_k", sampling.top_k, "0, for the whole vocabulary"))
    for key, value, advice in without_variety:
        yield (
            f"stages.{name}.sampling.{key} = {_shown(value)}: the samples of a group are nearly identical, and a group "
            f"of equal rewards teaches nothing; write {advice}"
        )


def _optimizer_steps(stage: Stage) -> int | None:
    """Return the optimizer steps of a stage; None if they depend on its data."""
    if isinstance(stage, RLStage):
        return stage.steps
    if isinstance(stage, PretrainStage):
        return stage.tokens // stage.tokens_per_step
    return None


def _sentence(value: float, bounds: Range) -> str:
    low, high = bounds.usual
    side = f"above {_shown(high)}" if value > high else f"below {_shown(low)}"
    return f"that is {side}, and {bounds.effect}; write {bounds.advice}"


def _shown(value: float) -> str:
    if value in (inf, -inf):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
