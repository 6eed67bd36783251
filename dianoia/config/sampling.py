"""How tokens are drawn: the `sampling` table, and checks that stages with samples share."""

from typing import Literal, Protocol, Self

from pydantic import Field, model_validator

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
    cache_share: float = Field(default=0.8, gt=0, le=1)
    """On a GPU: share of the free memory that the KV cache may take. A response takes pages of it as it grows; when there are
    none, the newest waits and goes on later. Responses do not depend on it, only time does."""
    # float32 is the default, since the learner's weights are float32: rounding the sampler's would make the samples
    # off-policy by a little.
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the sampler's weights and cache: `bfloat16` halves them. Its head over the vocabulary, logits and
    log-probabilities stay float32."""

    def max_tokens_at(self, step: int) -> int:
        """Return the limit on response tokens at an optimizer step."""
        # The rungs rise (checked below), so the last one that is reached holds.
        reached = [rung for rung in self.longer if rung.from_step <= step]
        return reached[-1].max_tokens if reached else self.max_tokens

    @property
    def largest_max_tokens(self) -> int:
        """The largest limit of the schedule."""
        # Memory and positions are planned for this one, not for the first rung.
        return max([self.max_tokens, *(rung.max_tokens for rung in self.longer)])

    @model_validator(mode="after")
    def _rungs_rise(self) -> Self:
        steps = [rung.from_step for rung in self.longer]
        if steps != sorted(set(steps)):
            raise ValueError(f"longer: from_step values {steps} have to rise")
        return self


# Checks ------------------------------------------------------------------------------------------

_MIN_TEMPERATURE = 0.01
"""At lower temperatures the likeliest token is drawn nearly always: one whose logit is 0.1 lower is e^10 times rarer."""
_MIN_TOP_P = 0.05
"""At a top_p up to this, only the likeliest token is left wherever its probability is 5 % or more."""


class _TokenSettings(Protocol):
    """Settings that say how tokens are drawn."""

    @property
    def temperature(self) -> float:
        """Sampling temperature; 0 is greedy."""
        ...

    @property
    def top_p(self) -> float:
        """Nucleus probability, up to 1."""
        ...


def refuse_identical_samples(
    key: str, count: int, settings: _TokenSettings, prefix: str, loss: str
) -> None:
    """Raise ValueError if `count` samples of a problem would be identical.

    They would cost `count` times as much as one and say no more.

    Args:
        key: the key that sets `count`, such as `group_size`.
        prefix: what stands before the keys of `settings` in a recipe, such as `sampling.`.
        loss: a clause on what would be lost.
    """
    cause = _deterministic_setting(settings, prefix)
    # A single sample is fine: greedy evaluation is.
    if count > 1 and cause is not None:
        raise ValueError(
            f"{key} = {count} with {cause}: the {count} samples of a problem would be the same text, so that {loss}; "
            f"raise {prefix}temperature (the paper: 0.6 to evaluate, 1 to train) and leave top_p and top_k wide"
            # A group of one has no advantage, so one sample is no advice there.
            + ("" if key == "group_size" else f", or set {key} = 1")
        )


def _deterministic_setting(settings: _TokenSettings, prefix: str) -> str | None:
    """Return the setting that leaves a single token to draw, e.g. `sampling.top_k = 1`; None if there is none."""
    if settings.temperature < _MIN_TEMPERATURE:
        return f"{prefix}temperature = {settings.temperature:g}"
    # Not every table with a temperature has a top_k.
    if getattr(settings, "top_k", 0) == 1:
        return f"{prefix}top_k = 1"
    return f"{prefix}top_p = {settings.top_p:g}" if settings.top_p <= _MIN_TOP_P else None


def check_range_sampling(
    sampling: SamplingSettings, samples: int, stage_kind: str, loss: str
) -> None:
    """Check the sampling of a stage that draws `samples` per problem of a range, and takes no optimizer step.

    Raises ValueError for a schedule over optimizer steps, and as `refuse_identical_samples`.
    """
    if sampling.longer:
        raise ValueError(
            f"sampling.longer is a schedule over optimizer steps, and a {stage_kind} stage takes none; "
            "set sampling.max_tokens"
        )
    refuse_identical_samples("samples", samples, sampling, "sampling.", loss)
