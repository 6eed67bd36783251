"""Rollouts are chosen evenly and within a budget of bytes, and show how many samples agree."""

import json
from collections.abc import Callable

from dianoia.report.run_reader import load
from dianoia.report.sections.rollout_examples import (
    _evenly_spread,
    _within_budget,
    heldout_problems,
    training_groups,
)
from dianoia.storage.run_directory import RunDirectory
from tests.unit.report.test_page import edit, rewrite


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


def test_every_part_of_a_reward_is_shown_with_its_weight(
    make_run: Callable[..., RunDirectory],
) -> None:
    run = make_run(problems=1)
    parts = {"format": 1.0, "helpful": 4.01, "broken": None}
    edit(
        run.recipe,
        lambda r: r["stages"]["zero"].update(
            preferences={"helpful": "model", "helpful_weight": 0.5, "safety": None}
        ),
    )
    for path in run.stage("zero").rollout_files():
        rewrite(path, parts=json.dumps(parts), reward=3.005)
    (stage,) = training_groups(load(run))["stages"]
    assert stage["weights"] == {"accuracy": 1.0, "format": 1.0, "helpful": 0.5}
    samples = [s for step in stage["steps"] for group in step["groups"] for s in group["samples"]]
    assert {(s["reward"], tuple(s["parts"].items())) for s in samples} == {
        (3.005, (("format", 1.0), ("helpful", 4.01)))
    }
    # Files without that column have the paper's two rules.
    problem = heldout_problems(load(run))["problems"][0]
    assert set(problem["samples"]["zero"][0]["parts"]) == {"accuracy", "format"}
