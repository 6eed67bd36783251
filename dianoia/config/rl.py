"""The `rl` stage: group relative policy optimization (DeepSeek-R1 section 2.1, DeepSeekMath section 4), and
PPO beside it as a baseline (DeepSeek-R1 A.3).

Where the paper is silent (or contradicts itself) these are the decisions:
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
from dianoia.config.draw_checks import refuse_alike
from dianoia.config.optimizer import OptimizerSettings
from dianoia.config.rewards import PreferenceSettings, RewardSettings
from dianoia.config.settings import Settings


class LengthStep(Settings):
    """One rung of the maximum-length schedule."""

    from_step: int = Field(ge=0)
    """Optimizer step from which the rung holds; it takes effect with the next rollout."""
    max_tokens: int = Field(ge=1)
    """The limit on this rung."""


class SamplingSettings(Settings):
    """How rollouts are drawn."""

    max_tokens: int = Field(ge=1)
    """Limit on response tokens per sample, the end token included. R1-Zero: 32,768 (section 2)."""
    longer: list[LengthStep] = []
    """The maximum-length schedule of an `rl` stage: rungs with rising `from_step`. R1-Zero: `[{ from_step = 8200,
    max_tokens = 65536 }]` (section 2). Must stay empty in other stages."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature; the learner's log-probabilities use it too. Samples of one problem have to be able to
    differ: below 0.01, as with `top_k` = 1 or `top_p` up to 0.05, several samples per problem are refused. The
    paper: 1 (section 2), in the last stage of R1 0.7 (section 3)."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus; 1 keeps everything. Below 1 the recorded log-probabilities are still those before the cut."""
    top_k: int = Field(default=0, ge=0)
    """Most likely tokens kept; 0 keeps the whole vocabulary."""
    slots: int = Field(default=256, ge=1)
    """Responses decoded at the same time, at most: memory and speed."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the sampler's weights and cache: `bfloat16` halves them. Its head over the vocabulary, logits and
    log-probabilities stay float32."""

    def max_tokens_at(self, step: int) -> int:
        """The limit that holds at an optimizer step."""
        reached = [rung for rung in self.longer if rung.from_step <= step]
        return reached[-1].max_tokens if reached else self.max_tokens

    @property
    def most_tokens(self) -> int:
        """The largest limit of the schedule."""
        return max([self.max_tokens, *(rung.max_tokens for rung in self.longer)])

    @model_validator(mode="after")
    def _rungs_rise(self) -> Self:
        steps = [rung.from_step for rung in self.longer]
        if steps != sorted(set(steps)):
            raise ValueError(f"longer: from_step values {steps} have to rise")
        return self


_PPO_ALONE = (
    "gae_lambda",
    "gamma",
    "whiten_advantages",
    "value_learning_rate",
    "value_clip",
    "kl_in",
)
_GROUPS_ALONE = ("std_epsilon", "dynamic_sampling", "dynamic_rounds")


class AlgorithmSettings(Settings):
    """The objective. `name` picks loss and aggregation; every other key varies it."""

    name: Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "ppo"] = "grpo"
    """`grpo`, `dr_grpo`, `dapo`, `gspo`, `cispo` or `ppo`: objective, aggregation and, for `dr_grpo` and `ppo`, the
    advantage; see recipes."""
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
    def _every_key_has_a_reader(self) -> Self:
        ppo = self.name == "ppo"
        for key in _GROUPS_ALONE if ppo else _PPO_ALONE:
            value = getattr(self, key)
            if value != type(self).model_fields[key].default:
                raise ValueError(_unread(key, value, self.name))
        if self.kl_in == "reward" and self.kl_estimator != "k3":
            raise ValueError(
                f'kl_estimator = "{self.kl_estimator}" is for the term in the loss, and kl_in = "reward" has '
                "none (its penalty is log pi_old - log pi_ref); remove one of the two"
            )
        return self


class ProgressSettings(Settings):
    """The held-out curve that is drawn while the stage runs, and what is kept to read."""

    every: int = Field(default=10, ge=1)
    """Optimizer steps between two points of the held-out curve; the start and the last step have one too."""
    problems: int = Field(default=64, ge=0)
    """Held-out problems a point; 0 draws no curve."""
    samples: int = Field(default=4, ge=1)
    """Samples a held-out problem (k); 1 where they could not differ, as on evaluate.md."""
    temperature: float = Field(default=0.6, ge=0)
    """Of the curve's samples. The paper's evaluation: 0.6 (D.1)."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Of the curve's samples. The paper's evaluation: 0.95 (D.1)."""
    rollouts_every: int = Field(default=10, ge=1)
    """Every so many rollouts one is kept as a Parquet file, the first included."""

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.problems:
            use = f"cons@{self.samples} would be pass@1 under another name"
            refuse_alike("samples", self.samples, self, "", use)
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
    template: str = "r1-zero"
    """The prompt around a question: `r1-zero`, `r1-zero-prefilled` or `plain`, see recipes."""
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
    autocast: Literal["none", "bfloat16"] = "none"
    """`bfloat16` runs the model's matrix products in bfloat16; weights, logits and log-softmax stay float32."""
    recompute: bool = False
    """Keep only the input of each layer for the backward pass and compute the rest again there: a third more work, a
    fraction of the memory, the same result."""
    checkpoint_every: int = Field(default=10, ge=1)
    """Rollouts between two states to resume from."""
    sampling: SamplingSettings
    rewards: RewardSettings = RewardSettings()
    preferences: PreferenceSettings | None = None
    """Reward models beside the rules, see below. Absent: rules alone."""
    algorithm: AlgorithmSettings = AlgorithmSettings()
    optimizer: OptimizerSettings
    progress: ProgressSettings = ProgressSettings()

    @property
    def rollout_size(self) -> int:
        """Samples per rollout."""
        return self.problems_per_rollout * self.group_size

    def counts(self, step: int) -> dict[str, int]:
        """Problems of a rollout that begins at an optimizer step, by set: `reasoning`, and general ones."""
        whole, preferences = self.problems_per_rollout, self.preferences
        if preferences is None or step < preferences.from_step:
            return {"reasoning": whole}
        general = preferences.general(whole)
        sets = {"reasoning": whole - sum(general.values()), **general}
        return {name: count for name, count in sets.items() if count}

    @property
    def rollouts(self) -> int:
        """Rollouts until all optimizer steps are done."""
        return -(-self.steps // self.minibatches)

    @model_validator(mode="after")
    def _group_has_a_baseline(self) -> Self:
        if self.group_size < 2 and self.algorithm.name != "ppo":
            raise ValueError(
                f"group_size = {self.group_size}: advantages are relative to the group, so a group "
                "of one has none and nothing can be learnt; use 2 or more (the paper: 16)"
            )
        return self

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if not self.sampling.temperature:
            raise ValueError(
                "sampling.temperature = 0: the likeliest token is drawn always, so that nothing is tried out and the "
                "log-probabilities, which are divided by the temperature, have no meaning; use 1 (the paper), or "
                "something above 0"
            )
        use = "every group would have one reward, no advantage, and nothing to learn"
        refuse_alike("group_size", self.group_size, self.sampling, "sampling.", use)
        return self

    @model_validator(mode="after")
    def _minibatches_divide(self) -> Self:
        whole = self.problems_per_rollout if self.split == "group" else self.rollout_size
        what = (
            "problems_per_rollout" if self.split == "group" else "problems_per_rollout x group_size"
        )
        if whole % self.minibatches:
            raise ValueError(
                f"{what} = {whole} does not divide into minibatches = {self.minibatches}; "
                f"minibatches of unequal size would weigh samples unequally; "
                f"use one of {_divisors(whole)}"
            )
        return self

    @model_validator(mode="after")
    def _steps_fill_rollouts(self) -> Self:
        if self.steps % self.minibatches:
            raise ValueError(
                f"steps = {self.steps} is not a multiple of minibatches = {self.minibatches}, so the "
                f"last rollout would be thrown away in part; use {self.rollouts * self.minibatches}"
            )
        return self

    @model_validator(mode="after")
    def _preferences_come_into_play(self) -> Self:
        chosen = self.preferences
        last = self.steps - self.minibatches
        if chosen is not None and chosen.from_step > last:
            raise ValueError(
                f"preferences.from_step = {chosen.from_step}: with steps = {self.steps} and minibatches = "
                f"{self.minibatches} the last rollout begins at step {last}, so that no general prompt would "
                f"ever be drawn; lower from_step to {last} or less (the paper: the last 400 of 1,700)"
            )
        return self

    @model_validator(mode="after")
    def _minibatches_mix(self) -> Self:
        """Every minibatch has the same share of general problems, and of every set at least one is drawn."""
        if self.preferences is None:
            return self
        whole, general = (
            self.problems_per_rollout,
            self.preferences.general(self.problems_per_rollout),
        )
        count = sum(general.values())
        of = f"preferences.share = {self.preferences.share:g} of problems_per_rollout = {whole} is {count} general"
        unit = 1 if self.split == "group" else self.group_size
        if not 0 < count < whole or count * unit % self.minibatches:
            right = [n for n in range(1, whole) if n * unit % self.minibatches == 0]
            shares = ", ".join(f"{n / whole:g}" for n in _few(right))
            raise ValueError(
                f"{of} and {whole - count} other problems, which cannot be dealt in equal numbers, and at least "
                f"one of each, to minibatches = {self.minibatches}; "
                + (f"use a share such as {shares}" if right else "raise problems_per_rollout")
            )
        both = self.preferences.helpful and self.preferences.safety
        if both and not all(general.values()):
            raise ValueError(
                f"{of} problems, and preferences.safety_share = {self.preferences.safety_share:g} of them leaves "
                f"{general['helpful']} for the helpful and {general['safety']} for the safety model; change "
                "safety_share, or raise share or problems_per_rollout"
            )
        return self

    @model_validator(mode="after")
    def _overlong_fits(self) -> Self:
        limits = [self.sampling.max_tokens, *(rung.max_tokens for rung in self.sampling.longer)]
        if self.rewards.overlong_cache >= min(limits):
            raise ValueError(
                f"rewards.overlong_cache = {self.rewards.overlong_cache} is not below the limit on "
                f"response tokens ({min(limits)}), so every sample would be punished"
            )
        return self


def _unread(key: str, value: object, name: str) -> str:
    shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
    what, instead = (
        ("advantages relative to the group", "an algorithm such as grpo")
        if name == "ppo"
        else ("a value model", 'name = "ppo"')
    )
    return (
        f'{key} = {shown} belongs to {what}, and name = "{name}" has none, so nothing would read '
        f"it; remove {key}, or choose {instead}"
    )


def _few(numbers: list[int]) -> list[int]:
    """At most five, spread over all of them."""
    return numbers[:: max(1, -(-len(numbers) // 5))]


def _divisors(whole: int) -> list[int]:
    return [n for n in range(1, min(whole, 64) + 1) if whole % n == 0]
