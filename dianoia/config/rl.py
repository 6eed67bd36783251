"""The `rl` stage: group relative policy optimization (DeepSeek-R1 section 2.1, DeepSeekMath section 4), and PPO as a
baseline (DeepSeek-R1 A.3).

Decisions where the paper is silent or contradicts itself:
 1. Clipping for R1-Zero is not stated; the first RL stage of R1 uses 10. The default here is 10 too.
 2. "Randomly split into 16 minibatches" and "32 unique questions per step" exclude one another; `split`
    offers both and defaults to whole groups, which gives the 32 questions per step of the text.
 3. The standard deviation is the population's, with `std_epsilon` in the denominator.
 4. The format reward is 0 or 1 and checks all four tags, the answer's too.
 5. A step is one optimizer update, as in the paper's figure 1, not one rollout.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from dianoia.config.data_table import Problems
from dianoia.config.lora_table import LoRASettings
from dianoia.config.optimizer import OptimizerSettings
from dianoia.config.rewards import PreferenceSettings, RewardSettings
from dianoia.config.rollouts_table import RolloutSettings
from dianoia.config.sampling import SamplingSettings, refuse_identical_samples
from dianoia.config.settings import Settings, Shard

# Keys that only PPO reads, and keys that only algorithms with groups read; set under the other kind they are refused.
_PPO_KEYS = (
    "gae_lambda",
    "gamma",
    "whiten_advantages",
    "value_learning_rate",
    "value_clip",
    "kl_in",
)
_GROUP_KEYS = ("std_epsilon", "dynamic_sampling", "dynamic_rounds")


class AlgorithmSettings(Settings):
    """The objective. `name` selects loss and aggregation; the other keys vary it."""

    name: Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "ppo"] = "grpo"
    """`grpo`, `dr_grpo`, `dapo`, `gspo`, `cispo` or `ppo`: objective, aggregation and, for `dr_grpo` and `ppo`, the
    advantage; see recipes."""
    # The defaults are the first RL stage of R1 (decision 1). With 1 - 10 below 0, the lower bound never acts.
    clip_low: float = Field(default=10.0, ge=0)
    """The ratio's lower bound is 1 - `clip_low`. 10 means none."""
    clip_high: float = Field(default=10.0, ge=0)
    """The ratio's upper bound is 1 + `clip_high`."""
    std_epsilon: float = Field(default=1e-6, gt=0)
    """Added to the group's standard deviation. Not with `ppo`."""
    kl_coefficient: float = Field(default=0.001, ge=0)
    """β: weight of the divergence from the reference. 0 keeps no reference model. The paper: 0.001 (section 2)."""
    kl_in: Literal["loss", "reward"] = "loss"
    """Where it stands. `loss`: k3, a term of the loss (eq. 2). `reward`: only with `ppo`, -β (log π_old - log π_ref)
    at every token (A.3)."""
    reference_every: int = Field(default=400, ge=1)
    """Optimizer steps after which the reference becomes a copy of the policy. The paper: 400 (section 2)."""
    kl_estimator: Literal["k3", "k3_corrected"] = "k3"
    """`k3`, the paper's, or `k3_corrected` (DeepSeek-V3.2), whose gradient is that of the reverse divergence; of the
    term in the loss."""
    importance_cap: float | None = Field(default=None, gt=0)
    """Cap of truncated importance sampling between sampler and learner (2 or 3 is usual); without it the sampler's
    numbers are trusted."""
    mask_truncated: bool = False
    """Leave truncated samples out of the loss, numerator and denominator."""
    dynamic_sampling: bool = False
    """Draw further problems in place of groups whose rewards are all equal (DAPO). Not with `ppo`, which learns from
    those too."""
    dynamic_rounds: int = Field(default=4, ge=1)
    """At most so many further draws of `problems_per_rollout` problems per rollout. Not with `ppo`."""
    # From here on keys of PPO; a new one has to be added to `_PPO_KEYS`, or it is silently ignored by the others.
    gae_lambda: float = Field(default=1.0, ge=0, le=1)
    """Only with `ppo`: λ of generalized advantage estimation, 0 to 1. 1 is the Monte Carlo return minus the value.
    The paper compares 1 and 0.95 (A.3)."""
    gamma: float = Field(default=1.0, ge=0, le=1)
    """Only with `ppo`: discount per token, 0 to 1."""
    whiten_advantages: bool = True
    """Only with `ppo`: the token advantages of a rollout get mean 0 and standard deviation 1."""
    value_learning_rate: float | None = Field(default=None, gt=0)
    """Only with `ppo`: the value model's peak rate, under the policy's schedule; absent: `optimizer.learning_rate`."""
    value_clip: float | None = Field(default=None, gt=0)
    """Only with `ppo`: a token whose value has moved so far towards its return since the rollout was drawn gets no
    more gradient. Never acts with `minibatches = 1`."""

    @model_validator(mode="after")
    def _every_key_is_read(self) -> Self:
        ppo = self.name == "ppo"
        for key in _GROUP_KEYS if ppo else _PPO_KEYS:
            value = getattr(self, key)
            # Compared with the default: a key that is written with its default changes nothing and may stay.
            if value != type(self).model_fields[key].default:
                raise ValueError(_unread_key(key, value, self.name))
        if self.kl_in == "reward" and self.kl_estimator != "k3":
            raise ValueError(
                f'kl_estimator = "{self.kl_estimator}" is for the term in the loss, and kl_in = "reward" has '
                "none (its penalty is log pi_old - log pi_ref); remove one of the two"
            )
        return self


class ProgressSettings(Settings):
    """The held-out curve while the stage runs, and which rollouts are kept to read."""

    every: int = Field(default=10, ge=1)
    """Optimizer steps between two points of the held-out curve; the start and the last step have one too."""
    problems: int = Field(default=64, ge=0)
    """Held-out problems a point; 0 draws no curve."""
    samples: int = Field(default=4, ge=1)
    """Samples a held-out problem (k); 1 where they could not differ, as on evaluate.md."""
    # As in an evaluate stage, so that the curve can be compared with the final evaluation.
    temperature: float = Field(default=0.6, ge=0)
    """Of the curve's samples. The paper's evaluation: 0.6 (D.1)."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Of the curve's samples. The paper's evaluation: 0.95 (D.1)."""
    rollouts_every: int = Field(default=10, ge=1)
    """Every so many rollouts one is kept as a Parquet file, the first included."""

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if (
            self.problems
        ):  # without held-out problems there is no curve, and its settings do not matter
            loss = f"cons@{self.samples} would be pass@1 under another name"
            refuse_identical_samples("samples", self.samples, self, "", loss)
        return self


class RLStage(Settings):
    """Reinforcement learning from a start checkpoint on problems with verifiers."""

    kind: Literal["rl"]
    """Which stage this table is."""
    start: str
    """Where training starts: an earlier stage of the recipe, a shipped model (`miniature-base`), a folder, or a hub
    name."""
    problems: Problems
    """A built-in set (those of the miniature: `miniature/math`, `miniature/code`, `miniature/stem`,
    `miniature/logic`, `miniature/reasoning`, `miniature/general`, `miniature/near-miss`, `miniature/unsafe`,
    `miniature/helpful`, `miniature/safety`, `miniature/all`), a task of reasoning-gym such as `gym/chain_sum`, or
    a file, a folder, a hub name or a `[data]` table, see data. Problems with the verifier `reference`, which no
    rule can grade, need a `rewards.judge`."""
    template: str | None = None
    """The prompt around a question, see recipes. Absent: the template that `start` was trained under, as its
    checkpoint says; `r1-zero` for a base model."""
    steps: int = Field(ge=1)
    """Optimizer steps; a multiple of `minibatches`. R1-Zero: 10,400 (section 2)."""
    group_size: int = Field(default=16, ge=1)
    """Samples per problem (G), 2 or more; with `ppo`, whose baseline is no group, 1 or more. The paper: 16 (section
    2)."""
    problems_per_rollout: int = Field(default=32, ge=1)
    """Problems sampled before the policy is updated. R1-Zero: 512, which is 8,192 outputs (section 2)."""
    minibatches: int = Field(default=1, ge=1)
    """Optimizer steps per rollout is split into, each sample used once. R1-Zero: 16 (section 2)."""
    split: Literal["group", "sample"] = "group"
    """`group`: a minibatch holds whole groups; `sample`: any samples, shuffled. Divides evenly or is refused."""
    tokens_per_micro_batch: int = Field(default=16384, ge=64)
    """Positions, padding included, in one forward pass: memory and speed, never the result. On a CPU, where prompts
    are shared, at most `CPU_TOKENS` of learner.py."""
    autocast: Literal["none", "bfloat16", "auto"] = "none"
    """`bfloat16` runs the model's matrix products in bfloat16; weights, logits and log-softmax stay float32. `auto`: where the
    device has instructions for it, so that machines with and without them give different results."""
    recompute: bool = False
    """Keep only the input of each layer for the backward pass and compute the rest again there: a third more work, a
    fraction of the memory, the same result."""
    shard: Shard = "auto"
    """Which ranks hold one copy of model, gradients and optimizer together: `none`, the ranks of a `node`, or `all`; `auto`:
    the first of these with which the stage fits into the memory of a device. Changes memory and speed, and results by
    rounding alone; nothing in a process by itself, see scale."""
    # Rollouts, not steps: a state within a rollout would have to hold the rollout's samples.
    checkpoint_every: int = Field(default=10, ge=1)
    """Rollouts between two states to resume from."""
    sampling: SamplingSettings
    rewards: RewardSettings = RewardSettings()
    preferences: PreferenceSettings | None = None
    """Reward models beside the rules, see below. Absent: rules alone."""
    algorithm: AlgorithmSettings = AlgorithmSettings()
    optimizer: OptimizerSettings
    lora: LoRASettings | None = None
    """Train low-rank adapters on frozen weights, see lora. Absent: all weights are trained."""
    rollouts: RolloutSettings = RolloutSettings()
    """Who draws the rollouts, see served-rollouts. Absent: this process, with the newest weights."""
    progress: ProgressSettings = ProgressSettings()

    @property
    def rollout_size(self) -> int:
        """Samples per rollout."""
        return self.problems_per_rollout * self.group_size

    def problem_counts(self, step: int) -> dict[str, int]:
        """Return the number of problems per set (`reasoning`, `helpful`, `safety`) in a rollout that begins at a step."""
        total, preferences = self.problems_per_rollout, self.preferences
        if preferences is None or step < preferences.from_step:
            return {"reasoning": total}
        general = preferences.general_counts(total)
        # A set without problems has no entry, so that nothing is sampled for it.
        # The order of the sets is that in which problems are drawn.
        sets = {"reasoning": total - sum(general.values()), **general}
        return {name: count for name, count in sets.items() if count}

    @property
    def rollout_count(self) -> int:
        """Number of rollouts until all optimizer steps are done."""
        return -(-self.steps // self.minibatches)  # rounded up

    @model_validator(mode="after")
    def _group_has_a_baseline(self) -> Self:
        # PPO has a value model as baseline.
        if self.group_size < 2 and self.algorithm.name != "ppo":
            raise ValueError(
                f"group_size = {self.group_size}: advantages are relative to the group, so a group "
                "of one has none and nothing can be learnt; use 2 or more (the paper: 16)"
            )
        return self

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        # 0 is refused also for one sample per problem, since the learner divides logits by the temperature.
        if not self.sampling.temperature:
            raise ValueError(
                "sampling.temperature = 0: the likeliest token is always drawn, so there is no exploration, and the "
                "log-probabilities, which are divided by the temperature, have no meaning; use 1 (the paper), or "
                "another value above 0"
            )
        loss = "every group would have one reward, no advantage, and nothing to learn"
        refuse_identical_samples("group_size", self.group_size, self.sampling, "sampling.", loss)
        return self

    @model_validator(mode="after")
    def _minibatches_divide(self) -> Self:
        # Whole groups, or any samples, are dealt to the minibatches in equal numbers.
        by_group = self.split == "group"
        key = "problems_per_rollout" if by_group else "problems_per_rollout x group_size"
        size = self.problems_per_rollout if by_group else self.rollout_size
        if size % self.minibatches:
            raise ValueError(
                f"{key} = {size} does not divide into minibatches = {self.minibatches}; "
                f"minibatches of unequal size would weigh samples unequally; "
                f"use one of {_divisors(size)}"
            )
        return self

    @model_validator(mode="after")
    def _steps_fill_rollouts(self) -> Self:
        if self.steps % self.minibatches:
            raise ValueError(
                f"steps = {self.steps} is not a multiple of minibatches = {self.minibatches}, so the "
                f"last rollout would be thrown away in part; use {self.rollout_count * self.minibatches}"
            )
        return self

    @model_validator(mode="after")
    def _sampler_may_differ_from_learner(self) -> Self:
        """Refuse servers and old weights without a correction, and log-probabilities that it could not use."""
        rollouts, cap = self.rollouts, self.algorithm.importance_cap
        cause = (
            'rollouts.engine = "vllm": a server computes log-probabilities with other kernels than the learner'
            if rollouts.served
            else f"rollouts.staleness = {rollouts.staleness}: rollouts are drawn with older weights than the learner's"
        )
        if cap is None and (rollouts.served or rollouts.staleness):
            raise ValueError(
                f"{cause}, so the difference has to be corrected; set algorithm.importance_cap (2 is usual)"
            )
        sampling = self.sampling
        if rollouts.served and (sampling.top_p < 1 or sampling.top_k):
            value = (
                f"top_p = {sampling.top_p:g}" if sampling.top_p < 1 else f"top_k = {sampling.top_k}"
            )
            raise ValueError(
                f'sampling.{value} with rollouts.engine = "vllm": a server gives log-probabilities over the tokens that are '
                "kept, and the learner's are over all of them, so that every importance weight would be wrong; leave top_p at "
                "1 and top_k at 0 (the paper), or draw with the native engine"
            )
        return self

    @model_validator(mode="after")
    def _preferences_take_effect(self) -> Self:
        preferences = self.preferences
        last = self.steps - self.minibatches  # the step at which the last rollout begins
        if preferences is not None and preferences.from_step > last:
            raise ValueError(
                f"preferences.from_step = {preferences.from_step}: with steps = {self.steps} and minibatches = "
                f"{self.minibatches} the last rollout begins at step {last}, so that no general prompt would "
                f"ever be drawn; lower from_step to {last} or less (the paper: the last 400 of 1,700)"
            )
        return self

    @model_validator(mode="after")
    def _minibatches_have_equal_shares(self) -> Self:
        """Refuse minibatches with different shares of general problems, and a set of which no problem is drawn."""
        if self.preferences is None:
            return self
        total = self.problems_per_rollout
        general = self.preferences.general_counts(total)
        count = sum(general.values())
        share = f"preferences.share = {self.preferences.share:g} of problems_per_rollout = {total} is {count} general"
        # What is split over minibatches: groups, one per problem, or samples, group_size per problem.
        unit = 1 if self.split == "group" else self.group_size
        if not 0 < count < total or count * unit % self.minibatches:
            # Advice: every number of general problems that does split evenly, as shares.
            possible = [n for n in range(1, total) if n * unit % self.minibatches == 0]
            shares = ", ".join(f"{n / total:g}" for n in _sample_of_five(possible))
            raise ValueError(
                f"{share} and {total - count} other problems, which cannot be split into equal numbers, and at least "
                f"one of each, over minibatches = {self.minibatches}; "
                + (f"use a share such as {shares}" if possible else "raise problems_per_rollout")
            )
        has_two_models = self.preferences.helpful and self.preferences.safety
        if has_two_models and not all(general.values()):
            raise ValueError(
                f"{share} problems, and preferences.safety_share = {self.preferences.safety_share:g} of them leaves "
                f"{general['helpful']} for the helpful and {general['safety']} for the safety model; change "
                "safety_share, or raise share or problems_per_rollout"
            )
        return self

    @model_validator(mode="after")
    def _overlong_fits(self) -> Self:
        # The punishment begins at max_tokens - overlong_cache, on every rung of the schedule.
        limits = [self.sampling.max_tokens, *(rung.max_tokens for rung in self.sampling.longer)]
        if self.rewards.overlong_cache >= min(limits):
            raise ValueError(
                f"rewards.overlong_cache = {self.rewards.overlong_cache} is not below the limit on "
                f"response tokens ({min(limits)}), so every sample would be punished"
            )
        return self


def _unread_key(key: str, value: object, name: str) -> str:
    """Return the message for a key that the algorithm `name` does not read."""
    shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
    feature, advice = (
        ("advantages relative to the group", "an algorithm such as grpo")
        if name == "ppo"
        else ("a value model", 'name = "ppo"')
    )
    return (
        f'{key} = {shown} belongs to {feature}, and name = "{name}" has none, so nothing would read '
        f"it; remove {key}, or choose {advice}"
    )


def _sample_of_five(numbers: list[int]) -> list[int]:
    """Return at most five of the numbers, evenly spread."""
    # The step is the length divided by 5, rounded up.
    return numbers[:: max(1, -(-len(numbers) // 5))]


def _divisors(number: int) -> list[int]:
    """Return the divisors of a number up to 64."""
    # More than 64 minibatches are no sensible advice.
    return [n for n in range(1, min(number, 64) + 1) if number % n == 0]
