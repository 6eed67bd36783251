"""The rewards of an `rl` stage: the paper's rules, and the reward models of RL for all scenarios.

In the paper (section 3.2, eq. 8 to 10) the reward of a reasoning problem is accuracy plus format, that of a general
prompt a reward model's score plus format, and both have the language term. It gives neither weights nor mixing ratios;
decisions:
 1. Every weight is 1, and a reward model's score is added without rescaling.
 2. Half of a rollout's problems are general, about as in its data (78,000 of 166,000 prompts), and of those a
    fifth is about safety (there 12,000 of 78,000).
"""

from typing import Self

from pydantic import Field, model_validator

from dianoia.config.data_table import Problems
from dianoia.config.reward_parts import (
    CosineSettings,
    FunctionSettings,
    JudgeRewardSettings,
    ModelRewardSettings,
    RepetitionSettings,
    TagSettings,
    check_names,
)
from dianoia.config.settings import Settings


class RewardSettings(Settings):
    """Weights of the parts of a reward. The paper adds accuracy and format with equal weights (eq. 4)."""

    accuracy: float = Field(default=1.0, ge=0)
    """Weight of the accuracy rule (1 right, 0 wrong, malformed or truncated)."""
    format: float = Field(default=1.0, ge=0)
    """Weight of the format rule (1 finished, 0 malformed or truncated)."""
    language: float = Field(default=0.0, ge=0)
    """Weight of the language rule: share of the thought's words in the problem's language, see choices. 0: off, as
    in R1-Zero; R1's RL stages add it with weight 1 (section 3, eq. 7)."""
    random: float = Field(default=0.0, ge=0)
    """Weight of a fair coin, as a control: what is gained under it was not learnt from the reward."""
    overlong_cache: int = Field(default=0, ge=0)
    """DAPO's soft punishment: from `max_tokens - overlong_cache` to `max_tokens` tokens the reward falls by up to 1.
    0: off. Below `sampling.max_tokens`, and no more than any rung's `max_tokens`."""
    repetition: RepetitionSettings | None = None
    """A penalty on repeated n-grams, see rewards."""
    cosine: CosineSettings | None = None
    """Right and wrong, scaled by length, see rewards."""
    tags: TagSettings | None = None
    """The share of the template's tags that stand exactly once, see rewards."""
    # Lists of tables in TOML: `[[rewards.functions]]`. Each has a weight and a name of its own in metrics.
    functions: list[FunctionSettings] = []
    """Reward functions with TRL's signature, see rewards."""
    models: list[ModelRewardSettings] = []
    """Reward models that score problems with a verifier, see rewards."""
    judge: JudgeRewardSettings | None = None
    """A model behind an OpenAI-compatible endpoint that grades answers, see rewards."""

    @property
    def parts(self) -> dict[str, float]:
        """Weight of each part of the reward by its name; the weight of the overlong rule is 1."""
        shaping = {
            "repetition": self.repetition,
            "cosine": self.cosine,
            "tags": self.tags,
            "judge": self.judge,
        }
        # In the order of metrics and reports. A rule without a table is absent, one with weight 0 is not.
        return {
            "accuracy": self.accuracy,
            "format": self.format,
            "language": self.language,
            "random": self.random,
            "overlong": float(self.overlong_cache > 0),
            **{name: rule.weight for name, rule in shaping.items() if rule is not None},
            **{function.title: function.weight for function in self.functions},
            **{model.name: model.weight for model in self.models},
        }

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        check_names([*(f.title for f in self.functions), *(model.name for model in self.models)])
        return self

    @model_validator(mode="after")
    def _some_weight_is_set(self) -> Self:
        # The overlong rule only takes away, and a weight below 0 counts as set.
        if not any(weight for name, weight in self.parts.items() if name != "overlong"):
            raise ValueError(
                "accuracy, format, language and random are all 0, and no other part has a weight, so every reward would "
                "be 0"
            )
        return self


class PreferenceSettings(Settings):
    """Reward models and the general prompts that they score. Either model may be absent, together with its problems."""

    # Each model comes with its problems: `_check_model_keys` refuses one without the other.
    helpful: str | None = None
    """A reward model that is shown what follows the thought: an earlier `reward_model` stage, a folder, or a hub
    name."""
    problems: Problems | None = None
    """General prompts that it scores: a built-in set or a file, whose rows need no answer."""
    safety: str | None = None
    """A reward model that is shown the whole response."""
    safety_problems: Problems | None = None
    """General prompts that it scores; a prompt in both sets is refused."""
    from_step: int = Field(default=0, ge=0)
    """Optimizer step from which rollouts hold general prompts; it takes effect with the next rollout. The paper:
    1,300 of 1,700 (section 3)."""
    share: float = Field(default=0.5, gt=0, lt=1)
    """Of a rollout's problems, those that are general from then on; rounded, and the same in every minibatch or
    refused."""
    safety_share: float = Field(default=0.2, gt=0, lt=1)
    """Of the general prompts, those of the safety set. Only with both models. The paper's data: 12,000 of 78,000."""
    helpful_weight: float = Field(default=1.0, gt=0)
    """Weight of the helpful model's score in the reward."""
    safety_weight: float = Field(default=1.0, gt=0)
    """Weight of the safety model's score."""

    def general_counts(self, problems: int) -> dict[str, int]:
        """Return how many of a rollout's `problems` are from the helpful and the safety set; 0 for a set without a model."""
        # Rounded here and nowhere else: the plan, the checks and the rollouts must agree.
        count = round(self.share * problems)
        if self.helpful is None or self.safety is None:
            return {"helpful": count if self.helpful else 0, "safety": count if self.safety else 0}
        # The helpful set gets what is left, so that rounding twice cannot change the sum.
        safety = round(self.safety_share * count)
        return {"helpful": count - safety, "safety": safety}

    @model_validator(mode="after")
    def _models_and_their_problems(self) -> Self:
        if self.helpful is None and self.safety is None:
            raise ValueError(
                "preferences names no reward model, so nothing would score its general prompts; set helpful "
                "and problems, or safety and safety_problems, or remove the table"
            )
        for model, key in (("helpful", "problems"), ("safety", "safety_problems")):
            self._check_model_keys(model, key)
        if self.problems is not None and self.problems == self.safety_problems:
            raise ValueError(
                f"problems and safety_problems are both {self.problems!r}, and each general prompt belongs to "
                "exactly one set; name a set of harmless prompts and one of prompts about safety"
            )
        return self

    def _check_model_keys(self, model: str, problems_key: str) -> None:
        """Refuse a reward model without its problems, problems without their model, and keys that only they read."""
        name, problems = getattr(self, model), getattr(self, problems_key)
        if (name is None) != (problems is None):
            present, value, missing = (
                (model, name, problems_key) if problems is None else (problems_key, problems, model)
            )
            raise ValueError(
                f"{present} = {value!r} and no {missing}: a reward model and its general prompts come together; "
                f"set {missing}, or remove {present}"
            )
        # safety_share divides general problems between two models, so one model alone does not read it.
        for key in (f"{model}_weight", "safety_share") if name is None else ():
            value = getattr(self, key)
            if value != type(self).model_fields[key].default:
                raise ValueError(
                    f"{key} = {value:g} and no {model} model, so nothing would read it; remove {key}, or "
                    f"set {model} and {problems_key}"
                )
