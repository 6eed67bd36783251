"""Losses and grades of reward models, on rewards that are handed in. Lower losses are better.

Inputs are rewards `_B`, one number per text (a scalar head's output, any real number, no unit); outputs are
one loss or grade an example. The caller adds up and divides by one denominator for the whole optimizer
step, so that no split into micro-batches changes the step.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, section 3.1) is silent:
1. It calls the helpful model's loss pairwise and prints no formula: this is the standard one.
2. It calls the safety model's loss point-wise: the reward is the logit of "safe".
3. Rewards are at least float32, whatever the model was computed in.
4. A tie between two rewards is half right: a model that gives everything the same reward then is right
   half of the time and not always or never.
"""

import torch
from torch import Tensor
from torch.nn import functional


def _precise(rewards_B: Tensor) -> Tensor:
    """Return rewards in float32 at least."""
    return rewards_B.to(torch.promote_types(rewards_B.dtype, torch.float32))


def bradley_terry_loss(preferred_B: Tensor, rejected_B: Tensor) -> Tensor:
    """Return -log sigmoid(preferred - rejected) of each pair, in nats.

    Bradley and Terry (1952, Biometrika 39), as InstructGPT trains reward models with it
    (https://arxiv.org/abs/2203.02155, eq. 1). Assumes that the probability of preferring one response
    depends on the difference of rewards alone: adding a constant to both changes nothing, so only
    differences of rewards mean anything. Two equal rewards cost log 2. logsigmoid is one
    function and not the logarithm of one, so that it overflows nowhere.
    """
    # One function: the logarithm of a sigmoid would overflow for large differences.
    return -functional.logsigmoid(_precise(preferred_B) - _precise(rejected_B))


def pointwise_loss(rewards_B: Tensor, good_B: Tensor) -> Tensor:
    """Return the binary cross-entropy of each response in nats: -log sigmoid(r) where good, -log sigmoid(-r) where not.

    Point-wise classification of DeepSeek-R1's safety model (section 3.1). Assumes that labels mean the
    same for every prompt: unlike a pair's, this loss is not blind to a constant added to all rewards.
    Reward 0 costs log 2 either way.
    """
    rewards_B = _precise(rewards_B)
    return functional.binary_cross_entropy_with_logits(
        rewards_B, good_B.to(rewards_B.dtype), reduction="none"
    )


def pair_grade(preferred: float, rejected: float) -> float:
    """Return 1 if the preferred response has the higher reward, 1/2 for a tie, else 0."""
    return 1.0 if preferred > rejected else 0.5 if preferred == rejected else 0.0


def pointwise_grade(reward: float, good: bool) -> float:
    """Return 1 if the reward's sign agrees with the label, 1/2 for a reward of 0, else 0."""
    return pair_grade(reward, 0.0) if good else pair_grade(0.0, reward)
