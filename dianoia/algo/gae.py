"""Credit for every token from a value model: PPO's side of the comparison with GRPO (R1 paper, A.3).

Inputs are tensors `_BT` (or one response, `_T`) with the boolean `mask_BT` of real response tokens, which are
a row's first ones; outputs have the same shape, with 0 at masked positions. Position t is the state before
response token t: the prompt and t tokens. `values_BT` says what return the value model expects from there,
`rewards_BT` what token t earned. Masked positions may hold anything, NaN included.

Choices where the paper, which only names PPO, GAE's lambda and the place of the KL term, is silent:

1. A response is an episode that ends with its last token, whether it ended by itself or was cut at the
   length limit: nothing is expected after it (bootstrap 0), and the outcome's reward stands at that token.
2. Returns, the value model's targets, are advantage + value (the lambda-return), before any whitening.
3. Whitening is over all tokens of a rollout at once, with the population's standard deviation.
4. The penalty in the reward is k1, log pi_old - log pi_ref, as in the PPO of InstructGPT.
"""

import torch
from torch import Tensor

from dianoia.algo.masked import at as _at

# Rewards per token --------------------------------------------------------------------------------


def outcome_rewards(rewards_B: Tensor, mask_BT: Tensor) -> Tensor:
    """Return the reward of a whole response at its last token, 0 at the others.

    PPO with an outcome reward (InstructGPT, https://arxiv.org/abs/2203.02155, section 3.5). Assumes that
    only the finished response can be judged. A row without tokens earns nothing.
    """
    # A real token that is followed by none.
    last_BT = mask_BT & ~torch.nn.functional.pad(mask_BT[:, 1:], (0, 1))
    return _at(last_BT, rewards_B[:, None].expand(mask_BT.shape))


def kl_rewards(old_BT: Tensor, ref_BT: Tensor, mask_BT: Tensor, coefficient: float) -> Tensor:
    """Return -coefficient (log pi_old - log pi_ref) at every token: PPO's dense penalty (R1 paper, A.3).

    DeepSeekMath (https://arxiv.org/abs/2402.03300, eq. 2). The return of a token holds the penalties of all
    later ones, so that the divergence accumulates with the length of the response: the paper's remark that
    this punishes length, which a term in the loss does not. Log-probabilities are those of the policy that
    drew the tokens; the penalty has no gradient of its own. 0 where the two policies agree.
    """
    return -coefficient * (_at(mask_BT, old_BT) - _at(mask_BT, ref_BT))


# Advantages ---------------------------------------------------------------------------------------


def gae(rewards_T: Tensor, values_T: Tensor, gamma: float, lam: float) -> Tensor:
    """Return the advantage of each token of one response: sum over l of (gamma lam)^l delta_(t+l).

    delta_t = r_t + gamma V_(t+1) - V_t, with V = 0 after the last token. Generalized advantage estimation
    (https://arxiv.org/abs/1506.02438, eq. 16). lam weighs bias against variance: 1 is the Monte Carlo return
    minus the value, unbiased whatever the values are; 0 is delta alone, which trusts them entirely. With
    lam = 0.95 a reward reaches the token n places before it with weight 0.95^n and values vouch for the rest.
    Zero values, gamma = lam = 1 and a reward at the end give every token that reward.
    """
    mask_1T = torch.ones_like(values_T, dtype=torch.bool)[None]
    return gae_batch(rewards_T[None], values_T[None], mask_1T, gamma, lam)[0]


def gae_batch(
    rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float, lam: float
) -> Tensor:
    """`gae` of each row; padding is on the right."""
    rewards_BT, values_BT = _at(mask_BT, rewards_BT), _at(mask_BT, values_BT)
    # Value after each token: 0 after the last, where the episode ends.
    next_BT = torch.nn.functional.pad(values_BT[:, 1:], (0, 1))
    deltas_BT = rewards_BT + gamma * next_BT - values_BT
    advantages_BT = torch.zeros_like(deltas_BT)
    running_B = deltas_BT.new_zeros(len(deltas_BT))
    # A_t = delta_t + gamma lam A_(t+1). Padding is on the right with deltas of 0, so a last token gets its delta.
    for t in reversed(range(deltas_BT.shape[1])):
        running_B = deltas_BT[:, t] + gamma * lam * running_B
        advantages_BT[:, t] = running_B
    return advantages_BT


def whiten(advantages_BT: Tensor, mask_BT: Tensor, epsilon: float = 1e-8) -> Tensor:
    """(advantage - mean) / (std + epsilon) over the real tokens of a rollout.

    Usual in PPO (https://arxiv.org/abs/2005.12729, section 3): the step does not depend on the scale of the
    rewards or of the values' errors. Assumes that better and worse tokens than expected balance; a rollout
    that is better throughout loses that. Equal advantages become exactly 0. No tokens: nothing happens.
    """
    values_M = advantages_BT[mask_BT]
    # Equal advantages: their rounding residue would be divided by epsilon.
    if not len(values_M) or bool((values_M == values_M[0]).all()):
        return torch.zeros_like(advantages_BT)
    std = values_M.std(correction=0)
    return _at(mask_BT, (advantages_BT - values_M.mean()) / (std + epsilon))


# The value model ----------------------------------------------------------------------------------


def value_loss(
    values_BT: Tensor,
    old_BT: Tensor,
    returns_BT: Tensor,
    mask_BT: Tensor,
    clip: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the numerator of the value model's loss, and how many tokens are at the bound of `clip`; both 0-d.

    1/2 (V - return)^2 per token, added up; divide by the step's tokens. With `clip` it is the larger of that and
    the same for V kept within `clip` of `old_BT`, the values of before the first update of the rollout: a
    token that has moved so far towards its return gets no more gradient (https://arxiv.org/abs/2005.12729,
    section 3). Assumes returns of about the size of `clip`. On the old values themselves it clips nothing.
    """
    values_BT, old_BT, returns_BT = (
        _at(mask_BT, tensor_BT) for tensor_BT in (values_BT, old_BT, returns_BT)
    )
    loss_BT = (values_BT - returns_BT) ** 2
    if clip is None:
        return 0.5 * loss_BT.sum(), mask_BT.new_zeros((), dtype=torch.long)
    # The larger of both losses: clipping never lowers the loss of a token.
    clipped_BT = old_BT + (values_BT - old_BT).clamp(-clip, clip)
    clipped_loss_BT = (clipped_BT - returns_BT) ** 2
    return 0.5 * torch.maximum(loss_BT, clipped_loss_BT).sum(), (clipped_loss_BT > loss_BT).sum()


def explained_variance(values_M: Tensor, returns_M: Tensor) -> float | None:
    """Return 1 - Var(return - value) / Var(return), over any tokens: the share of the returns that was foreseen.

    1 is perfect foresight, 0 no better than one number for every state, below 0 worse than that. None where
    all returns are the same, so that there is nothing to foresee.
    """
    if not len(returns_M) or bool((returns_M == returns_M[0]).all()):
        return None
    return 1.0 - float((returns_M - values_M).var(correction=0) / returns_M.var(correction=0))
