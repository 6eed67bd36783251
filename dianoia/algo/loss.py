"""Policy-gradient losses on tensors that are handed in. Lower is better: they are minimised.

Inputs, for one micro-batch: `logprobs_BT` of the response tokens under the policy being trained
(with gradient), `old_BT` under the policy that counts as pi_old, `ref_BT` under the reference or
None, advantages (`_B`, one per sample, or `_BT`, one per token), and the boolean `mask_BT` of real
response tokens. Output: the NUMERATOR of the step's loss, and sums for the metrics. The caller
divides by one denominator for the whole optimizer step, so that no split into micro-batches changes
the step.

An algorithm is three parts: a per-token objective (`LOSSES`), a way to add tokens up
(`AGGREGATIONS`), and, when a reference is given, a KL term (`KL_ESTIMATORS`) that is added per
token and added up in the same way. Masked positions may hold anything, NaN included: values are
replaced before any arithmetic, so they reach neither the loss nor the gradient.

Departures from the DeepSeek-R1 paper, and choices where it is silent:

1. Eq. 1 is written per output; this is the per-token form of DeepSeekMath (eq. 3), which the
   paper's remark that clipping cuts the gradients of tokens implies (section 3) and every
   implementation uses.
2. The paper gives one epsilon; `epsilon_low` and `epsilon_high` are separate (DAPO). Its epsilon
   of 10 is the interval [-9, 11]: no lower bound in effect, and a bad sample is never clipped.
3. The KL term is k3, as in eq. 2; `k3_corrected` is DeepSeek-V3.2's unbiased form.
4. Log-ratios above `MOST_LOG_RATIO` count as that in `exp`, and keep their gradient (`_ratio`). Ordinary ratios
   are untouched, to the bit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dianoia.algo.masked import at as _at


@dataclass(frozen=True, slots=True)
class TokenLoss:
    """A per-token objective before it is added up; values at masked positions mean nothing."""

    loss_BT: Tensor
    ratio_BT: Tensor
    """pi / pi_old as the objective uses it; the sequence's own ratio for GSPO."""
    clipped_low_BT: Tensor
    clipped_high_BT: Tensor
    """True where the bound below or above is in force at the token."""


@dataclass(frozen=True, slots=True)
class LossSums:
    """Detached sums over real response tokens, all 0-d; micro-batches add up with `+`."""

    tokens: Tensor
    clipped_low: Tensor
    clipped_high: Tensor
    kl: Tensor
    """Sum of k3 in nats, whichever estimator is in the loss; 0 without a reference."""
    entropy: Tensor
    """Sum of token entropies in nats; 0 when none were handed in."""
    gap: Tensor
    """Sum of |learner - sampler| log-probability; 0 when the sampler's were not given."""
    gap_max: Tensor
    ratio_max: Tensor

    def __add__(self, other: "LossSums") -> "LossSums":
        """Return the sums of both micro-batches."""
        return LossSums(
            self.tokens + other.tokens,
            self.clipped_low + other.clipped_low,
            self.clipped_high + other.clipped_high,
            self.kl + other.kl,
            self.entropy + other.entropy,
            self.gap + other.gap,
            torch.maximum(self.gap_max, other.gap_max),
            torch.maximum(self.ratio_max, other.ratio_max),
        )


MOST_LOG_RATIO = 20.0
"""Nats: exp of it is 4.9e8. In float32 exp overflows from 88.7 on, and an infinite ratio times the 0 gradient of a
clipped branch is NaN."""


def _ratio(log_ratio_BT: Tensor) -> Tensor:
    """Return probability ratios from their logarithms, finite for any finite one.

    Beyond `MOST_LOG_RATIO` the ratio stays at its largest value, and its gradient with respect to the logarithm is
    that value, as at the bound: a clamp would take the gradient away and hide a policy that has run off. An infinite
    logarithm is a broken log-probability, and stays infinite so that the loss says so.
    """
    # The value is the bound, the gradient that of the logarithm itself.
    most_BT = log_ratio_BT - log_ratio_BT.detach() + MOST_LOG_RATIO
    beyond_BT = (log_ratio_BT > MOST_LOG_RATIO) & log_ratio_BT.isfinite()
    return torch.where(beyond_BT, most_BT, log_ratio_BT).exp()


# Per-token objectives ---------------------------------------------------------------------------

Objective = Callable[[Tensor, Tensor, Tensor, Tensor, float, float], TokenLoss]
"""(logprobs_BT, old_BT, advantages, mask_BT, epsilon_low, epsilon_high) -> TokenLoss"""


def _per_token(advantages: Tensor, mask_BT: Tensor) -> Tensor:
    """Return advantages per token, `_BT`; those per sample as `_B1`, which broadcasts to all of its tokens."""
    return advantages[:, None] if advantages.dim() == 1 else _at(mask_BT, advantages)


def _clip(ratio_BT: Tensor, advantages_BT: Tensor, low: float, high: float) -> TokenLoss:
    """Return -min(rho A, clip(rho) A), and where the minimum is the clipped branch."""
    # With A < 0 the minimum takes the larger ratio: above 1 + high a bad token keeps its full gradient.
    bounded_BT = ratio_BT.clamp(1.0 - low, 1.0 + high)
    loss_BT = -torch.minimum(ratio_BT * advantages_BT, bounded_BT * advantages_BT)
    # The clipped branch is the minimum only where the ratio has moved in the direction of the advantage.
    below_BT = (ratio_BT < 1.0 - low) & (advantages_BT < 0)
    above_BT = (ratio_BT > 1.0 + high) & (advantages_BT > 0)
    return TokenLoss(loss_BT, ratio_BT, below_BT, above_BT)


def clipped(
    logprobs_BT: Tensor,
    old_BT: Tensor,
    advantages: Tensor,
    mask_BT: Tensor,
    epsilon_low: float,
    epsilon_high: float,
) -> TokenLoss:
    """Return -min(rho A, clip(rho, 1 - epsilon_low, 1 + epsilon_high) A), rho = pi / pi_old per token.

    PPO's surrogate as GRPO uses it (https://arxiv.org/abs/2402.03300, eq. 3; R1 paper, eq. 1), with
    DAPO's separate bounds (https://arxiv.org/abs/2503.14476, eq. 10). A token whose ratio has
    already moved past the bound in the direction of its advantage gets no more gradient. Assumes
    that single tokens may be re-weighted on their own. On the policy itself (rho = 1) the gradient
    is that of -A log pi, whatever the bounds.
    """
    ratio_BT = _ratio(_at(mask_BT, logprobs_BT) - _at(mask_BT, old_BT))
    return _clip(ratio_BT, _per_token(advantages, mask_BT), epsilon_low, epsilon_high)


def gspo(
    logprobs_BT: Tensor,
    old_BT: Tensor,
    advantages: Tensor,
    mask_BT: Tensor,
    epsilon_low: float,
    epsilon_high: float,
) -> TokenLoss:
    """Return the clipped surrogate with one ratio per sequence, s = exp(mean_t log(pi / pi_old)).

    GSPO (https://arxiv.org/abs/2507.18071, eq. 5-7), with bounds of about 3e-4 and 4e-4. The ratio
    is the geometric mean over the response, so its spread falls with length and one clip decides
    for the whole response. Assumes that the unit of the reward is the unit of the correction. A
    response of one token is `clipped`. The value stands at every token, so the sequence mean
    returns it.
    """
    log_ratio_BT = _at(mask_BT, logprobs_BT) - _at(mask_BT, old_BT)
    # At least 1: a row without tokens has the ratio exp(0) = 1.
    lengths_B1 = mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
    ratio_B1 = _ratio(log_ratio_BT.sum(dim=1, keepdim=True) / lengths_B1)
    # The ratio at every token, so that the sequence mean returns it.
    ratio_BT = ratio_B1.expand_as(log_ratio_BT)
    return _clip(ratio_BT, _per_token(advantages, mask_BT), epsilon_low, epsilon_high)


def cispo(
    logprobs_BT: Tensor,
    old_BT: Tensor,
    advantages: Tensor,
    mask_BT: Tensor,
    epsilon_low: float,
    epsilon_high: float,
) -> TokenLoss:
    """Return -sg(clip(rho, 1 - epsilon_low, 1 + epsilon_high)) A log pi: clips the weight, not the token.

    CISPO (MiniMax-M1, https://arxiv.org/abs/2506.13585, eq. 4-5), where epsilon_low is so large
    that there is no lower bound. No token loses its gradient, so rare turning points ("wait") keep
    learning over the many updates of one rollout. Assumes that a bounded weight is correction
    enough. With rho = 1 the gradient is that of -A log pi. "Clipped" in the metrics means that the
    weight is at its bound.
    """
    logprobs_BT = _at(mask_BT, logprobs_BT)
    # Detached: the weight is a constant, and the gradient is that of log pi alone.
    ratio_BT = _ratio(logprobs_BT - _at(mask_BT, old_BT)).detach()
    weight_BT = ratio_BT.clamp(1.0 - epsilon_low, 1.0 + epsilon_high)
    loss_BT = -weight_BT * _per_token(advantages, mask_BT) * logprobs_BT
    below_BT, above_BT = ratio_BT < 1.0 - epsilon_low, ratio_BT > 1.0 + epsilon_high
    return TokenLoss(loss_BT, ratio_BT, below_BT, above_BT)


LOSSES: Mapping[str, Objective] = {
    "clipped": clipped,
    "gspo": gspo,
    "cispo": cispo,
}
"""Per-token objectives by name."""


# The distance to the reference ------------------------------------------------------------------


def kl_k3(logprobs_BT: Tensor, old_BT: Tensor, ref_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Return r - log r - 1 with r = pi_ref / pi per token, in nats, never negative: R1 paper, eq. 2.

    Schulman's k3 (http://joschu.net/blog/kl-approx.html). For tokens drawn from pi its VALUE is an
    unbiased, low-variance estimate of the reverse KL(pi || pi_ref). Its GRADIENT is not that of the
    reverse KL: the tokens' own dependence on pi is left out, and what remains is, in expectation,
    (1 - r) grad log pi, the gradient of the forward KL(pi_ref || pi). Both vanish at pi = pi_ref
    and agree to first order near it. `old_BT` is not read. 0 where pi = pi_ref.
    """
    # Logarithm of pi_ref / pi; 0 at masked positions, where k3 then is 0.
    log_r_BT = _at(mask_BT, ref_BT) - _at(mask_BT, logprobs_BT)
    return _ratio(log_r_BT) - log_r_BT - 1.0


def kl_k3_corrected(logprobs_BT: Tensor, old_BT: Tensor, ref_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Return k3 times pi / pi_old, with gradient through the ratio: DeepSeek-V3.2 (arXiv 2512.02556).

    The importance ratio makes both the value and the gradient those of the reverse KL(pi || pi_ref)
    for tokens drawn from pi_old. Assumes the ratio to be of moderate size; it is not clipped.
    """
    ratio_BT = _ratio(_at(mask_BT, logprobs_BT) - _at(mask_BT, old_BT))
    return ratio_BT * kl_k3(logprobs_BT, old_BT, ref_BT, mask_BT)


KL_ESTIMATORS: Mapping[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "k3": kl_k3,
    "k3_corrected": kl_k3_corrected,
}
"""(logprobs_BT, old_BT, ref_BT, mask_BT) -> nats per token, by name. The paper's is `k3`."""


def truncated_importance(
    learner_BT: Tensor, sampler_BT: Tensor, mask_BT: Tensor, cap: float
) -> Tensor:
    """Return min(pi_learner / pi_sampler, cap) per token, without gradient: truncated importance sampling.

    Yao et al. 2025 (https://fengyao.notion.site/off-policy-rl): sampler and learner give the same
    weights slightly different probabilities; multiplying the policy term by this weight corrects
    for it, and the cap (2 or 3) bounds the variance. Both arguments are log-probabilities of the
    SAME weights, those that drew the sample. 1 where the two agree and at masked positions.
    """
    # Detached: the weight corrects the gradient and has none.
    gap_BT = _at(mask_BT, learner_BT.detach()) - _at(mask_BT, sampler_BT)
    return _ratio(gap_BT).clamp(max=cap)


# Adding tokens up -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Aggregation:
    """A sum over the tokens of a micro-batch, and what the sum of a whole step is divided by."""

    numerator: Callable[[Tensor, Tensor], Tensor]
    """(loss_BT, mask_BT) -> 0-d"""
    denominator: Callable[[int, int, int], int]
    """(samples, response tokens, max_tokens), all of the whole optimizer step."""


def sequence_mean(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Return the sum over samples of the mean over the sample's tokens: GRPO (DeepSeekMath, eq. 3).

    Divide by the number of samples of the step. A token of a long response weighs less than one of
    a short response. A row without tokens adds 0.
    """
    # At least 1: a row without tokens is 0 / 1.
    lengths_B = mask_BT.sum(dim=1).clamp(min=1)
    return (_at(mask_BT, loss_BT).sum(dim=1) / lengths_B).sum()


def token_sum(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Return the sum over all tokens: DAPO (divide by the step's response tokens; every token weighs the same)
    and Dr. GRPO (divide by samples x max_tokens; a token's weight does not depend on any length).
    """
    return _at(mask_BT, loss_BT).sum()


AGGREGATIONS: Mapping[str, Aggregation] = {
    "sequence_mean": Aggregation(sequence_mean, lambda samples, tokens, max_tokens: samples),
    "token_sum": Aggregation(token_sum, lambda samples, tokens, max_tokens: tokens),
    "constant_length": Aggregation(
        token_sum, lambda samples, tokens, max_tokens: samples * max_tokens
    ),
}
"""By name; `constant_length` is Dr. GRPO's (https://arxiv.org/abs/2503.20783, section 3.2)."""


# Algorithms -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An objective and an aggregation; advantages are computed separately (`algo.advantage`)."""

    objective: Objective
    aggregation: Aggregation


ALGORITHMS: Mapping[str, Algorithm] = {
    "grpo": Algorithm(clipped, AGGREGATIONS["sequence_mean"]),
    "dr_grpo": Algorithm(clipped, AGGREGATIONS["constant_length"]),
    "dapo": Algorithm(clipped, AGGREGATIONS["token_sum"]),
    "gspo": Algorithm(gspo, AGGREGATIONS["sequence_mean"]),
    "cispo": Algorithm(cispo, AGGREGATIONS["token_sum"]),
    "ppo": Algorithm(clipped, AGGREGATIONS["sequence_mean"]),
}
"""Named as in their papers. Dr. GRPO goes with `centred` advantages, PPO (DeepSeekMath, eq. 1) with
those of `algo.gae`, the others with `group_normalised`."""


def policy_loss(
    algorithm: Algorithm,
    logprobs_BT: Tensor,
    old_BT: Tensor,
    advantages: Tensor,
    mask_BT: Tensor,
    *,
    bounds: tuple[float, float],
    ref_BT: Tensor | None = None,
    kl_coefficient: float = 0.0,
    kl_estimator: str = "k3",
    weights_BT: Tensor | None = None,
    entropy_BT: Tensor | None = None,
    sampler_BT: Tensor | None = None,
) -> tuple[Tensor, LossSums]:
    """Return the numerator of the loss of one micro-batch (0-d, with gradient), and its metrics' sums.

    `bounds` are (epsilon_low, epsilon_high) of the ratio.
    `weights_BT` are importance weights of the policy term; the KL term is not weighted.
    `entropy_BT` and `sampler_BT` (the sampler's log-probabilities) only feed the metrics.
    """
    token = algorithm.objective(logprobs_BT, old_BT, advantages, mask_BT, *bounds)
    loss_BT = token.loss_BT
    # Importance weights correct the policy term only: KL estimates are of the learner's own policy.
    if weights_BT is not None:
        loss_BT = loss_BT * _at(mask_BT, weights_BT).detach()
    if ref_BT is not None:
        # Added per token, so that it is aggregated exactly as the policy term is.
        kl_BT = KL_ESTIMATORS[kl_estimator](logprobs_BT, old_BT, ref_BT, mask_BT)
        loss_BT = loss_BT + kl_coefficient * kl_BT
    numerator = algorithm.aggregation.numerator(loss_BT, mask_BT)
    return numerator, _sums(token, logprobs_BT, ref_BT, mask_BT, entropy_BT, sampler_BT)


@torch.no_grad()
def _sums(
    token: TokenLoss,
    logprobs_BT: Tensor,
    ref_BT: Tensor | None,
    mask_BT: Tensor,
    entropy_BT: Tensor | None,
    sampler_BT: Tensor | None,
) -> LossSums:
    """Return the sums for the metrics of one micro-batch, without gradient."""
    zero = logprobs_BT.new_zeros(())
    # Without the sampler's log-probabilities the gap is that of the learner to itself, which is 0.
    gap_BT = _at(mask_BT, logprobs_BT) - _at(
        mask_BT, logprobs_BT if sampler_BT is None else sampler_BT
    )
    gap_BT = gap_BT.abs()
    return LossSums(
        tokens=mask_BT.sum(),
        clipped_low=(token.clipped_low_BT & mask_BT).sum(),
        clipped_high=(token.clipped_high_BT & mask_BT).sum(),
        kl=zero
        if ref_BT is None
        else _at(mask_BT, kl_k3(logprobs_BT, logprobs_BT, ref_BT, mask_BT)).sum(),
        entropy=zero if entropy_BT is None else _at(mask_BT, entropy_BT).sum(),
        gap=gap_BT.sum(),
        gap_max=gap_BT.max() if gap_BT.numel() else zero,
        ratio_max=_at(mask_BT, token.ratio_BT).max() if gap_BT.numel() else zero,
    )


# Supervised fine-tuning ---------------------------------------------------------------------------


def token_losses(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return the negative log-likelihood of each target in nats, and whether it was the likeliest token.

    The cross-entropy of the R1 paper's supervised stages. Both `_N`; the first in float32 at least and with a gradient,
    the second boolean. The caller adds up and divides by one denominator for the whole optimizer step.
    """
    # bfloat16 has too few digits for the sum over the vocabulary.
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    losses_N = torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")
    return losses_N, logits_NV.detach().argmax(-1) == targets_N
