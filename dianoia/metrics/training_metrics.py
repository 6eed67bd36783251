"""Rows of `metrics.jsonl` of an RL stage: a rollout, and an optimizer step, in numbers.

In: scored groups, or the metrics of an update. Out: a row, whose keys `metrics.definitions` defines. Names are TRL's where TRL has the metric, so that its users and dashboards find them.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev

from dianoia.algo.estimates import cons_at_k
from dianoia.base.records import GENERAL, Group, Purpose, RolloutStatus
from dianoia.judge.reward_part import SIMPLE
from dianoia.learner.step_metrics import UpdateMetrics, ValueMetrics
from dianoia.metrics.group_metrics import TokenCounter, right_PG, thoughts_of
from dianoia.metrics.most_common_answer import most_common_answer
from dianoia.metrics.votes import votes_PG

Row = dict[str, float | int | str | None]
Weights = Mapping[str, float]
"""Weight of each part of the reward."""


def rollout_row(
    groups: Sequence[Group], count_tokens: TokenCounter, weights: Weights | None = None
) -> Row:
    """Compute the metrics of a rollout: lengths, rewards, thoughts, votes. None: there was nothing to measure.

    Thoughts and votes are those of problems with a verifier, so that general prompts do not move their curves.
    `weights` are given where reward models take part; the row then has the metrics of their parts too.
    """
    # Rewards are over all groups; thoughts and votes over problems with a verifier alone.
    rewards = [reward for group in groups for reward in group.rewards_G]
    reasoning = [group for group in groups if group.purpose is Purpose.REASONING]
    return {
        "reward": fmean(rewards),
        "reward_std": pstdev(rewards),
        # Exact equality: such a group has advantages of exactly 0 (`algo.advantage`).
        "frac_reward_zero_std": fmean(len(set(group.rewards_G)) == 1 for group in groups),
        **_parts(groups),
        **_endings(groups),
        **_thoughts(reasoning, count_tokens),
        **_votes(reasoning),
        # Columns of stages with reward models alone.
        **({} if weights is None else _mixture(groups, weights)),
    }


def _parts(groups: Sequence[Group]) -> Row:
    """Return the mean of each part of the reward over the rollouts that it applies to.

    Parts with a scale of their own have a standard deviation too; that of a share follows from its mean.
    """
    row: Row = {}
    for name in _names(groups):
        # Only rollouts that the part applies to; a part that applied to none is None.
        values = _values(groups, name)
        row[f"rewards/{name}/mean"] = fmean(values) if values else None
        # The deviation of a 0-or-1 part follows from its mean.
        if name not in SIMPLE:
            row[f"rewards/{name}/std"] = pstdev(values) if values else None
    return row


def _names(groups: Sequence[Group]) -> list[str]:
    """Return the names of all parts of the groups' rewards, in order of first appearance."""
    # One score per group is enough: all scores of a group have the same parts.
    return list(dict.fromkeys(name for group in groups for name in group.scores[0].parts))


def _values(groups: Sequence[Group], name: str) -> list[float]:
    # None (the part does not apply) and no entry (a group of another purpose) are both left out.
    scores = [score for group in groups for score in group.scores]
    return [value for score in scores if (value := score.parts.get(name)) is not None]


def _mixture(groups: Sequence[Group], weights: Weights) -> Row:
    """Return the share of general prompts, the range of reward models' scores, and each part's spread within groups."""
    row: Row = {"frac_general": sum(group.purpose in GENERAL for group in groups) / len(groups)}
    for name in (purpose.value for purpose in GENERAL if purpose in _names(groups)):
        values = _values(groups, name)
        # Unweighted, in the reward model's own units.
        row[f"rewards/{name}/min"] = min(values, default=None)
        row[f"rewards/{name}/max"] = max(values, default=None)
    for name in _names(groups):
        # In units of the reward, so that the parts can be compared.
        row[f"rewards/{name}/spread"] = weights[name] * _within(groups, name)
    return row


def _within(groups: Sequence[Group], name: str) -> float:
    """Return the mean standard deviation of a part within the groups that have it; None counts as 0."""
    return fmean(
        pstdev([score.parts[name] or 0.0 for score in group.scores])
        for group in groups
        if name in group.scores[0].parts
    )


def verdict_row(counts: Mapping[str, Mapping[str, int]]) -> Row:
    """Return the counts of verdicts as a row, by family of verifiers and verdict."""
    return {
        f"{verifier}/{verdict}": count
        for verifier, verdicts in counts.items()
        for verdict, count in verdicts.items()
    }


def _endings(groups: Sequence[Group]) -> Row:
    """Return lengths in tokens, and the shares of truncated and malformed responses."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    # Tokens with the end token, as TRL counts them.
    lengths = [len(rollout.completion.ids) for rollout in rollouts]
    return {
        "completions/mean_length": fmean(lengths),
        "completions/max_length": max(lengths),
        "completions/clipped_ratio": fmean(r.status is RolloutStatus.TRUNCATED for r in rollouts),
        "malformed": fmean(r.status is RolloutStatus.MALFORMED for r in rollouts),
    }


def _thoughts(groups: Sequence[Group], count_tokens: TokenCounter) -> Row:
    """Return means over the thoughts of finished rollouts; None for each if there is no thought."""
    thoughts = [
        thought for thoughts_G in thoughts_of(groups, count_tokens) for thought in thoughts_G
    ]
    # The keys stay, so that every row has the same columns.
    if not thoughts:
        return dict.fromkeys(
            ("thought_tokens", "empty_thoughts", "reflection", "reflecting", "target_language")
        )
    # Thoughts without words, such as bare equations, have no language.
    shares = [thought.language for thought in thoughts if thought.language is not None]
    return {
        "thought_tokens": fmean(thought.tokens for thought in thoughts),
        "empty_thoughts": fmean(thought.blank for thought in thoughts),
        "reflection": fmean(thought.reflection for thought in thoughts),
        "reflecting": fmean(thought.reflection > 0 for thought in thoughts),
        "target_language": fmean(shares) if shares else None,
    }


def _votes(groups: Sequence[Group]) -> Row:
    """Return the accuracy of the majority vote, and the share of the most common answer."""
    # k is part of the metric's name: all groups of a stage have the same size.
    k, most_common = len(groups[0].rollouts), most_common_answer(groups)
    return {
        f"cons@{k}": cons_at_k(right_PG(groups), votes_PG(groups)).value,
        "one_answer": None if most_common is None else fmean(most_common.share_P),
    }


def age_row(step: int, groups: Sequence[Group]) -> Row:
    """Return how many optimizer steps the learner is ahead of the weights that drew the samples, at the first step on them."""
    ages = [
        step - rollout.completion.weights_version for group in groups for rollout in group.rollouts
    ]
    return {"sampling/weights_age/mean": fmean(ages), "sampling/weights_age/max": max(ages)}


def update_row(update: UpdateMetrics) -> Row:
    """Return the metrics of one optimizer step. None: not measured in this step."""
    return {
        "loss": update.loss,
        "kl": update.kl,
        "entropy": update.entropy,
        "grad_norm": update.grad_norm,
        "learning_rate": update.learning_rate,
        "clip_ratio/low_mean": update.clip_fraction_low,
        "clip_ratio/high_mean": update.clip_fraction_high,
        "ratio_max": update.ratio_max,
        # TRL's names for the gap between the log-probabilities of sampler and learner.
        "sampling/sampling_logp_difference/mean": update.gap_mean,
        "sampling/sampling_logp_difference/max": update.gap_max,
        "padding_share": update.padding_share,
        **({} if update.value is None else _value_row(update.value)),
    }


def _value_row(value: ValueMetrics) -> Row:
    """Return the metrics of the value model in one optimizer step."""
    return {
        "value_loss": value.loss,
        "value_grad_norm": value.grad_norm,
        "value_clip_ratio": value.clip_fraction,
        "explained_variance": value.explained_variance,
        "values/mean": value.values_mean,
        "advantages/mean": value.advantages_mean,
        "advantages/std": value.advantages_std,
    }
