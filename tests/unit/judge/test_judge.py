"""The recipe's rewards as a judge: weights, what does not apply, the order of groups."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dianoia.base.errors import ProblemFileError
from dianoia.base.records import (
    Completion,
    Problem,
    Purpose,
    Rollout,
    RolloutGroup,
    RolloutStatus,
    Score,
)
from dianoia.config import RewardSettings
from dianoia.judge.judge import Judge, evaluation_judge, reward_parts
from dianoia.judge.reward_part import RewardPart, ScoringState, Values

GOLD = Problem("p", "2+3?", "5", "number")
FINISHED, MALFORMED, TRUNCATED = RolloutStatus


def rollout(
    answer: str | None,
    status: RolloutStatus = FINISHED,
    tokens: int = 4,
    problem: Problem = GOLD,
    sample: int = 0,
) -> Rollout:
    completion = Completion((1,) * tokens, (0.0,) * tokens, status is not TRUNCATED)
    thought = None if answer is None else ""
    return Rollout(problem, sample, (9,), completion, "", status, thought, answer)


def training(rewards: RewardSettings, seed: int = 1) -> Judge:
    return Judge(reward_parts(rewards, seed))


def score(judge: Judge, *rollouts: Rollout) -> Score:
    """The score of the first rollout of a group."""
    (group,) = judge.score_rollouts([rollouts], ScoringState(max_tokens=100))
    return group.scores[0]


def test_the_papers_weights_are_equal() -> None:
    judge = training(RewardSettings())
    assert [(part.name, part.weight) for part in judge.parts] == [("accuracy", 1), ("format", 1)]
    assert score(judge, rollout("5")).total == 2.0
    assert score(judge, rollout("6")).total == 1.0
    assert score(judge, rollout(None, MALFORMED)).total == 0.0
    assert score(judge, rollout(None, TRUNCATED)).total == 0.0


def test_weights_weigh_and_the_breakdown_does_not() -> None:
    judge = training(RewardSettings(accuracy=3.0, format=0.25))
    right, wrong = score(judge, rollout("5.0")), score(judge, rollout("4"))
    assert (right.total, wrong.total) == (3.25, 0.25)
    assert right.parts == {"accuracy": 1.0, "format": 1.0}
    assert wrong.parts == {"accuracy": 0.0, "format": 1.0}


def test_a_rule_of_weight_0_still_is_measured() -> None:
    result = score(training(RewardSettings(format=0.0)), rollout("6"))
    assert result.total == 0.0 and result.parts == {"accuracy": 0.0, "format": 1.0}


def test_the_coin_is_seeded_and_fair() -> None:
    settings = RewardSettings(accuracy=0.0, format=0.0, random=2.0)
    judges = [training(settings, seed) for seed in (1, 1, 2)]
    tosses = [[score(judge, rollout("5", sample=n)).total for n in range(400)] for judge in judges]
    assert tosses[0] == tosses[1] != tosses[2]
    assert set(tosses[0]) == {0.0, 2.0}
    assert 150 < tosses[0].count(2.0) < 250  # five standard deviations


@pytest.mark.parametrize(
    ("thought", "status", "part", "total"),
    [
        ("so 五", FINISHED, 0.5, 2.0 + 2.0 * 0.5),  # one English word of two
        ("所以五", FINISHED, 0.0, 2.0),
        ("so five", FINISHED, 1.0, 4.0),
        ("2+3=5", FINISHED, None, 2.0),  # no words: the rule does not apply
        (None, MALFORMED, 0.0, 0.0),
        (None, TRUNCATED, 0.0, 0.0),
    ],
)
def test_the_language_of_the_thought_is_weighed(
    thought: str | None, status: RolloutStatus, part: float | None, total: float
) -> None:
    judge = training(RewardSettings(language=2.0))
    answer = None if thought is None else "5"
    result = score(judge, replace(rollout(answer, status), thought=thought))
    assert result.parts["language"] == part
    assert result.total == total


def test_the_target_is_the_problems_language() -> None:
    judge = training(RewardSettings(language=1.0))
    for language, share in (("en", 1 / 4), ("zh", 2 / 4), ("ru", 1 / 4)):
        problem = replace(GOLD, language=language)
        result = score(judge, replace(rollout("5", problem=problem), thought="so 所以 пять"))
        assert result.parts["language"] == share


@pytest.mark.parametrize(
    ("tokens", "penalty"), [(1, 0.0), (60, 0.0), (70, -0.25), (80, -0.5), (100, -1.0)]
)
def test_overlong_answers_are_punished_softly(tokens: int, penalty: float) -> None:
    judge = training(RewardSettings(overlong_cache=40))
    result = score(judge, rollout("5", tokens=tokens))
    assert result.parts["overlong"] == pytest.approx(penalty)
    assert result.total == pytest.approx(2.0 + penalty)


def test_the_evaluation_scores_as_training_does() -> None:
    for candidate in (
        rollout("5"),
        rollout("6"),
        rollout(None, MALFORMED),
        rollout(None, TRUNCATED),
    ):
        assert score(evaluation_judge(), candidate) == score(training(RewardSettings()), candidate)


def test_judging_keeps_the_order() -> None:
    other = Problem("q", "3+4?", "7", "number")
    groups = evaluation_judge().score_rollouts(
        [[rollout("5"), rollout("7")], [rollout("5", problem=other), rollout("7", problem=other)]],
    )
    assert [group.problem.id for group in groups] == ["p", "q"]
    assert [group.rewards_G for group in groups] == [(2.0, 1.0), (1.0, 2.0)]


def test_no_score_is_made_up_for_a_gold_that_nothing_can_read() -> None:
    odd = Problem("x", "?", "five", "number")
    assert score(evaluation_judge(), rollout("5", problem=odd)).total == 1.0
    with pytest.raises(ProblemFileError, match="'five'"):
        score(Judge(evaluation_judge().parts[:1]), rollout("5", problem=odd))


# Running the parts -------------------------------------------------------------------------------


class Waiting(RewardPart):
    """A part that scores 1 once another one is being scored too."""

    waits = True

    def __init__(self, name: str, meeting: threading.Barrier) -> None:
        super().__init__(name)
        self.meeting = meeting

    def score(self, rollouts: Sequence[Rollout], state: ScoringState) -> Values:
        self.meeting.wait()
        return [1.0] * len(rollouts)


class Meeting(Waiting):
    """The same, in the thread of the judge."""

    waits = False


def test_parts_that_wait_are_scored_beside_one_another_and_beside_the_others() -> None:
    meeting = threading.Barrier(3, timeout=10)
    parts = [Waiting("a", meeting), Meeting("b", meeting), Waiting("c", meeting)]
    (group,) = Judge(parts).score_rollouts([[rollout("5"), rollout("6", sample=1)]])
    assert [score.parts for score in group.scores] == [{"a": 1.0, "b": 1.0, "c": 1.0}] * 2


def test_a_part_sees_the_groups_that_it_covers_and_their_sizes() -> None:
    calls: list[tuple[int, Sequence[int], int]] = []

    class Helpful(RewardPart):
        def score(self, rollouts: Sequence[Rollout], state: ScoringState) -> Values:
            calls.append((len(rollouts), state.group_sizes, state.max_tokens))
            return [float(index) for index in range(len(rollouts))]

    helpful = Helpful("helpful", 1.0, (Purpose.HELPFUL,))
    sizes = {Purpose.HELPFUL: (2, 3), Purpose.REASONING: (1,)}
    groups = [
        RolloutGroup(GOLD, tuple(rollout("5", sample=n) for n in range(size)), purpose)
        for purpose in sizes
        for size in sizes[purpose]
    ]
    judge = Judge([*evaluation_judge().parts, helpful])
    first, second, reasoning = judge.score(groups, ScoringState(max_tokens=7))
    assert calls == [(5, [2, 3], 7)], "one call for all groups"
    assert [score.parts["helpful"] for score in second.scores] == [2.0, 3.0, 4.0]
    assert "accuracy" not in first.scores[0].parts and "helpful" not in reasoning.scores[0].parts
    judge.score(groups[2:], ScoringState())
    assert len(calls) == 1, "a part is not called without rollouts"
