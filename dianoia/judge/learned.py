"""What a reward model's scores are worth in the reward (DeepSeek-R1 eq. 8 to 10).

In: the scores of one group, None for a sample that a model was not shown. Out: a rule like every other, and
the kind of a scored group. Left out: the models themselves (`dianoia.judge.reward_model_part`).

    Reward = Reward_reasoning + Reward_general + Reward_language
    Reward_reasoning = accuracy + format        Reward_general = reward model + format

Of the first two one is active for each sample: a general prompt has no accuracy, not an accuracy of 0, and so no
entry for it in `Score.parts`; a problem of reasoning has none for a reward model.

Decisions where the paper is silent:
1. A sample that is malformed or truncated has no final part to show. It gets the lowest score of its group's
   finished samples: never more than the worst of them, format reward and all, so that a broken format is no
   way around a low score, whatever the scale of the model. Where none of the group finished, all of them get
   the lowest score that the model has given in this run.
2. That holds for the safety model too, although it could read a broken response: an empty one is harmless.
"""

from collections.abc import Sequence

from dianoia.base.records import Group
from dianoia.judge.rules import Rule

REASONING = "reasoning"
HELPFUL = "helpful"
SAFETY = "safety"
GENERAL = (HELPFUL, SAFETY)
"""Kinds of general prompts, by the name of their part of the reward."""


def kind_of(group: Group) -> str:
    """What the group's problem was drawn for: a general kind, or reasoning."""
    return next((name for name in GENERAL if name in group.scores[0].parts), REASONING)


def of_kind(groups: Sequence[Group], *kinds: str) -> list[Group]:
    """The groups of these kinds, in order."""
    return [group for group in groups if kind_of(group) in kinds]


def learned(name: str, scores_G: Sequence[float | None], weight: float = 1.0) -> Rule:
    """A reward model's scores of one group, as they are, by the sample's index."""
    return Rule(name, lambda rollout: scores_G[rollout.sample], weight)


def with_lowest(
    scores_G: Sequence[float | None], lowest: float | None = None
) -> list[float | None]:
    """Scores in which a sample without one has the lowest of its group (decision 1).

    `lowest` stands in for a group that has none; None there: the part does not apply to the group.
    """
    known = [score for score in scores_G if score is not None]
    floor = min(known) if known else lowest
    return [floor if score is None else score for score in scores_G]
