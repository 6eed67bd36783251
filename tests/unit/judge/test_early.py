"""Answers of mathematics are graded while others are drawn; nothing else is handed over."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from dianoia.base.errors import VerifierError
from dianoia.base.records import Problem, Rollout, SamplingParams
from dianoia.judge import early
from dianoia.judge.judge import evaluation_rubric, judge
from dianoia.sampler.rollouts import Roller
from dianoia.tasks.math import shared_workers

SAID = ("<think>a</think><answer>31.0</answer>", "<think>a</think><answer>32</answer>", "no form")


@pytest.fixture
def mathematics(problems: list[Problem]) -> list[Problem]:
    return [replace(problem, verifier="math", answer="31") for problem in problems]


def test_what_was_graded_early_is_not_asked_again(
    roller: Callable[..., Roller], mathematics: list[Problem], params: SamplingParams
) -> None:
    made = roller(lambda prompt, sample: SAID[sample])
    before = sum(shared_workers().ended.values())
    rollouts_PG = made(mathematics, 3, params, (1,))
    asked = sum(shared_workers().ended.values())
    assert before + 1 <= asked <= before + 4, (
        "two answers to each of two questions, none without form"
    )
    groups = judge(evaluation_rubric(), rollouts_PG)
    assert sum(shared_workers().ended.values()) == asked
    assert [[s.parts["accuracy"] for s in group.scores] for group in groups] == [
        [1.0, 0.0, 0.0]
    ] * 2


def test_only_mathematics_with_an_answer_is_handed_over(
    roller: Callable[..., Roller],
    problems: list[Problem],
    mathematics: list[Problem],
    params: SamplingParams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Rollout] = []
    monkeypatch.setattr(early, "grade_ahead", seen.extend)
    made = roller(lambda prompt, sample: SAID[sample])
    made(problems, 3, params, (1,))
    assert seen == []
    (_, second) = made([problems[0], mathematics[1]], 3, params, (1,))
    assert Counter(map(_named, seen)) == Counter(map(_named, second[:2]))


def _named(rollout: Rollout) -> tuple[str, str | None]:
    return rollout.problem.id, rollout.answer


def test_a_verifier_that_cannot_work_stops_the_rollout(
    roller: Callable[..., Roller],
    mathematics: list[Problem],
    params: SamplingParams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(rollouts: Sequence[Rollout]) -> None:
        raise VerifierError("no process could be started")

    monkeypatch.setattr(early, "grade_ahead", broken)
    with pytest.raises(VerifierError, match="no process"):
        roller(lambda prompt, sample: SAID[0])(mathematics, 1, params, (1,))
