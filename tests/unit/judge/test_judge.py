"""The recipe's rewards as a rubric: weights, the problems' own verifiers, what does not apply."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dianoia.base.errors import ProblemFileError
from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus
from dianoia.config import RewardSettings
from dianoia.judge.judge import evaluation_rubric, judge, training_rubric, verify
from dianoia.tasks import catalog
from dianoia.tasks.verifier import Grade

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


def test_the_papers_weights_are_equal() -> None:
    rubric = training_rubric(RewardSettings(), 100, seed=1)
    assert [(rule.name, rule.weight) for rule in rubric.rules] == [("accuracy", 1), ("format", 1)]
    assert rubric.score(rollout("5")).total == 2.0
    assert rubric.score(rollout("6")).total == 1.0
    assert rubric.score(rollout(None, MALFORMED)).total == 0.0
    assert rubric.score(rollout(None, TRUNCATED)).total == 0.0


def test_weights_weigh_and_the_breakdown_does_not() -> None:
    rubric = training_rubric(RewardSettings(accuracy=3.0, format=0.25), 100, seed=1)
    right, wrong = rubric.score(rollout("5.0")), rubric.score(rollout("4"))
    assert (right.total, wrong.total) == (3.25, 0.25)
    assert right.parts == {"accuracy": 1.0, "format": 1.0}
    assert wrong.parts == {"accuracy": 0.0, "format": 1.0}


def test_a_rule_of_weight_0_still_is_measured() -> None:
    score = training_rubric(RewardSettings(format=0.0), 100, seed=1).score(rollout("6"))
    assert score.total == 0.0 and score.parts == {"accuracy": 0.0, "format": 1.0}


def test_the_coin_is_seeded_and_fair() -> None:
    settings = RewardSettings(accuracy=0.0, format=0.0, random=2.0)
    rubrics = [training_rubric(settings, 100, seed) for seed in (1, 1, 2)]
    tosses = [
        [rubric.score(rollout("5", sample=n)).total for n in range(400)] for rubric in rubrics
    ]
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
    rubric = training_rubric(RewardSettings(language=2.0), 100, seed=1)
    answer = None if thought is None else "5"
    score = rubric.score(replace(rollout(answer, status), thought=thought))
    assert score.parts["language"] == part
    assert score.total == total


def test_the_target_is_the_problems_language() -> None:
    rubric = training_rubric(RewardSettings(language=1.0), 100, seed=1)
    for language, share in (("en", 1 / 4), ("zh", 2 / 4), ("ru", 1 / 4)):
        problem = replace(GOLD, language=language)
        score = rubric.score(replace(rollout("5", problem=problem), thought="so 所以 пять"))
        assert score.parts["language"] == share


@pytest.mark.parametrize(
    ("tokens", "penalty"), [(1, 0.0), (60, 0.0), (70, -0.25), (80, -0.5), (100, -1.0)]
)
def test_overlong_answers_are_punished_softly(tokens: int, penalty: float) -> None:
    rubric = training_rubric(RewardSettings(overlong_cache=40), 100, seed=1)
    score = rubric.score(rollout("5", tokens=tokens))
    assert score.parts["overlong"] == pytest.approx(penalty)
    assert score.total == pytest.approx(2.0 + penalty)


def test_the_evaluation_scores_as_training_does() -> None:
    for one in (rollout("5"), rollout("6"), rollout(None, MALFORMED), rollout(None, TRUNCATED)):
        training = training_rubric(RewardSettings(), 100, seed=1)
        assert evaluation_rubric().score(one) == training.score(one)


def test_the_problem_names_its_verifier() -> None:
    text = Problem("t", "?", "Red", "exact")
    assert verify(text, " red ") == 1.0 and verify(GOLD, " red ") == 0.0
    assert verify(Problem("x", "?", "five", "number"), "5") is None


def test_judging_keeps_the_order() -> None:
    other = Problem("q", "3+4?", "7", "number")
    groups = judge(
        evaluation_rubric(),
        [[rollout("5"), rollout("7")], [rollout("5", problem=other), rollout("7", problem=other)]],
    )
    assert [group.problem.id for group in groups] == ["p", "q"]
    assert [group.rewards_G for group in groups] == [(2.0, 1.0), (1.0, 2.0)]


def test_no_score_is_made_up_for_a_gold_that_nothing_can_read() -> None:
    odd = Problem("x", "?", "five", "number")
    assert evaluation_rubric().score(rollout("5", problem=odd)).total == 1.0
    with pytest.raises(ProblemFileError, match="'five'"):
        only_accuracy = training_rubric(RewardSettings(), 100, seed=1).rules[:1]
        type(evaluation_rubric())(only_accuracy).score(rollout("5", problem=odd))


def test_a_verifier_that_waits_is_asked_from_threads_and_order_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: set[int] = set()
    meet = threading.Barrier(2, timeout=10)

    def slow(pairs: Sequence[tuple[Problem, str]]) -> list[Grade]:
        threads.add(threading.get_ident())
        meet.wait()  # only passes if two are asked at once
        return [Grade(float(answer == problem.answer)) for problem, answer in pairs]

    waiting = replace(catalog.VERIFIERS["code"], grade=slow)
    monkeypatch.setitem(catalog.VERIFIERS, "code", waiting)  # type: ignore[index]
    coded = Problem("c", "?", "5", "code")
    groups = judge(
        evaluation_rubric(),
        [[rollout("5", problem=coded), rollout("7", problem=coded)], [rollout("7"), rollout("5")]],
    )
    assert [group.rewards_G for group in groups] == [(2.0, 1.0), (1.0, 2.0)]
    assert len(threads) == 2
