"""Answers graded by their problems' verifiers, early and in batches; verdicts counted."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from dianoia.base.errors import VerifierError
from dianoia.base.records import Problem, SamplingParams
from dianoia.judge import verification
from dianoia.judge.judge import evaluation_judge
from dianoia.judge.verification import add_counts, count_verdicts, grade, grade_rollouts
from dianoia.sampler.rollouts import RolloutSampler
from dianoia.tasks import catalog
from dianoia.tasks.math import shared_workers
from dianoia.tasks.verifier import Grade, Pair

SAID = ("<think>a</think><answer>31.0</answer>", "<think>a</think><answer>32</answer>", "no form")


@pytest.fixture
def mathematics(problems: list[Problem]) -> list[Problem]:
    return [replace(problem, verifier="math", answer="31") for problem in problems]


def test_what_was_graded_early_is_not_asked_again(
    roller: Callable[..., RolloutSampler], mathematics: list[Problem], params: SamplingParams
) -> None:
    scripted = roller(lambda prompt, sample: SAID[sample])
    before = sum(shared_workers().ended.values())
    rollouts_PG = scripted(mathematics, 3, params, (1,))
    ended_before = sum(shared_workers().ended.values())
    assert before + 1 <= ended_before <= before + 4, (
        "two answers to each of two questions, none without form"
    )
    groups = evaluation_judge().score_rollouts(rollouts_PG)
    assert sum(shared_workers().ended.values()) == ended_before
    assert [[s.parts["accuracy"] for s in group.scores] for group in groups] == [
        [1.0, 0.0, 0.0]
    ] * 2


def test_only_mathematics_with_an_answer_is_handed_over(
    roller: Callable[..., RolloutSampler],
    problems: list[Problem],
    mathematics: list[Problem],
    params: SamplingParams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Pair] = []
    monkeypatch.setattr(verification, "grade", calls.extend)
    scripted = roller(lambda prompt, sample: SAID[sample])
    scripted(problems, 3, params, (1,))
    assert calls == []
    (_, second) = scripted([problems[0], mathematics[1]], 3, params, (1,))
    assert Counter((problem.id, answer) for problem, answer in calls) == Counter(
        (rollout.problem.id, rollout.answer) for rollout in second[:2]
    )


def test_a_verifier_that_cannot_work_stops_the_rollout(
    roller: Callable[..., RolloutSampler],
    mathematics: list[Problem],
    params: SamplingParams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(pairs: Sequence[Pair]) -> None:
        raise VerifierError("no process could be started")

    monkeypatch.setattr(verification, "grade", broken)
    with pytest.raises(VerifierError, match="no process"):
        roller(lambda prompt, sample: SAID[0])(mathematics, 1, params, (1,))


# Batches and counts ------------------------------------------------------------------------------


def test_the_problem_names_its_verifier() -> None:
    number, text = Problem("p", "2+3?", "5", "number"), Problem("t", "?", "Red", "exact")
    odd = Problem("x", "?", "five", "number")
    pairs = [
        (text, " red "),
        (number, " red "),
        (odd, "5"),
        (replace(number, verifier="math"), "5"),
    ]
    assert [result.score for result in grade(pairs)] == [1.0, 0.0, None, 1.0]
    assert grade([]) == []


def test_verifiers_that_wait_are_asked_side_by_side_and_order_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meet = threading.Barrier(2, timeout=10)

    def slow(pairs: Sequence[Pair]) -> list[Grade]:
        meet.wait()  # only passes if both batches are asked at once
        return [Grade(float(answer == problem.answer)) for problem, answer in pairs]

    for name in ("code", "math"):
        # Functions of their own: verifiers that share one share a batch.
        waiting = replace(catalog.VERIFIERS[name], grade=lambda pairs: slow(pairs))
        monkeypatch.setitem(catalog.VERIFIERS, name, waiting)
    pairs = [
        (Problem("p", "?", "5", verifier), answer)
        for verifier in ("code", "math", "code")
        for answer in ("5", "7")
    ]
    assert [result.score for result in grade(pairs)] == [1.0, 0.0] * 3


def test_rollouts_without_an_answer_are_not_graded(
    roller: Callable[..., RolloutSampler], mathematics: list[Problem], params: SamplingParams
) -> None:
    (rollouts,) = roller(lambda prompt, sample: SAID[sample])(mathematics[:1], 3, params, (1,))
    assert grade_rollouts(rollouts) == [Grade(1.0, "right"), Grade(0.0, "wrong"), None]


def test_verdicts_are_counted_by_family_and_reasons_follow() -> None:
    math, text = Problem("m", "?", "5", "math"), Problem("t", "?", "5", "exact")
    general = Problem("g", "Hello?", "", "no such verifier")
    labels = ["right", "unreadable/text_behind", "unreadable/box", "unreadable/box", None]
    counts = count_verdicts([(math, label) for label in labels] + [(text, None), (general, None)])
    assert list(counts) == ["math", "plain"], "a family without a verdict is there, with zeros"
    assert set(counts["plain"].values()) == {0}
    assert {verdict: count for verdict, count in counts["math"].items() if count} == {
        "right": 1,
        "unreadable": 3,
        "unreadable/box": 2,
        "unreadable/text_behind": 1,
    }
    assert list(counts["math"])[-2:] == ["unreadable/box", "unreadable/text_behind"]


def test_counts_of_batches_add_up() -> None:
    batches = [{"math": {"right": 1}}, {"math": {"right": 2, "wrong": 1}, "code": {"passed": 1}}]
    assert add_counts(batches) == {"math": {"right": 3, "wrong": 1}, "code": {"passed": 1}}
    assert add_counts([]) == {}
