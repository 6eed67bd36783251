"""What an optimizer step reports about itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UpdateMetrics:
    """One optimizer step in numbers. None means "not measured in this step", which is not zero."""

    step: int
    """Optimizer steps taken so far, this one included."""
    loss: float
    """The minimised objective, KL term included."""
    kl: float | None
    """Mean k3 estimate of KL(policy || reference), nats a token; None without a reference."""
    clip_fraction_low: float | None
    clip_fraction_high: float | None
    """Share of response tokens with the lower or upper bound of the ratio in force."""
    ratio_max: float | None
    """Largest pi / pi_old of any token (of any sequence for GSPO)."""
    entropy: float | None
    """Mean entropy of the policy where response tokens were drawn, nats a token."""
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
