"""Summary of a batch of scored groups, for the diagnosis of flat rewards.

In: the groups of one rollout. Out: a `BatchSummary`. Not here: the diagnosis (`judge.diagnosis`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from dianoia.base.records import Group, Rollout, RolloutStatus
from dianoia.judge.functions import FunctionPart
from dianoia.judge.llm_grader import REFERENCE
from dianoia.judge.reward_part import ACCURACY
from dianoia.judge.unpaid import Unpaid, unpaid_parts

_EXAMPLE_CHARS = 200
_IDS_NAMED = 5


@dataclass(frozen=True, slots=True)
class OneAnswer:
    """The most common answer of a model, compared with the most common gold answer."""

    answer: str
    share: float
    """Its share of a problem's answers, averaged over problems that have any."""
    gold_share: float
    """Share of the problems that have the most common gold answer."""
    problems: int
    """Problems with an answer."""


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """One batch of rollouts. Shares are of all its rollouts unless said otherwise, from 0 to 1."""

    step: int
    share_truncated: float
    share_malformed: float
    common_fault: str | None
    """The rule that malformed rollouts break most often; None if none is malformed."""
    fault_example: str | None
    """Beginning of a response that breaks it."""
    share_uniform_groups: float
    """Share of the groups whose rewards are all the same; 0 where advantages are not relative to the
    group, since such a group teaches as much as any other."""
    mean_accuracy: float | None
    """Over the rollouts that have an accuracy; None when none has."""
    mean_format: float
    """Share of finished rollouts."""
    share_unparseable: float
    """Share of rollouts with accuracy None: the verifier cannot read the gold answer."""
    unparseable_ids: tuple[str, ...]
    """The first few of their problems."""
    mean_thought_tokens: float | None
    """Over the finished rollouts; None when there is none."""
    share_empty_thoughts: float
    """Share of the finished rollouts whose thought is blank; 0 when there is none."""
    mean_reward: float
    one_answer: OneAnswer | None = None
    """None where nothing was answered, or answers were not compared."""
    constant_parts: Mapping[str, float | None] = field(default_factory=dict)
    """Parts of the reward that had one value for every rollout; None: the part applied to none."""
    level_parts: tuple[str, ...] = ()
    """Parts that had one value within each group but differed between groups; empty where advantages are not relative."""
    rollouts: int = 0
    unpaid: Mapping[str, Unpaid] = field(default_factory=dict)
    """What each reward function paid for well-formed responses."""


def summarize(
    step: int,
    groups: Sequence[Group],
    mean_thought_tokens: float | None,
    relative: bool = True,
    one_answer: OneAnswer | None = None,
    functions: Sequence[FunctionPart] = (),
) -> BatchSummary:
    """Summarize the groups of a batch; the caller has measured thoughts and answers.

    `relative` says whether advantages are relative to the group, which PPO's are not. `functions` are those of the reward.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    assert rollouts, "a batch has rollouts"
    fault, example = _common_fault(rollouts)
    # Rollouts without an accuracy are in neither mean; their problems are named.
    accuracies, unparseable = _accuracies(groups)
    thoughts = [rollout.thought for rollout in rollouts if rollout.thought is not None]
    return BatchSummary(
        step=step,
        share_truncated=_share(rollouts, RolloutStatus.TRUNCATED),
        share_malformed=_share(rollouts, RolloutStatus.MALFORMED),
        common_fault=fault,
        fault_example=example,
        # Rewards are compared exactly: equal ones come from the same sum of the same parts.
        share_uniform_groups=fmean(relative and len(set(group.rewards_G)) == 1 for group in groups),
        mean_accuracy=fmean(accuracies) if accuracies else None,
        mean_format=_share(rollouts, RolloutStatus.FINISHED),
        share_unparseable=len(unparseable) / len(rollouts),
        unparseable_ids=tuple(dict.fromkeys(unparseable))[:_IDS_NAMED],
        mean_thought_tokens=mean_thought_tokens,
        share_empty_thoughts=fmean(not text.strip() for text in thoughts) if thoughts else 0.0,
        mean_reward=fmean(reward for group in groups for reward in group.rewards_G),
        one_answer=one_answer,
        constant_parts=_constant_parts(groups),
        level_parts=_level_parts(groups) if relative else (),
        rollouts=len(rollouts),
        unpaid=unpaid_parts(functions, groups),
    )


def _constant_parts(groups: Sequence[Group]) -> dict[str, float | None]:
    """Return the value of each part that has only one over all rollouts that have the part."""
    values: dict[str, set[float | None]] = {}
    for group in groups:
        for score in group.scores:
            for name, value in score.parts.items():
                values.setdefault(name, set()).add(value)
    return {name: next(iter(distinct)) for name, distinct in values.items() if len(distinct) == 1}


def _level_parts(groups: Sequence[Group]) -> tuple[str, ...]:
    """Return the parts that tell problems apart but not the samples of a problem."""
    # The distinct values of each part, group by group.
    within: dict[str, list[set[float | None]]] = {}
    for group in groups:
        # The first sample stands for the group: the parts that cover a group give each of its samples a value, or None.
        for name in group.scores[0].parts:
            within.setdefault(name, []).append({score.parts.get(name) for score in group.scores})
    return tuple(
        name
        for name, sets in within.items()
        # One value per group, but several over all groups: the part depends on the problem alone.
        if all(len(values) == 1 for values in sets) and len(set.union(*sets)) > 1
    )


def _share(rollouts: Sequence[Rollout], status: RolloutStatus) -> float:
    return fmean(rollout.status is status for rollout in rollouts)


def _common_fault(rollouts: Sequence[Rollout]) -> tuple[str | None, str | None]:
    """Return the rule that is broken most often, and the beginning of a response that breaks it."""
    faults = Counter(rollout.fault for rollout in rollouts if rollout.fault is not None)
    if not faults:
        return None, None
    # Ties go to the fault that came first, so that a seed gives one message.
    fault = faults.most_common(1)[0][0]
    example = next(rollout.text for rollout in rollouts if rollout.fault == fault)
    return fault, example[:_EXAMPLE_CHARS]


def _accuracies(groups: Sequence[Group]) -> tuple[list[float], list[str]]:
    """Return all accuracies, and the problem of each rollout whose gold answer cannot be read."""
    accuracies: list[float] = []
    unreadable: list[str] = []
    for group in groups:
        for score in group.scores:
            if ACCURACY in score.parts:
                value = score.parts[ACCURACY]
                if value is not None:
                    accuracies.append(value)
                elif group.problem.verifier != REFERENCE:  # there a grader's reply was unreadable
                    unreadable.append(group.problem.id)
    return accuracies, unreadable
