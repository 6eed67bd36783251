"""Rules and their sum: what counts, what is None, and what the user is told."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dianoia.base.errors import ConfigError, ProblemFileError, UserError
from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus, Score
from dianoia.judge.judge import Judge
from dianoia.judge.reward_part import RewardPart, ScoringState
from dianoia.judge.rules import (
    Accuracy,
    Overlong,
    Rule,
    format_rule,
    language,
    random_reward,
)
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.verifier import Grade, Pair

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


def score(parts: Sequence[RewardPart], *group: Rollout) -> Score:
    """The score of the first rollout of a group."""
    return scores(parts, *group)[0]


def scores(parts: Sequence[RewardPart], *group: Rollout) -> tuple[Score, ...]:
    (scored,) = Judge(parts).score_rollouts([group])
    return scored.scores


UNREADABLE = replace(RIGHT, problem=replace(PROBLEM, answer=""))


@pytest.mark.parametrize("value", [1e13, -1e13, 1e200, -1.7e308])
def test_a_reward_of_no_useful_size_is_refused(value: float) -> None:
    with pytest.raises(
        UserError,
        match=r"part 'mine' of the reward gave .* sample 0 of problem 'p' is beyond 1e\+12",
    ):
        score((Rule("mine", lambda _: value),), RIGHT)


@pytest.mark.parametrize(("value", "weight"), [(1.0, 1e13), (-1e12, 2.0), (1e6, 1e300)])
def test_a_weight_that_makes_it_so_too(value: float, weight: float) -> None:
    with pytest.raises(UserError, match="added up by the weights"):
        score((Rule("mine", lambda _: value, weight), format_rule()), RIGHT)


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
def test_the_papers_reward(rollout: Rollout, parts: dict[str, float | None], total: float) -> None:
    result = score((Accuracy(), format_rule()), rollout)
    assert result.parts == parts
    assert result.total == total


def test_weights_scale_the_total_and_not_the_parts() -> None:
    result = score((Accuracy(weight=3.0), format_rule(weight=0.5)), RIGHT)
    assert result.parts == {"accuracy": 1.0, "format": 1.0}
    assert result.total == 3.5


def test_a_reward_of_which_no_part_applies_names_the_problem() -> None:
    with pytest.raises(ProblemFileError, match=r"'p'.*'exact'.*answer column"):
        score((Accuracy(),), UNREADABLE)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_names_rule_and_problem(value: float) -> None:
    with pytest.raises(UserError, match=r"'odd'.*sample 0.*'p'.*finite"):
        score((Rule("odd", lambda _: value),), RIGHT)


def test_parts_have_different_names() -> None:
    with pytest.raises(ConfigError, match="no part"):
        score((), RIGHT)
    with pytest.raises(ConfigError, match=r"'format'.*rename"):
        score((format_rule(), format_rule()), RIGHT)


def test_a_broken_verifier_is_an_error_not_a_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(pairs: Sequence[Pair]) -> list[Grade]:
        raise RuntimeError("grader broke")

    monkeypatch.setitem(VERIFIERS, "exact", replace(VERIFIERS["exact"], grade=broken))
    with pytest.raises(RuntimeError, match="grader broke"):
        score((Accuracy(), format_rule()), RIGHT)


def test_language_is_the_share_of_the_thought_in_the_questions_language() -> None:
    rule = language()
    assert rule.measure(RIGHT) == 1.0
    assert rule.measure(replace(RIGHT, thought="so 所")) == 0.5
    assert rule.measure(replace(RIGHT, problem=replace(PROBLEM, language="zh"))) == 0.0
    assert rule.measure(replace(RIGHT, thought="2+3=5")) is None
    assert rule.measure(MALFORMED) == rule.measure(TRUNCATED) == 0.0


def test_overlong_sees_the_response_tokens() -> None:
    state = ScoringState(max_tokens=4)
    assert Overlong(cache=2).score([TRUNCATED], state) == [-0.5], (
        "3 of 4 tokens, the last 2 of which cost"
    )


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
    group = [replace(RIGHT, sample=index) for index in range(4)]
    results = scores(rules, *group)
    assert [result.total for result in results] == totals
    assert [result.parts for result in results] == [
        {rule.name: rule.measure(rollout) for rule in rules} for rollout in group
    ]
