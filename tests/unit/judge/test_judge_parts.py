"""Functions, reward models and an LLM grader as parts of a reward: by hand, group by group, beside the paper's rules."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

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
from dianoia.config import CosineSettings, RepetitionSettings, RewardSettings, TagSettings
from dianoia.judge.functions import Function, FunctionPart
from dianoia.judge.judge import Judge, evaluation_judge, reward_parts
from dianoia.judge.llm_grader import LLMGrader
from dianoia.judge.reward_model_part import RewardModelPart
from dianoia.judge.reward_part import ScoringState
from dianoia.metrics.group_metrics import measures, right_PG
from dianoia.metrics.training_metrics import rollout_row
from dianoia.models.endpoint import Answer, Messages
from dianoia.text.template import TEMPLATES

FINISHED, MALFORMED, TRUNCATED = RolloutStatus
MATH = Problem("m", "2+3?", "5", "number")
FREE = Problem("f", "Why is it wet?", "It rains.", "reference")
GENERAL = Problem("g", "Tell me of rain.", "", "reference", domain="general")


def rollout(problem: Problem, sample: int, answer: str | None, tokens: int = 4) -> Rollout:
    status = MALFORMED if answer is None else FINISHED
    text = "half" if answer is None else f"<think>so</think><answer>{answer}</answer>"
    done = Completion(tuple(range(tokens)), (0.0,) * tokens, True)
    thought = None if answer is None else "so"
    return Rollout(problem, sample, (9,), done, text, status, thought, answer)


class Liking:
    """A reward model that likes long responses, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def score(self, prompts: Sequence[Sequence[Turn]], responses: Sequence[str]) -> list[float]:
        self.shown += responses
        return [float(len(response)) for response in responses]


class Grader:
    """An LLM that finds what stands in the answer; `mumble` cannot be read."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, conversations: Sequence[Messages]) -> list[Answer]:
        answers = [
            conversation[0]["content"].rpartition("# Answer to grade\n")[2]
            for conversation in conversations
        ]
        self.asked += [answer.strip() for answer in answers]
        return [Answer(_verdict(answer), False) for answer in answers]


def _verdict(answer: str) -> str:
    if "mumble" in answer:
        return "I cannot say."
    return json.dumps({"correctness": "correct" if "rain" in answer else "incorrect"})


STATE = ScoringState(step=2, steps=8, max_tokens=8)


def judge_of(rewards: RewardSettings | None = None, **parts: Any) -> Judge:
    return Judge(reward_parts(rewards or RewardSettings(), 1, TEMPLATES["r1-zero"], **parts))


def scored(judge: Judge, rollouts_PG: list[list[Rollout]]) -> list[Group]:
    """Groups of problems with a verifier."""
    return judge.score_rollouts(rollouts_PG, STATE)


def graded(weight: float, grades: str = "reference") -> RewardSettings:
    """Rewards with an LLM grader."""
    table = {"url": "http://localhost:1/v1", "model": "m", "weight": weight, "grades": grades}
    return RewardSettings.model_validate({"judge": table})


# Functions -----------------------------------------------------------------------------------------


def lengths(completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
    return [len(ids) if len(ids) < 6 else None for ids in completion_ids]


def steps(prompts: list[str], trainer_state: Any, log_metric: Any, **columns: Any) -> list[float]:
    log_metric("calls", len(prompts))
    return [float(trainer_state.global_step)] * len(prompts)


LENGTH = Function("length", lengths, "f.py:lengths")
FUNCTIONS = [
    FunctionPart(LENGTH, -0.5),
    FunctionPart(Function("steps", steps, "f.py:steps"), 0.0),
]


def test_functions_join_the_reward_by_hand() -> None:
    rollouts = [
        [rollout(MATH, 0, "5", 3), rollout(MATH, 1, "6", 5)],
        [rollout(MATH, 0, None, 2), rollout(MATH, 1, "5", 7)],
    ]
    judge = judge_of(functions=FUNCTIONS)
    first, second = scored(judge, rollouts)
    # accuracy + format - length / 2; a rollout of 7 tokens has no length
    assert first.rewards_G == (2.0 - 1.5, 1.0 - 2.5)
    assert second.rewards_G == (0.0 - 1.0, 2.0)
    assert second.scores[1].parts == {"accuracy": 1.0, "format": 1.0, "length": None, "steps": 2.0}
    row = rollout_row([first, second], lambda texts: [1] * len(texts))
    assert row["rewards/length/mean"] == (3 + 5 + 2) / 3
    assert row["rewards/length/std"] == pytest.approx((14 / 9) ** 0.5)  # of 3, 5, 2
    assert (row["rewards/steps/mean"], row["rewards/steps/std"]) == (2.0, 0.0)
    assert "rewards/accuracy/std" not in row
    assert judge.figures() == {"logged/calls": 4.0}, "one call for all rollouts"
    assert judge.figures() == {}


def test_functions_see_general_prompts_too() -> None:
    commands: list[list[str]] = []

    def look(id: list[str], log_extra: Any, **columns: Any) -> list[float]:
        commands.append(id)
        log_extra("who", id)
        return [10.0 if name == "g" else 0.0 for name in id]

    judge = judge_of(
        models=[RewardModelPart("helpful", Liking(), purpose=Purpose.HELPFUL)],
        functions=[FunctionPart(Function("look", look, "f.py:look"))],
    )
    groups = [
        RolloutGroup(MATH, (rollout(MATH, 0, "5"),)),
        RolloutGroup(GENERAL, (rollout(GENERAL, 0, "Wet."),), Purpose.HELPFUL),
    ]
    math, general = judge.score(groups, STATE)
    assert commands == [["m", "g"]]
    assert math.scores[0].parts == {"accuracy": 1.0, "format": 1.0, "look": 0.0}
    assert general.scores[0].parts == {"format": 1.0, "helpful": 4.0, "look": 10.0}
    assert general.rewards_G == (15.0,)
    assert (math.scores[0].notes, general.scores[0].notes) == ({"who": "m"}, {"who": "g"})


def test_a_function_alone_leaves_out_whom_it_does_not_apply_to() -> None:
    rewards = RewardSettings.model_validate(
        {"accuracy": 0.0, "format": 0.0, "functions": [{"path": "f.py:lengths"}]}
    )
    rollouts = [[rollout(MATH, 0, "5", 3), rollout(MATH, 1, "5", 5), rollout(MATH, 2, "5", 7)]]
    (group,) = scored(judge_of(rewards, functions=[FunctionPart(LENGTH)]), rollouts)
    assert group.rewards_G == (3.0, 5.0, 4.0), "the third has the mean of the others: advantage 0"


# Reward models -------------------------------------------------------------------------------------


def test_a_reward_model_scores_problems_with_a_verifier() -> None:
    model = Liking()
    judge = judge_of(models=[RewardModelPart("taste", model, weight=0.25)])
    rollouts = [[rollout(MATH, 0, "5"), rollout(MATH, 1, None)], [rollout(MATH, 0, None)]]
    first, second = scored(judge, rollouts)
    whole = "<think>so</think><answer>5</answer>"
    assert model.shown == [whole], "the whole response, of what has finished"
    assert first.rewards_G == (2.0 + 0.25 * len(whole), 0.25 * len(whole))
    assert second.scores[0].parts["taste"] == len(whole), "the lowest of the run"
    assert judge.state() == {"lowest": {"taste": float(len(whole))}}
    resumed = judge_of(models=[RewardModelPart("taste", Liking())])
    for state in (judge.state(), {"lowest": {}, "parts": {"taste": float(len(whole))}}):
        resumed.load_state(state)
        assert resumed.state() == judge.state(), "a state of version 0.1.0 too"


# The LLM grader ------------------------------------------------------------------------------------

ROLLOUTS = [
    [rollout(FREE, 0, "rain"), rollout(FREE, 1, "sun"), rollout(FREE, 2, None)],
    [rollout(MATH, 0, "5"), rollout(MATH, 1, "rain"), rollout(MATH, 2, None)],
]


def test_a_verdict_is_the_accuracy_of_what_no_rule_can_grade() -> None:
    grader = Grader()
    judge = judge_of(graded(3.0), grader=LLMGrader(grader))
    free, math = scored(judge, ROLLOUTS)
    assert grader.asked == ["rain", "sun"], "neither what is malformed nor what a rule grades"
    assert free.rewards_G == (4.0, 1.0, 0.0) and math.rewards_G == (2.0, 1.0, 0.0)
    assert right_PG([free, math]) == [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    assert free.scores[0].parts == {"accuracy": 1.0, "format": 1.0}
    assert judge.figures() == {"judge/unread": 0.0}
    assert judge.figures() == {}, "nobody was asked since"


def test_the_judge_may_be_asked_about_everything() -> None:
    judge = judge_of(graded(3.0, "all"), grader=LLMGrader(Grader()))
    free, math = scored(judge, ROLLOUTS)
    assert free.rewards_G == (4.0, 1.0, 0.0), "the same, once"
    assert math.rewards_G == (2.0, 4.0, 0.0), "beside the accuracy"
    assert math.scores[1].parts == {"accuracy": 0.0, "format": 1.0, "judge": 1.0}


def test_a_reply_that_cannot_be_read_is_no_verdict() -> None:
    judge = judge_of(graded(1.0), grader=LLMGrader(Grader()))
    (group,) = scored(judge, [[rollout(FREE, 0, "mumble"), rollout(FREE, 1, "rain")]])
    assert group.scores[0].parts["accuracy"] is None and group.rewards_G == (1.0, 2.0)
    assert judge.figures() == {"judge/unread": 0.5}


def test_the_judge_grades_the_held_out_curve_where_no_rule_can() -> None:
    grader = Grader()
    groups = evaluation_judge(graded(3.0, "all"), LLMGrader(grader)).score_rollouts(ROLLOUTS)
    assert grader.asked == ["rain", "sun"]
    assert [group.rewards_G for group in groups] == [(4.0, 1.0, 0.0), (2.0, 1.0, 0.0)]
    assert measures(groups, lambda texts: [1] * len(texts))["pass@1"].value == pytest.approx(1 / 3)


# Shaping rules, beside the others --------------------------------------------------------------------


def test_shaping_rules_by_hand() -> None:
    rewards = RewardSettings(
        repetition=RepetitionSettings(weight=2.0, ngram=2),
        tags=TagSettings(weight=0.5),
        cosine=CosineSettings(weight=1.0),
    )
    loop = replace(rollout(MATH, 0, "5"), completion=Completion((7, 7, 7, 7), (0.0,) * 4, True))
    rollouts = [[loop, rollout(MATH, 1, "6", 8), rollout(MATH, 2, None, 8)]]
    (group,) = scored(judge_of(rewards), rollouts)
    # 77 three times: 1/3 - 1; half of 8 tokens: right 0.75; at 8 of 8: wrong -0.5; "half" has no tag
    expected = [2 + 2 * (1 / 3 - 1) + 0.5 + 0.75, 1 + 0 + 0.5 - 0.5, 0 + 0 + 0 - 0.5]
    assert group.rewards_G == pytest.approx(expected)
    assert list(group.scores[0].parts) == ["accuracy", "format", "repetition", "tags", "cosine"]


def test_the_cosine_takes_the_judges_word() -> None:
    rewards = graded(1.0).model_copy(update={"cosine": CosineSettings(length=4)})
    judge = judge_of(rewards, grader=LLMGrader(Grader()))
    (group,) = scored(judge, [[rollout(FREE, 0, "rain"), rollout(FREE, 1, "sun")]])
    assert [score.parts["cosine"] for score in group.scores] == pytest.approx([0.5, -0.5])
