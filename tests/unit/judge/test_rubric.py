"""Rules and rubric: what counts, what is None, and what is told to the user."""

import math
from dataclasses import replace

import pytest

from dianoia.base.errors import ConfigError, ProblemFileError, UserError
from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus
from dianoia.judge.rubric import Rubric
from dianoia.judge.rules import (
    Rule,
    accuracy,
    format_rule,
    language,
    overlong,
    random_reward,
)

PROBLEM = Problem("p", "2+3?", "5", "exact")
RIGHT = Rollout(
    PROBLEM,
    0,
    (1,),
    Completion((5, 6, 2), (-0.1, -0.1, -0.1), stopped=True),
    "<think>so five</think><answer>5</answer>",
    RolloutStatus.FINISHED,
    "so five",
    "5",
)
WRONG = replace(RIGHT, answer="6")
MALFORMED = replace(
    RIGHT, status=RolloutStatus.MALFORMED, thought=None, answer=None, fault="no_tags"
)
TRUNCATED = replace(MALFORMED, status=RolloutStatus.TRUNCATED, fault=None)


def same(problem: Problem, answer: str) -> float | None:
    return float(problem.answer == answer) if problem.answer else None


UNREADABLE = replace(RIGHT, problem=replace(PROBLEM, answer=""))


@pytest.mark.parametrize("value", [1e13, -1e13, 1e200, -1.7e308])
def test_a_reward_of_no_useful_size_is_refused(value: float) -> None:
    with pytest.raises(
        UserError, match=r"rule 'mine' gave .* sample 0 of problem 'p' is beyond 1e\+12"
    ):
        Rubric((Rule("mine", lambda _: value),)).score(RIGHT)


@pytest.mark.parametrize(("value", "weight"), [(1.0, 1e13), (-1e12, 2.0), (1e6, 1e300)])
def test_a_weight_that_makes_it_so_too(value: float, weight: float) -> None:
    with pytest.raises(UserError, match="added up by the weights"):
        Rubric((Rule("mine", lambda _: value, weight), format_rule())).score(RIGHT)


@pytest.mark.parametrize(
    ("rollout", "parts", "total"),
    [
        (RIGHT, {"accuracy": 1.0, "format": 1.0}, 2.0),
        (WRONG, {"accuracy": 0.0, "format": 1.0}, 1.0),
        (MALFORMED, {"accuracy": 0.0, "format": 0.0}, 0.0),
        (TRUNCATED, {"accuracy": 0.0, "format": 0.0}, 0.0),
        (UNREADABLE, {"accuracy": None, "format": 1.0}, 1.0),
    ],
)
def test_the_papers_rubric(rollout: Rollout, parts: dict[str, float | None], total: float) -> None:
    score = Rubric((accuracy(same), format_rule())).score(rollout)
    assert score.parts == parts
    assert score.total == total


def test_weights_scale_the_total_and_not_the_parts() -> None:
    score = Rubric((accuracy(same, weight=3.0), format_rule(weight=0.5))).score(RIGHT)
    assert score.parts == {"accuracy": 1.0, "format": 1.0}
    assert score.total == 3.5


def test_a_rubric_of_which_nothing_applies_names_the_problem() -> None:
    with pytest.raises(ProblemFileError, match=r"'p'.*'exact'.*answer column"):
        Rubric((accuracy(same),)).score(UNREADABLE)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_names_rule_and_problem(value: float) -> None:
    with pytest.raises(UserError, match=r"'odd'.*sample 0.*'p'.*finite"):
        Rubric((Rule("odd", lambda _: value),)).score(RIGHT)


def test_a_rubric_has_rules_of_different_names() -> None:
    with pytest.raises(ConfigError, match="no rule"):
        Rubric(())
    with pytest.raises(ConfigError, match=r"'format'.*rename"):
        Rubric((format_rule(), format_rule()))


def test_a_broken_verifier_is_an_error_not_a_zero() -> None:
    def broken(problem: Problem, answer: str) -> float:
        raise RuntimeError("grader broke")

    with pytest.raises(RuntimeError, match="grader broke"):
        Rubric((accuracy(broken), format_rule())).score(RIGHT)


def test_language_is_the_share_of_the_thought_in_the_questions_language() -> None:
    rule = language()
    assert rule.measure(RIGHT) == 1.0
    assert rule.measure(replace(RIGHT, thought="so 所")) == 0.5
    assert rule.measure(replace(RIGHT, problem=replace(PROBLEM, language="zh"))) == 0.0
    assert rule.measure(replace(RIGHT, thought="2+3=5")) is None
    assert rule.measure(MALFORMED) == rule.measure(TRUNCATED) == 0.0


def test_overlong_sees_the_response_tokens() -> None:
    assert overlong(lambda length: -length / 10).measure(TRUNCATED) == -0.3


def test_the_random_control_ignores_text_and_order() -> None:
    rule = random_reward(seed=1)
    rollouts = [replace(RIGHT, sample=sample) for sample in range(400)]
    rewards = [rule.measure(rollout) for rollout in rollouts]
    assert rewards == [rule.measure(replace(rollout, answer="6")) for rollout in rollouts]
    assert set(rewards) == {0.0, 1.0}
    assert 150 < sum(reward or 0.0 for reward in rewards) < 250
    assert rewards != [random_reward(seed=2).measure(rollout) for rollout in rollouts]


NEVER = Rule("never", lambda _: None)
ODD = Rule("odd", lambda rollout: float(rollout.sample) if rollout.sample % 2 else None, weight=2.0)


@pytest.mark.parametrize(
    ("rules", "totals"),
    [
        # samples 0 and 2 have no value of the one rule that pays: (2 + 6) / 2
        ((ODD, format_rule(weight=0.0)), [4.0, 2.0, 4.0, 6.0]),
        # a rule that pays and applies to all leaves nothing to settle
        ((ODD, format_rule()), [1.0, 3.0, 1.0, 7.0]),
        # nobody has a value: all are equal
        ((NEVER, format_rule(weight=0.0)), [0.0] * 4),
    ],
)
def test_a_sample_to_which_nothing_that_pays_applies_moves_nobody(
    rules: tuple[Rule, ...], totals: list[float]
) -> None:
    rubric, group = Rubric(rules), [replace(RIGHT, sample=index) for index in range(4)]
    settled = rubric.settled([rubric.score(rollout) for rollout in group])
    assert [score.total for score in settled] == totals
    assert all(
        score.parts == rubric.score(r).parts for score, r in zip(settled, group, strict=True)
    )
