"""A rollout of an RL stage in numbers: one row of `metrics.jsonl`.

Names are TRL's where TRL has the metric, so that its users and dashboards find them.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev

from dianoia.algo.estimates import cons_at_k
from dianoia.base.records import GENERAL, Group, Purpose, RolloutStatus
from dianoia.judge.reward_part import SIMPLE
from dianoia.learner.step_metrics import UpdateMetrics, ValueMetrics
from dianoia.metrics.commonest_answer import commonest_answer
from dianoia.metrics.group_metrics import Counter, right_PG, thoughts_of
from dianoia.metrics.votes import votes_PG

Row = dict[str, float | int | str | None]
Weights = Mapping[str, float]
"""Weight of each part of the reward."""


def rollout_row(
    groups: Sequence[Group], count_tokens: Counter, weights: Weights | None = None
) -> Row:
    """What was sampled and what it earned. None: there was nothing to measure.

    Thoughts and votes are those of problems with a verifier, so that general prompts do not move their curves.
    `weights` are given where reward models take part, and their parts of the reward are then told too.
    """
    rewards = [reward for group in groups for reward in group.rewards_G]
    reasoning = [group for group in groups if group.purpose is Purpose.REASONING]
    return {
        "reward": fmean(rewards),
        "reward_std": pstdev(rewards),
        "frac_reward_zero_std": fmean(len(set(group.rewards_G)) == 1 for group in groups),
        **_parts(groups),
        **_endings(groups),
        **_thoughts(reasoning, count_tokens),
        **_votes(reasoning),
        **({} if weights is None else _mixture(groups, weights)),
    }


def _parts(groups: Sequence[Group]) -> Row:
    """Mean of each part of the reward over the rollouts it applies to; of those with a scale of their own also the
    standard deviation."""
    row: Row = {}
    for name in _names(groups):
        values = _values(groups, name)
        row[f"rewards/{name}/mean"] = fmean(values) if values else None
        if name not in SIMPLE:
            row[f"rewards/{name}/std"] = pstdev(values) if values else None
    return row


def _names(groups: Sequence[Group]) -> list[str]:
    """Of the parts of any reward."""
    return list(dict.fromkeys(name for group in groups for name in group.scores[0].parts))


def _values(groups: Sequence[Group], name: str) -> list[float]:
    scores = [score for group in groups for score in group.scores]
    return [value for score in scores if (value := score.parts.get(name)) is not None]


def _mixture(groups: Sequence[Group], weights: Weights) -> Row:
    """General prompts among the others, what reward models gave, and the size of each part of the reward."""
    row: Row = {"frac_general": sum(group.purpose in GENERAL for group in groups) / len(groups)}
    for name in (purpose.value for purpose in GENERAL if purpose in _names(groups)):
        values = _values(groups, name)
        row[f"rewards/{name}/min"] = min(values, default=None)
        row[f"rewards/{name}/max"] = max(values, default=None)
    for name in _names(groups):
        row[f"rewards/{name}/spread"] = weights[name] * _within(groups, name)
    return row


def _within(groups: Sequence[Group], name: str) -> float:
    """Mean standard deviation of a part within the groups that have it; where it does not apply it adds 0."""
    return fmean(
        pstdev([score.parts[name] or 0.0 for score in group.scores])
        for group in groups
        if name in group.scores[0].parts
    )


def verdict_row(counts: Mapping[str, Mapping[str, int]]) -> Row:
    """How many answers of the rollout met with each verdict, by verifier."""
    return {
        f"{verifier}/{verdict}": count
        for verifier, verdicts in counts.items()
        for verdict, count in verdicts.items()
    }


def _endings(groups: Sequence[Group]) -> Row:
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    lengths = [len(rollout.completion.ids) for rollout in rollouts]
    return {
        "completions/mean_length": fmean(lengths),
        "completions/max_length": max(lengths),
        "completions/clipped_ratio": fmean(r.status is RolloutStatus.TRUNCATED for r in rollouts),
        "malformed": fmean(r.status is RolloutStatus.MALFORMED for r in rollouts),
    }


def _thoughts(groups: Sequence[Group], count_tokens: Counter) -> Row:
    thoughts = [thought for some in thoughts_of(groups, count_tokens) for thought in some]
    if not thoughts:
        return dict.fromkeys(
            ("thought_tokens", "empty_thoughts", "reflection", "reflecting", "target_language")
        )
    shares = [thought.language for thought in thoughts if thought.language is not None]
    return {
        "thought_tokens": fmean(thought.tokens for thought in thoughts),
        "empty_thoughts": fmean(thought.blank for thought in thoughts),
        "reflection": fmean(thought.reflection for thought in thoughts),
        "reflecting": fmean(thought.reflection > 0 for thought in thoughts),
        "target_language": fmean(shares) if shares else None,
    }


def _votes(groups: Sequence[Group]) -> Row:
    k, given = len(groups[0].rollouts), commonest_answer(groups)
    return {
        f"cons@{k}": cons_at_k(right_PG(groups), votes_PG(groups)).value,
        "one_answer": None if given is None else fmean(given.share_P),
    }


def update_row(update: UpdateMetrics) -> Row:
    """What one optimizer step did. None: not measured in this step."""
    return {
        "loss": update.loss,
        "kl": update.kl,
        "entropy": update.entropy,
        "grad_norm": update.grad_norm,
        "learning_rate": update.learning_rate,
        "clip_ratio/low_mean": update.clip_fraction_low,
        "clip_ratio/high_mean": update.clip_fraction_high,
        "ratio_max": update.ratio_max,
        "sampling/sampling_logp_difference/mean": update.gap_mean,
        "sampling/sampling_logp_difference/max": update.gap_max,
        "padding_share": update.padding_share,
        **({} if update.value is None else _value_row(update.value)),
    }


def _value_row(value: ValueMetrics) -> Row:
    """What the value model believed, and what it learnt."""
    return {
        "value_loss": value.loss,
        "value_grad_norm": value.grad_norm,
        "value_clip_ratio": value.clip_fraction,
        "explained_variance": value.explained_variance,
        "values/mean": value.values_mean,
        "advantages/mean": value.advantages_mean,
        "advantages/std": value.advantages_std,
    }
