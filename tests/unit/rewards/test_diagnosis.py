"""Diagnoses: each fires on its own cause, once, and not on a healthy run."""

from dataclasses import replace
from typing import Any

import pytest

from dianoia.base.records import Completion, Group, Problem, Rollout, RolloutStatus, Score
from dianoia.rewards.diagnosis import PATIENCE, Diagnosis, diagnose
from dianoia.rewards.summary import BatchSummary, summarize

HEALTHY = BatchSummary(
    step=0,
    share_truncated=0.1,
    share_malformed=0.2,
    common_fault="text_after",
    fault_example="<think>a</think><answer>5</answer> Done.",
    share_uniform_groups=0.3,
    mean_accuracy=0.5,
    mean_format=0.7,
    share_unparseable=0.0,
    unparseable_ids=(),
    mean_thought_tokens=30.0,
    share_empty_thoughts=0.0,
    mean_reward=1.2,
)
SICK: dict[str, dict[str, Any]] = {
    "all_truncated": {
        "share_truncated": 0.95, "mean_format": 0.0, "mean_accuracy": 0.0,
        "share_uniform_groups": 1.0, "mean_thought_tokens": None, "share_malformed": 0.05,
    },
    "format_never_met": {
        "share_malformed": 1.0, "share_truncated": 0.0, "mean_format": 0.0, "mean_accuracy": 0.0,
        "share_uniform_groups": 1.0, "mean_thought_tokens": None,
    },
    "all_wrong": {"share_uniform_groups": 1.0, "mean_accuracy": 0.0, "mean_format": 0.8},
    "all_right": {"share_uniform_groups": 1.0, "mean_accuracy": 1.0, "mean_format": 1.0},
    "groups_uniform": {"share_uniform_groups": 0.97, "mean_accuracy": 0.5},
    "thoughts_collapsed": {
        "mean_format": 1.0, "mean_accuracy": 0.02, "mean_thought_tokens": 7.0,
        "share_empty_thoughts": 0.2,
    },
}  # fmt: skip
ADVICE = {
    "all_truncated": "raise sampling.max_tokens",
    "format_never_met": "template",
    "all_wrong": "lower the difficulty",
    "all_right": "raise the difficulty",
    "groups_uniform": "sampling.temperature",
    "thoughts_collapsed": "lower the weight of the format rule",
}


def fired(history: list[BatchSummary]) -> list[tuple[int, Diagnosis]]:
    """What a run would have been told, and after which batch."""
    return [
        (end, diagnosis)
        for end in range(1, len(history) + 1)
        for diagnosis in diagnose(history[:end])
    ]


def test_a_healthy_run_hears_nothing() -> None:
    assert fired([HEALTHY] * 10) == []


@pytest.mark.parametrize("code", SICK)
def test_a_condition_is_told_once_when_it_has_lasted(code: str) -> None:
    sick = replace(HEALTHY, **SICK[code])
    told = fired([HEALTHY] * 5 + [sick] * 8)
    assert [(end, diagnosis.code) for end, diagnosis in told] == [(5 + PATIENCE, code)]
    assert ADVICE[code] in told[0][1].advice


@pytest.mark.parametrize("code", SICK)
def test_a_short_spell_is_not_told(code: str) -> None:
    sick = replace(HEALTHY, **SICK[code])
    assert fired(([HEALTHY] * 5 + [sick] * (PATIENCE - 1)) * 3) == []


@pytest.mark.parametrize("code", SICK)
def test_a_condition_that_returns_is_told_again(code: str) -> None:
    sick = replace(HEALTHY, **SICK[code])
    told = fired(([HEALTHY] * 5 + [sick] * PATIENCE) * 2)
    assert [diagnosis.code for _, diagnosis in told] == [code, code]


def test_a_condition_present_from_the_start_is_told() -> None:
    sick = replace(HEALTHY, **SICK["all_truncated"])
    assert [end for end, _ in fired([sick] * 6)] == [PATIENCE]


def test_format_names_the_broken_rule_with_an_example() -> None:
    sick = replace(HEALTHY, **SICK["format_never_met"])
    (_, diagnosis), = fired([sick] * PATIENCE)  # fmt: skip
    assert "text_after" in diagnosis.message and "Done." in diagnosis.message


def test_unreadable_gold_is_told_at_once_with_its_problems() -> None:
    sick = replace(HEALTHY, share_unparseable=0.1, unparseable_ids=("p-7", "p-9"))
    told = fired([HEALTHY, sick, sick, sick])
    assert [(end, diagnosis.code) for end, diagnosis in told] == [(2, "gold_unparseable")]
    assert "p-7, p-9" in told[0][1].message and "answer column" in told[0][1].advice


def test_blank_thoughts_are_a_collapse_even_if_they_never_were_longer() -> None:
    blank = replace(HEALTHY, **SICK["thoughts_collapsed"] | {"share_empty_thoughts": 0.9})
    assert [diagnosis.code for _, diagnosis in fired([blank] * 5)] == ["thoughts_collapsed"]


def test_short_thoughts_that_are_right_or_were_always_short_are_no_collapse() -> None:
    short = replace(HEALTHY, **SICK["thoughts_collapsed"])
    assert fired([short] * 8) == []
    assert fired([HEALTHY] * 5 + [replace(short, mean_accuracy=0.9)] * 8) == []


def test_summarize() -> None:
    problems = [Problem(f"p{i}", "?", "5", "number") for i in range(2)]
    ended, cut = Completion((5, 2), (0.0, 0.0), True), Completion((5,), (0.0,), False)
    states = RolloutStatus
    good = Rollout(problems[0], 0, (1,), ended, "t", states.FINISHED, "a b c", "5")
    blank = Rollout(problems[0], 1, (1,), ended, "t", states.FINISHED, " ", "5")
    bad = Rollout(problems[1], 0, (1,), ended, "x" * 999, states.MALFORMED, fault="no_tags")
    long = Rollout(problems[1], 1, (1,), cut, "t", states.TRUNCATED)
    unread = Score(1.0, {"accuracy": None, "format": 1.0})
    groups = [
        Group(problems[0], (good, blank), (unread, Score(2.0, {"accuracy": 1.0, "format": 1.0}))),
        Group(problems[1], (bad, long), (Score(0.0, {"accuracy": 0.0}),) * 2),
    ]
    assert summarize(7, groups, 1.5) == BatchSummary(
        step=7,
        share_truncated=0.25,
        share_malformed=0.25,
        common_fault="no_tags",
        fault_example="x" * 200,
        share_uniform_groups=0.5,
        mean_accuracy=1 / 3,
        mean_format=0.5,
        share_unparseable=0.25,
        unparseable_ids=("p0",),
        mean_thought_tokens=1.5,
        share_empty_thoughts=0.5,
        mean_reward=0.75,
    )


def test_where_advantages_are_not_relative_no_group_is_wasted() -> None:
    problem = Problem("p", "1+1?", "2", "number")
    completion = Completion((1,), (-0.5,), stopped=True)
    rollout = Rollout(problem, 0, (3,), completion, "2", RolloutStatus.FINISHED, "", "2")
    group = Group(problem, (rollout,), (Score(2.0, {"accuracy": 1.0}),))
    told = [
        summarize(step, [group], 0.0, relative=relative)
        for step, relative in enumerate((True, False))
    ]
    assert [summary.share_uniform_groups for summary in told] == [1.0, 0.0]
    assert [bool(fired([summary] * PATIENCE)) for summary in told] == [True, False]
