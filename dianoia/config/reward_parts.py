"""Optional parts of a reward: the user's functions, reward models, an LLM grader, shaping rules.

The paper's own rules are in `config.rewards`. None of these parts is in DeepSeek-R1; each is absent unless a recipe names
it.
"""

import re
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from dianoia.config.endpoint_table import EndpointSettings
from dianoia.config.settings import Settings

RULES = (
    "accuracy",
    "format",
    "language",
    "random",
    "overlong",
    "repetition",
    "cosine",
    "tags",
    "judge",
)
"""Names of the built-in parts of a reward. `helpful` and `safety` are those of `preferences`."""  # fmt: skip
# All parts share one namespace, that of the columns of metrics.
_RESERVED = (*RULES, "helpful", "safety")
# Names become columns such as `rewards/NAME/mean`, so they hold no slash and no space.
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
# FILE.py:NAME, and package.module.NAME or package.module:NAME. NAME may be an attribute of a class.
_FILE = re.compile(r".+\.py:[A-Za-z_][\w.]*")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_][\w.]*")


class FunctionSettings(Settings):
    """A reward function with TRL's signature."""

    path: str
    """`FILE.py:NAME`, or a dotted path such as `trl.rewards.think_format_reward`."""
    name: str | None = Field(default=None, pattern=rf"^{_NAME}$")
    """Its name in metrics and reports; absent: what the path ends in."""
    weight: float = 1.0
    """0 measures without rewarding; below 0 it is a penalty."""
    form: Literal["auto", "text", "messages"] = "auto"
    """How prompts and completions are handed over: `text`, `messages`, or `auto`, messages where the problem's
    prompt is messages."""
    arguments: dict[str, Any] | None = None
    """The path names a factory, which is called with these and returns the function."""

    @property
    def title(self) -> str:
        """Its name in metrics and reports."""
        # `my_rewards.py:Length.score` -> `score`; `trl.rewards.think_format_reward` -> `think_format_reward`.
        return self.name or re.split(r"[.:]", self.path)[-1]

    @model_validator(mode="after")
    def _path_names_a_function(self) -> Self:
        if not (_FILE.fullmatch(self.path) or _DOTTED.fullmatch(self.path)):
            raise ValueError(
                f"path = {self.path!r} names no function; write FILE.py:NAME, such as my_rewards.py:reward_length, "
                "or a dotted path, such as my_package.rewards.reward_length"
            )
        return self


class ModelRewardSettings(Settings):
    """A reward model whose score is a part of the reward of problems with a verifier."""

    model: str
    """A sequence classification model with one label: an earlier `reward_model` stage, a folder, or a hub name."""
    name: str = Field(default="model", pattern=rf"^{_NAME}$")
    """Its name in metrics and reports."""
    weight: float = 1.0
    """Of its score, which is added as it is."""


class JudgeRewardSettings(EndpointSettings):
    """A model behind an endpoint that grades answers against the reference answer."""

    weight: float = Field(default=1.0, gt=0)
    """Of its verdict, which is 1 or 0."""
    grades: Literal["reference", "all"] = "reference"
    """`reference`: problems with the verifier `reference`, whose accuracy its verdict is; `all`: the others too,
    where its verdict is a part of its own."""


class RepetitionSettings(Settings):
    """A penalty on repeated n-grams (Yeo et al. 2025, appendix C.2)."""

    weight: float = Field(default=1.0, ge=0)
    """Of a value from -1 to 0."""
    ngram: int = Field(default=3, ge=1)
    """Tokens of an n-gram."""


class CosineSettings(Settings):
    """A reward for right and wrong answers that depends on length (Yeo et al. 2025, appendix C.1)."""

    weight: float = Field(default=1.0, ge=0)
    """Of the values below."""
    # Short right answers get most, and long wrong ones lose least: while a model is wrong it pays to think longer.
    right_short: float = 1.0
    """Of a right answer without any token."""
    right_long: float = 0.5
    """Of a right answer at full length."""
    wrong_short: float = -1.0
    """Of a wrong answer without any token."""
    wrong_long: float = -0.5
    """Of a wrong answer at full length."""
    truncated: float | None = None
    """Of a sample that was cut; absent: as a wrong answer of its length."""
    length: int | None = Field(default=None, ge=1)
    """The full length in response tokens; absent: the limit on response tokens that holds."""


class TagSettings(Settings):
    """A share of the template's tags that stand exactly once in a response."""

    weight: float = Field(default=1.0, ge=0)
    """Of a value from 0 to 1."""


def check_names(names: list[str]) -> None:
    """Raise ValueError for two parts of a reward with one name."""
    for index, name in enumerate(names):
        if name in _RESERVED:
            raise ValueError(
                f"a function or model of the rewards is named {name!r}, as a part of the reward is already; "
                "give it another name"
            )
        if name in names[:index]:
            raise ValueError(
                f"two functions or models of the rewards are named {name!r}, so metrics could keep only one of "
                "them; rename one"
            )
