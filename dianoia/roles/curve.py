"""A rollout of an RL stage in numbers: one row of `metrics.jsonl`.

Names are TRL's where TRL has the metric, so that its users and dashboards find them.
"""

from collections.abc import Sequence
from statistics import fmean, pstdev

from dianoia.algo.estimates import cons_at_k
from dianoia.base.records import Group, RolloutStatus
from dianoia.learner.metrics import UpdateMetrics, ValueMetrics
from dianoia.roles.measure import Counter, answer_key, right_PG, thoughts_of

Row = dict[str, float | int | str | None]


def rollout_row(groups: Sequence[Group], count_tokens: Counter) -> Row:
    """What was sampled and what it earned. None: there was nothing to measure."""
    rewards = [reward for group in groups for reward in group.rewards_G]
    return {
        "reward": fmean(rewards),
        "reward_std": pstdev(rewards),
        "frac_reward_zero_std": fmean(len(set(group.rewards_G)) == 1 for group in groups),
        **_parts(groups),
        **_endings(groups),
        **_thoughts(groups, count_tokens),
        **_votes(groups),
    }


def _parts(groups: Sequence[Group]) -> Row:
    """Mean of each rule over the rollouts it applies to."""
    row: Row = {}
    for name in groups[0].scores[0].parts:
        values = [v for g in groups for s in g.scores if (v := s.parts[name]) is not None]
        row[f"rewards/{name}/mean"] = fmean(values) if values else None
    return row


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
    answers = [[rollout.answer for rollout in group.rollouts] for group in groups]
    k = len(answers[0])
    return {f"cons@{k}": cons_at_k(right_PG(groups), answers, answer_key).value}


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
