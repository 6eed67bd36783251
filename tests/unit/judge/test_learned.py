"""A reward model's part of the reward: what stands in for a sample that it was not shown, and kinds of groups."""

import pytest

from dianoia.base.records import Completion, Group, Problem, Rollout, RolloutStatus, Score
from dianoia.judge.learned import kind_of, learned, of_kind, with_lowest
from dianoia.judge.rubric import Rubric
from dianoia.judge.rules import format_rule

PROMPT = Problem("g", "Tell me of rain.", "", "reference", domain="general")


def rollout(sample: int, answer: str | None = "Wet.") -> Rollout:
    status = RolloutStatus.MALFORMED if answer is None else RolloutStatus.FINISHED
    return Rollout(PROMPT, sample, (1,), Completion((2,), (-0.1,), True), "", status, "", answer)


@pytest.mark.parametrize(
    ("scores", "lowest", "filled"),
    [
        ([1.5, -2.0], -9.0, [1.5, -2.0]),
        ([1.5, None, -2.0], -9.0, [1.5, -2.0, -2.0]),  # its own group's, not the run's
        ([None, None], -9.0, [-9.0, -9.0]),
        ([None, None], None, [None, None]),
        ([0.0, None], 5.0, [0.0, 0.0]),  # 0 is a score
    ],
)
def test_what_was_not_shown_is_worth_the_lowest(
    scores: list[float | None], lowest: float | None, filled: list[float | None]
) -> None:
    assert with_lowest(scores, lowest) == filled


def test_scores_are_weighed_by_the_samples_own_index() -> None:
    rubric = Rubric((format_rule(), learned("helpful", [0.5, -3.25], weight=2.0)))
    first, second = rubric.score(rollout(0)), rubric.score(rollout(1))
    assert (first.total, second.total) == (1.0 + 2 * 0.5, 1.0 - 2 * 3.25)
    assert second.parts == {"format": 1.0, "helpful": -3.25}


def test_the_kind_of_a_group_is_that_of_its_reward() -> None:
    groups = [
        Group(PROMPT, (rollout(0),), (Score(1.0, parts),))
        for parts in (
            {"accuracy": 1.0, "format": 1.0},
            {"format": 1.0, "safety": None},
            {"format": 1.0, "helpful": 0.0},
        )
    ]
    assert [kind_of(group) for group in groups] == ["reasoning", "safety", "helpful"]
    assert of_kind(groups, "helpful", "safety") == groups[1:]
