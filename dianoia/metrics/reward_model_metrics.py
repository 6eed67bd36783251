"""Metrics of a reward model: grades, means and spreads of a step, estimates on the held-out side.

In: examples and the rewards of their texts. Out: numbers and `Estimate`s. Of labelled responses, safe ones take the place
of a pair's chosen response and unsafe ones that of the rejected one.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, pstdev

from dianoia.algo.estimates import Estimate, estimate, estimate_unbounded
from dianoia.algo.preference_loss import pair_grade, pointwise_grade
from dianoia.base.preference_records import Pair, TextExample
from dianoia.learner.reward_learner import Example

Rewards = Sequence[tuple[float, ...]]
"""Rewards of the texts of each example: (chosen, rejected) of a pair, or one response."""


def grades(examples: Sequence[Example], rewards: Rewards) -> list[float]:
    """Grade each example: 1, 1/2 (a tie) or 0, by whether the better response is ahead or the sign agrees with the label."""
    return [
        pair_grade(*values) if example.good is None else pointwise_grade(values[0], example.good)
        for example, values in zip(examples, rewards, strict=True)
    ]


def sides(examples: Sequence[Example], rewards: Rewards) -> tuple[list[float], list[float]]:
    """Return the rewards of the better and of the worse responses: chosen and rejected, or safe and unsafe."""
    better, worse = [], []
    for example, values in zip(examples, rewards, strict=True):
        # `good` is None for a pair, which counts on both sides.
        if example.good is not False:
            better.append(values[0])
        if example.good is not True:
            worse.append(values[-1])
    return better, worse


def spread(examples: Sequence[Example], rewards: Rewards) -> dict[str, float | None]:
    """Return the mean and population standard deviation of either side, and the distance of the means."""
    better, worse = sides(examples, rewards)
    margin = fmean(better) - fmean(worse) if better and worse else None
    return {
        "margin": margin,
        "rewards/chosen/mean": fmean(better) if better else None,
        "rewards/chosen/std": pstdev(better) if better else None,
        "rewards/rejected/mean": fmean(worse) if worse else None,
        "rewards/rejected/std": pstdev(worse) if worse else None,
    }


def measures(
    texts: Sequence[TextExample], examples: Sequence[Example], rewards: Rewards
) -> dict[str, Estimate]:
    """Estimate over prompts: accuracy, accuracy of `baseline`, mean rewards, and the margin of pairs.

    `texts` and `examples` are the same examples in the same order.
    """
    prompts = [example.prompt for example in texts]
    estimates = {
        "accuracy": estimate(_by_prompt(prompts, grades(examples, rewards))),
        "baseline": estimate(_by_prompt(prompts, baseline(texts))),
    }
    # None marks an example that is not on this side; `_by_prompt` leaves it out.
    for name, label in (("rewards/chosen", True), ("rewards/rejected", False)):
        values = [
            None
            if example.good is not None and example.good is not label
            else texts_rewards[0 if label else -1]
            for example, texts_rewards in zip(examples, rewards, strict=True)
        ]
        estimates[name] = estimate_unbounded(_by_prompt(prompts, values))
    if examples[0].good is None:
        # Only pairs have a margin; a file holds pairs or labels, not both.
        differences = [values[0] - values[1] for values in rewards]
        estimates["margin"] = estimate_unbounded(_by_prompt(prompts, differences))
    return estimates


def baseline(examples: Sequence[TextExample]) -> list[float]:
    """Grade a rule without a model: the longer response of a pair, the more frequent label."""
    labels = [example.good for example in examples if not isinstance(example, Pair)]
    # Ties go to safe.
    usual = 2 * sum(labels) >= len(labels)
    return [
        # In characters, not tokens: the baseline needs no model.
        pair_grade(len(example.chosen), len(example.rejected))
        if isinstance(example, Pair)
        else float(example.good is usual)
        for example in examples
    ]


def _by_prompt(prompts: Sequence[str], values: Sequence[float | None]) -> list[float]:
    """Return the mean value of each prompt that has any: examples of one prompt are not independent."""
    values_of: defaultdict[str, list[float]] = defaultdict(list)
    for prompt, value in zip(prompts, values, strict=True):
        if value is not None:
            values_of[prompt].append(value)
    return [fmean(prompt_values) for prompt_values in values_of.values()]
