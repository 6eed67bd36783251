"""The metrics of one optimizer step of reinforcement learning."""

from dataclasses import dataclass

from dianoia.algo.loss import LossSums


@dataclass(frozen=True, slots=True)
class ValueMetrics:
    """A value model's part of an optimizer step, over the response tokens in its denominator."""

    loss: float
    """Mean of 1/2 (value - return)^2, clipped where that is asked for."""
    grad_norm: float
    """Euclidean norm of the value model's gradient before clipping."""
    clip_fraction: float
    """Share of tokens whose value is at its bound."""
    explained_variance: float | None
    """1 - Var(return - value) / Var(return), values of before the rollout's first update; None where all
    returns are the same."""
    values_mean: float | None
    """Mean of the same values; like the two below None where no sample counts."""
    advantages_mean: float | None
    advantages_std: float | None
    """Before whitening; population standard deviation."""


@dataclass(frozen=True, slots=True)
class UpdateMetrics:
    """One optimizer step in numbers. None means "not measured in this step", which is not zero."""

    step: int
    """Optimizer steps taken so far, this one included."""
    loss: float
    """The minimised objective, KL term included."""
    kl: float | None
    """Mean k3 estimate of KL(policy || reference), nats per token; None without a reference."""
    clip_fraction_low: float | None
    clip_fraction_high: float | None
    """Share of response tokens with the lower or upper bound of the ratio in force."""
    ratio_max: float | None
    """Largest pi / pi_old of any token (of any sequence for GSPO)."""
    entropy: float | None
    """Mean entropy of the policy where response tokens were drawn, nats per token."""
    grad_norm: float
    """Euclidean norm of the gradient before clipping."""
    learning_rate: float
    samples: int
    """Samples in the denominator."""
    samples_skipped: int
    """Of these, samples without any gradient (advantage 0, no KL term) that were not run through
    the model; kl, clip fractions, ratio_max and entropy are over the others."""
    tokens: int
    """Response tokens of the samples in the denominator."""
    padding_share: float
    """Share of the positions that went through the model that were padding."""
    gap_mean: float | None
    gap_max: float | None
    """Mean and largest |learner - sampler| log-probability of a token, at the weights that drew the
    rollout: only on the first update after `prepare`."""
    value: ValueMetrics | None = None
    """None without a value model."""


def token_means(sums: LossSums | None, *, with_kl: bool, with_gap: bool) -> dict[str, float | None]:
    """Return the metrics that are means over the tokens that went through the model; None where none did."""
    if sums is None:
        # All names stay, so that every row has the same columns.
        names = "kl clip_fraction_low clip_fraction_high ratio_max entropy gap_mean gap_max"
        return dict.fromkeys(names.split())
    # The tokens that ran, and not those of the denominator: skipped samples have no ratio and no KL.
    tokens = float(sums.tokens)
    return {
        "kl": float(sums.kl) / tokens if with_kl else None,
        "clip_fraction_low": float(sums.clipped_low) / tokens,
        "clip_fraction_high": float(sums.clipped_high) / tokens,
        "ratio_max": float(sums.ratio_max),
        "entropy": float(sums.entropy) / tokens,
        "gap_mean": float(sums.gap) / tokens if with_gap else None,
        "gap_max": float(sums.gap_max) if with_gap else None,
    }
