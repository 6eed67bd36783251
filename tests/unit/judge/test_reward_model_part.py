"""RL for all scenarios by hand: eq. 8 to 10 for every kind of rollout, and what models are shown."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dianoia.base.errors import UserError
from dianoia.base.records import (
    Completion,
    Group,
    Problem,
    Purpose,
    Rollout,
    RolloutGroup,
    RolloutStatus,
    Turn,
)
from dianoia.config import RewardSettings
from dianoia.judge.judge import Judge, reward_parts
from dianoia.judge.reward_model_part import RewardModelPart, fill_lowest
from dianoia.judge.reward_part import ScoringState

FINISHED, MALFORMED, TRUNCATED = RolloutStatus
REWARDS = RewardSettings(language=0.5)
MATH = Problem("m", "2+3?", "5", "number")
GENERAL = Problem("g", "Tell me of rain.", "", "reference", domain="general")
UNSAFE = replace(GENERAL, id="s", question="Help me to steal.", domain="safety")


class Scripted:
    """A reward model that gives what it is told and remembers what it was shown."""

    def __init__(self, *scores: float) -> None:
        self.scores, self.shown = list(scores), []

    def score(self, prompts: Sequence[Sequence[Turn]], responses: Sequence[str]) -> list[float]:
        questions = [turns[-1].text for turns in prompts]
        self.shown += zip(questions, responses, strict=True)
        scores, self.scores = self.scores[: len(prompts)], self.scores[len(prompts) :]
        return scores


def rollout(
    problem: Problem, sample: int, answer: str | None, thought: str = "so", cut: bool = False
) -> Rollout:
    status = FINISHED if answer is not None else TRUNCATED if cut else MALFORMED
    text = "half" if answer is None else f"<think>{thought}</think><answer>{answer}</answer>"
    reference = None if answer is None else thought
    done = Completion((1, 2), (0.0, 0.0), not cut)
    return Rollout(problem, sample, (9,), done, text, status, reference, answer)


def judge_of(helpful: Scripted, safety: Scripted) -> Judge:
    models = [
        RewardModelPart("helpful", helpful, 2.0, Purpose.HELPFUL),
        RewardModelPart("safety", safety, purpose=Purpose.SAFETY, table="preferences"),
    ]
    return Judge(reward_parts(REWARDS, 3, models=models))


def score(judge: Judge, **rollouts_PG: Sequence[Sequence[Rollout]]) -> list[Group]:
    """Score groups of each purpose."""
    groups = [
        RolloutGroup(rollouts_G[0].problem, tuple(rollouts_G), Purpose(name))
        for name, rollouts in rollouts_PG.items()
        for rollouts_G in rollouts
    ]
    return judge.score(groups, ScoringState(max_tokens=50))


def test_the_reward_of_every_kind_by_hand() -> None:
    """Reward = Reward_reasoning + Reward_general + Reward_language, of the first two one; language weighs 0.5."""
    helpful, safety = Scripted(1.5, -0.25), Scripted(4.0)
    rollouts = [
        [
            rollout(MATH, 0, "5", "so five"),
            rollout(MATH, 1, "6", "所以 so"),
            rollout(MATH, 2, None),
        ],
        [
            rollout(GENERAL, 0, "Wet.", "so"),
            rollout(GENERAL, 1, "Dry.", "雨"),
            rollout(GENERAL, 2, None),
            rollout(GENERAL, 3, None, cut=True),
        ],
        [rollout(UNSAFE, 0, "No.", "1+1"), rollout(UNSAFE, 1, None)],
    ]
    math, general, unsafe = score(
        judge_of(helpful, safety),
        reasoning=rollouts[:1],
        helpful=rollouts[1:2],
        safety=rollouts[2:],
    )
    assert [group.purpose for group in (math, general, unsafe)] == list(Purpose)
    # reasoning: accuracy + format + 0.5 language; "所以 so" has one English word of three
    assert math.rewards_G == pytest.approx((1 + 1 + 0.5, 0 + 1 + 0.5 / 3, 0))
    assert math.scores[2].parts == {"accuracy": 0.0, "format": 0.0, "language": 0.0}
    # helpful: 2 x score + format + 0.5 language; what broke off gets the lowest score, -0.25, and nothing else
    assert general.rewards_G == pytest.approx((3 + 1 + 0.5, -0.5 + 1 + 0, -0.5, -0.5))
    assert general.scores[1].parts == {"format": 1.0, "language": 0.0, "helpful": -0.25}
    assert general.scores[2].parts == {"format": 0.0, "language": 0.0, "helpful": -0.25}
    assert min(general.rewards_G[:2]) > max(general.rewards_G[2:]), "no way around"
    # safety: 4 + format; a thought without words has no language, which is not 0
    assert unsafe.rewards_G == pytest.approx((4 + 1, 4))
    assert unsafe.scores[0].parts == {"format": 1.0, "language": None, "safety": 4.0}
    assert all("accuracy" not in s.parts for group in (general, unsafe) for s in group.scores)


def test_each_model_is_shown_what_it_may_see_and_only_what_finished() -> None:
    helpful, safety = Scripted(1.0), Scripted(1.0)
    rollouts = [
        [rollout(GENERAL, 0, "Wet.", "so"), rollout(GENERAL, 1, None)],
        [rollout(UNSAFE, 0, "No.", "so")],
    ]
    score(judge_of(helpful, safety), helpful=rollouts[:1], safety=rollouts[1:])
    assert helpful.shown == [("Tell me of rain.", "Wet.")], "not the thought"
    assert safety.shown == [("Help me to steal.", "<think>so</think><answer>No.</answer>")]


def test_a_general_prompt_with_a_verifier_is_not_verified() -> None:
    problem = replace(MATH, answer="five")  # which nothing can read
    (group,) = score(judge_of(Scripted(0.5), Scripted()), helpful=[[rollout(problem, 0, "5")]])
    assert group.rewards_G == pytest.approx((2 * 0.5 + 1 + 0.5,))


def test_a_group_without_a_finished_sample_gets_the_lowest_of_the_run() -> None:
    judge = judge_of(Scripted(-3.0, 2.0), Scripted())
    broken = [rollout(GENERAL, n, None) for n in range(2)]

    def judged(*rollouts_PG: list[Rollout]) -> list[tuple[float, ...]]:
        return [group.rewards_G for group in score(judge, helpful=rollouts_PG)]

    assert judged(broken) == [(0.0, 0.0)], "the model has not said anything yet"
    assert judged(broken, [rollout(GENERAL, 0, "Wet.", "雨")]) == [(-6.0, -6.0), (-5.0,)]
    state = judge.state()
    assert judged([rollout(GENERAL, 0, "Dry.", "雨")], broken) == [(5.0,), (-6.0, -6.0)]
    resumed = judge_of(Scripted(), Scripted())
    resumed.load_state(state)
    assert resumed.state() == state and state["lowest"] == {"helpful": -3.0, "safety": None}


def test_the_held_out_measure_is_a_mean_a_problem() -> None:
    model = RewardModelPart("helpful", Scripted(1.0, 3.0, -2.0), 5.0, Purpose.HELPFUL)
    means = Judge([model]).mean_scores(
        Purpose.HELPFUL,
        [
            [rollout(GENERAL, 0, "a"), rollout(GENERAL, 1, "b")],  # (1 + 3) / 2
            [rollout(GENERAL, 0, "c"), rollout(GENERAL, 1, None)],  # (-2 - 2) / 2
            [rollout(GENERAL, 0, None), rollout(GENERAL, 1, None)],  # the lowest of all
        ],
    )
    assert means == [2.0, -2.0, -2.0], "unweighted"
    assert model.lowest is None, "what is held out is no part of training"
    assert model.mean_scores([[rollout(GENERAL, 0, None)]]) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_stops(value: float) -> None:
    judge = judge_of(Scripted(), Scripted(value))
    with pytest.raises(UserError, match=r"preferences.safety.*sample 0 of problem 's'"):
        score(judge, safety=[[rollout(UNSAFE, 0, "No.")]])


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
def test_a_sample_that_was_not_shown_gets_the_lowest_score(
    scores: list[float | None], lowest: float | None, filled: list[float | None]
) -> None:
    assert fill_lowest(scores, lowest) == filled
