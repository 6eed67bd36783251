"""Rollouts are chosen evenly and within a budget of bytes, and show how many samples agree."""

from collections.abc import Callable

from dianoia.report.run_reader import load
from dianoia.report.sections.rollout_examples import (
    _evenly_spread,
    _within_budget,
    heldout_problems,
)
from dianoia.storage.run_directory import RunDirectory
from tests.unit.report.test_page import rewrite


def test_spread_keeps_the_ends() -> None:
    assert _evenly_spread(range(3), 6) == [0, 1, 2]
    assert _evenly_spread(range(100), 5) == [0, 25, 50, 74, 99]


def test_within_stays_below_its_budget() -> None:
    items = [{"text": "x" * 50} for _ in range(10)]
    assert len(_within_budget(items, 200)) == 3


def test_samples_with_the_same_answer_are_counted(make_run: Callable[..., RunDirectory]) -> None:
    run = make_run(problems=2)
    rewrite(run.stage("evaluation").rollouts("zero"), vote=3)
    for problem in heldout_problems(load(run))["problems"]:
        assert {sample["alike"] for sample in problem["samples"]["zero"]} == {16}
        base_samples = problem["samples"]["miniature-base"]
        assert {sample["alike"] for sample in base_samples} == {None}, "its file has no votes"
