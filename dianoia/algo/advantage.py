"""From the rewards of one group to the advantage of each of its samples, on plain Python floats.

Inputs are `rewards_G`, the total rewards of the samples of one problem in any order; outputs are
floats in the same order. An outcome reward gives every token of a sample the same advantage, so
there is one float per sample. Nothing here knows about tokens, tensors or batches.

Choices where the DeepSeek-R1 paper is silent (eq. 3 prints `std` and nothing else):

1. `std` is the population standard deviation (divide by G, not G - 1), so that the advantages of a
   group have mean square one whatever G is. Bessel's correction would only scale every advantage
   of a group of 16 by 0.97.
2. `epsilon` is 1e-6, as in verl; TRL uses 1e-4. It matters only when rewards differ by less than
   about 1e-4.
3. A uniform group gives exactly 0.0, not a rounding residue divided by epsilon.
"""

import math
from collections.abc import Sequence


def _check(rewards_G: Sequence[float]) -> None:
    """Raise ValueError for fewer than two or non-finite rewards."""
    if len(rewards_G) < 2:
        raise ValueError(
            f"A group of {len(rewards_G)} has no relative advantage: every sample would get 0 and "
            "nothing would be learned. Draw at least 2 samples per problem (the paper: 16)."
        )
    for index, reward in enumerate(rewards_G):
        if not math.isfinite(reward):
            raise ValueError(
                f"The reward of sample {index} is {reward}; a group's mean needs finite rewards. "
                "Give a sample that could not be scored a number, or leave it out of the group."
            )


def informative(rewards_G: Sequence[float]) -> bool:
    """Return True if a group teaches anything: its rewards are not all the same.

    DAPO's dynamic sampling (https://arxiv.org/abs/2503.14476, eq. 11) keeps the problems with
    0 < correct < G and draws others in place of the rest. Assumes that equal rewards mean equally
    good samples. For a reward with several parts "all the same" is stricter than "all right or
    all wrong": one sample with a better format makes a group informative.
    """
    return min(rewards_G) != max(rewards_G)


def centred(rewards_G: Sequence[float]) -> tuple[float, ...]:
    """Return each reward minus the group's mean: Dr. GRPO (https://arxiv.org/abs/2503.20783, section 3.2).

    Without the division by the standard deviation, groups that are nearly solved or nearly
    hopeless weigh no more than the others. Assumes rewards on one scale for all problems. A
    uniform group gives exactly 0.0. Raises ValueError for fewer than two or non-finite rewards.
    """
    _check(rewards_G)
    # Exactly 0.0: a rounding residue would become an advantage once it is divided by epsilon.
    if not informative(rewards_G):
        return (0.0,) * len(rewards_G)
    # fsum: the order of the samples must not matter.
    mean = math.fsum(rewards_G) / len(rewards_G)
    return tuple(reward - mean for reward in rewards_G)


def group_normalised(rewards_G: Sequence[float], epsilon: float = 1e-6) -> tuple[float, ...]:
    """Return (reward - mean) / (std + epsilon): GRPO (https://arxiv.org/abs/2402.03300; R1 paper, eq. 3).

    The advantage counts standard deviations above the group, so the scale of a reward does not
    matter, only the order and the spacing. Assumes that the spread of a group is signal; where it
    is noise, the noise is scaled up to one. A uniform group gives exactly 0.0. Raises ValueError
    for fewer than two or non-finite rewards.
    """
    # Also checks the rewards. Of a uniform group all are 0.0, and 0.0 / epsilon below stays 0.0.
    deviations_G = centred(rewards_G)
    # Divided by G: the population's variance (choice 1).
    variance = math.fsum(deviation * deviation for deviation in deviations_G) / len(rewards_G)
    scale = math.sqrt(variance) + epsilon
    return tuple(deviation / scale for deviation in deviations_G)


def soft_overlong(length: int, max_tokens: int, cache: int) -> float:
    """Return a soft penalty in [-1, 0] for long responses: DAPO (https://arxiv.org/abs/2503.14476, eq. 13).

    0 up to `max_tokens - cache` response tokens, then falling linearly to -1 at `max_tokens`, and
    -1 beyond; it is added to the reward. Assumes a correctness reward of about the same size
    (DAPO: +1 and -1; max_tokens 20,480, cache 4,096). Raises ValueError unless
    0 < cache <= max_tokens.
    """
    if not 0 < cache <= max_tokens:
        raise ValueError(
            f"The overlong cache is {cache} tokens with max_tokens {max_tokens}: the penalty needs "
            "a stretch to grow over. Choose a cache from 1 to max_tokens (DAPO: a fifth of it)."
        )
    # Tokens in the last `cache` before the limit, as a share of it.
    over = length - (max_tokens - cache)
    return -min(1.0, max(0, over) / cache)
