"""Diagnoses: each fires on its own cause, once, and not on a healthy run."""

from dataclasses import replace
from typing import Any

import pytest

from dianoia.base.records import Completion, Group, Problem, Rollout, RolloutStatus, Score
from dianoia.judge.diagnosis import PATIENCE, Diagnosis, diagnose, diagnose_evaluation
from dianoia.judge.group_summary import BatchSummary, OneAnswer, summarize
from dianoia.text.template_fit import BetterTemplate

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
    """Return the diagnoses that a run would have printed, and after which batch."""
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
    diagnoses = fired([HEALTHY] * 5 + [sick] * 8)
    assert [(end, diagnosis.code) for end, diagnosis in diagnoses] == [(5 + PATIENCE, code)]
    assert ADVICE[code] in diagnoses[0][1].advice


@pytest.mark.parametrize("code", SICK)
def test_a_short_spell_is_not_told(code: str) -> None:
    sick = replace(HEALTHY, **SICK[code])
    assert fired(([HEALTHY] * 5 + [sick] * (PATIENCE - 1)) * 3) == []


@pytest.mark.parametrize("code", SICK)
def test_a_condition_that_returns_is_told_again(code: str) -> None:
    sick = replace(HEALTHY, **SICK[code])
    diagnoses = fired(([HEALTHY] * 5 + [sick] * PATIENCE) * 2)
    assert [diagnosis.code for _, diagnosis in diagnoses] == [code, code]


def test_a_condition_present_from_the_start_is_told() -> None:
    sick = replace(HEALTHY, **SICK["all_truncated"])
    assert [end for end, _ in fired([sick] * 6)] == [PATIENCE]


def test_format_names_the_broken_rule_with_an_example() -> None:
    sick = replace(HEALTHY, **SICK["format_never_met"])
    (_, diagnosis), = fired([sick] * PATIENCE)  # fmt: skip
    assert "text_after" in diagnosis.message and "Done." in diagnosis.message


def test_unreadable_gold_is_told_at_once_with_its_problems() -> None:
    sick = replace(HEALTHY, share_unparseable=0.1, unparseable_ids=("p-7", "p-9"))
    diagnoses = fired([HEALTHY, sick, sick, sick])
    assert [(end, diagnosis.code) for end, diagnosis in diagnoses] == [(2, "gold_unparseable")]
    assert "p-7, p-9" in diagnoses[0][1].message and "answer column" in diagnoses[0][1].advice


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
        constant_parts={"format": 1.0},
        rollouts=4,
    )


ONE = OneAnswer(answer="1", share=1.0, gold_share=0.625, problems=32)


@pytest.mark.parametrize(
    ("value", "reported"),
    [
        (ONE, True),  # the most common gold answer, always
        (replace(ONE, answer="0", gold_share=0.01), True),  # or any other one
        (replace(ONE, share=0.9), True),
        (replace(ONE, share=0.89), False),
        (replace(ONE, gold_share=0.95), False),  # the problems have one answer
        (replace(ONE, share=0.95, gold_share=0.9), False),
        (replace(ONE, problems=3), False),  # too few to tell
        (replace(ONE, answer="B", share=0.97, gold_share=0.25), True),
    ],
)
def test_one_answer_to_everything(value: OneAnswer, reported: bool) -> None:
    batch = replace(HEALTHY, one_answer=value)
    diagnoses = fired([HEALTHY] * 2 + [batch] * 6)
    assert [(end, d.code) for end, d in diagnoses] == (
        [(2 + PATIENCE, "one_answer")] if reported else []
    )
    at_once = diagnose_evaluation(batch, None)
    assert [d.code for d in at_once] == (["one_answer"] if reported else []), (
        "an evaluation has one batch"
    )
    if reported:
        assert (
            repr(value.answer) in diagnoses[0][1].message and "baseline" in diagnoses[0][1].advice
        )


def test_training_under_another_template_than_the_start_s_own() -> None:
    """Only the diagnosis of the form changes: the checkpoint's own record is surer than a guess."""
    sick = [replace(HEALTHY, **SICK["format_never_met"])] * PATIENCE
    (diagnosis,) = diagnose(sick, "r1")
    assert diagnosis.code == "format_never_met" and diagnosis.advice == (
        "the checkpoint was trained under the template 'r1': leave template out, or set it to 'r1'"
    )
    (without,) = diagnose(sick)
    assert "trained under" not in without.advice and without.message == diagnosis.message
    wrong = [replace(HEALTHY, **SICK["all_wrong"])] * PATIENCE
    assert diagnose(wrong, "r1") == diagnose(wrong)


def test_an_evaluation_under_another_template() -> None:
    sick = replace(HEALTHY, **SICK["format_never_met"])
    (diagnoses,) = diagnose_evaluation(sick, BetterTemplate("r1", 0.98, 0.02))
    assert diagnoses.code == "format_never_met" and "text_after" in diagnoses.message
    assert diagnoses.advice == "set template = 'r1', which 98% of the responses fit"
    (diagnoses,) = diagnose_evaluation(sick, None)
    assert "fine-tuned on the template" in diagnoses.advice
    # What the checkpoint says of itself is surer than what its responses look like.
    for other in (BetterTemplate("r1", 0.98, 0.02), None):
        (diagnoses,) = diagnose_evaluation(sick, other, trained="r1-prefilled")
        assert diagnoses.code == "format_never_met" and diagnoses.advice == (
            "the checkpoint was trained under the template 'r1-prefilled': leave template out, or set it to 'r1-prefilled'"
        )
    assert diagnose_evaluation(HEALTHY, None, trained="r1") == []
    (diagnoses,) = diagnose_evaluation(
        replace(HEALTHY, **SICK["all_truncated"]), BetterTemplate("r1", 0.1, 0.0)
    )
    assert diagnoses.code == "all_truncated" and diagnoses.advice.startswith("raise max_tokens")
    assert diagnose_evaluation(HEALTHY, BetterTemplate("r1", 0.9, 0.7)) == []
    assert diagnose_evaluation(HEALTHY, BetterTemplate("r1", 0.2, 0.0)) == []
    (diagnoses,) = diagnose_evaluation(HEALTHY, BetterTemplate("r1-zero", 0.97, 0.01))
    assert diagnoses.code == "template_misfit" and "99% of the responses" in diagnoses.message
    assert diagnoses.advice == "set template = 'r1-zero', which 97% of the responses fit"
    assert diagnose_evaluation(replace(HEALTHY, **SICK["all_wrong"]), None) == [], "hard, not sick"


CONSTANT = replace(HEALTHY, rollouts=16, constant_parts={"short": 0.0})


@pytest.mark.parametrize("name", ["short", "trl", "cosine", "judge", "random", "accuracy", "taste"])
@pytest.mark.parametrize("value", [0.0, 0.5, -1.0, None])
def test_a_part_of_the_reward_that_never_differs(name: str, value: float | None) -> None:
    batch = replace(CONSTANT, constant_parts={name: value})
    diagnoses = fired([HEALTHY] * 3 + [batch] * 6)
    assert [(end, d.code) for end, d in diagnoses] == [(3 + PATIENCE, "part_constant")]
    assert repr(name) in diagnoses[0][1].message
    assert ("no sample" if value is None else f"{value:g} for every sample") in diagnoses[0][
        1
    ].message


@pytest.mark.parametrize(
    "changes",
    [
        {"constant_parts": {"format": 1.0}},  # all that there is to earn
        {"constant_parts": {"language": 1.0, "tags": 1.0, "overlong": 0.0, "repetition": 0.0}},
        {"constant_parts": {"accuracy": 0.0}, **SICK["all_wrong"]},  # told as that
        {"constant_parts": {"accuracy": 1.0}, **SICK["all_right"]},
        {"constant_parts": {"accuracy": 0.0, "format": 0.0}, **SICK["format_never_met"]},
        {"constant_parts": {"accuracy": 0.0, "format": 0.0}, **SICK["all_truncated"]},
        {"constant_parts": {"accuracy": None}, "share_unparseable": 1.0},
        {"constant_parts": {}},
    ],
)
def test_what_another_diagnosis_says_or_nobody_minds(changes: dict[str, Any]) -> None:
    batch = replace(HEALTHY, rollouts=64, **changes)
    assert "part_constant" not in [d.code for _, d in fired([batch] * 8)]


@pytest.mark.parametrize("name", ["hard", "judge", "taste"])
def test_a_part_that_tells_problems_apart_and_not_samples(name: str) -> None:
    batch = replace(HEALTHY, rollouts=64, level_parts=(name,))
    (diagnoses,) = fired([HEALTHY] * 2 + [batch] * 6)
    assert (diagnoses[0], diagnoses[1].code) == (2 + PATIENCE, "part_constant")
    assert (
        f"{name!r} of the reward has been the same for all samples of each problem"
        in diagnoses[1].message
    )
    assert [end for end, _ in fired([replace(batch, rollouts=16)] * 12)] == [8], "128 samples"
    for solved in ("accuracy", "format", "language"):
        assert fired([replace(batch, level_parts=(solved,))] * 8) == []


def test_summarize_tells_constant_parts_from_those_of_problems() -> None:
    done = Completion((1,), (0.0,), True)
    groups = []
    for n in range(2):
        problem = Problem(f"p{n}", "?", "5", "number")
        rollouts = tuple(
            Rollout(problem, k, (1,), done, "", RolloutStatus.FINISHED, "", "5") for k in range(2)
        )
        parts = [
            {
                "same": 2.0,
                "hard": float(n),
                "short": float(k),
                "never": None,
                "some": None if n else 1.0,
            }
            for k in range(2)
        ]
        groups.append(Group(problem, rollouts, tuple(Score(0.0, part) for part in parts)))
    summary = summarize(1, groups, None)
    assert summary.constant_parts == {"same": 2.0, "never": None}
    assert summary.level_parts == ("hard", "some") and summary.rollouts == 4
    assert summarize(1, groups, None, relative=False).level_parts == ()


def test_a_part_is_constant_by_its_value_and_by_enough_samples() -> None:
    other = replace(CONSTANT, constant_parts={"short": 1.0})
    assert fired([CONSTANT, other] * 4) == [], "two values, one a rollout, tell rollouts apart"
    assert fired([CONSTANT] * 2 + [HEALTHY] + [CONSTANT] * 2) == []
    few = replace(CONSTANT, rollouts=4)
    assert [end for end, _ in fired([few] * 20)] == [8], "32 samples"
    combined = replace(CONSTANT, constant_parts={"short": 0.0, "long": 2.0})
    assert [(end, d.code) for end, d in fired([combined] * 8)] == [(3, "part_constant")] * 2
    assert [end for end, _ in fired([CONSTANT] * 4 + [HEALTHY] + [CONSTANT] * 4)] == [3, 8]


def test_where_advantages_are_not_relative_no_group_is_wasted() -> None:
    problem = Problem("p", "1+1?", "2", "number")
    completion = Completion((1,), (-0.5,), stopped=True)
    rollout = Rollout(problem, 0, (3,), completion, "2", RolloutStatus.FINISHED, "", "2")
    group = Group(problem, (rollout,), (Score(2.0, {"accuracy": 1.0}),))
    summaries = [
        summarize(step, [group], 0.0, relative=relative)
        for step, relative in enumerate((True, False))
    ]
    assert [summary.share_uniform_groups for summary in summaries] == [1.0, 0.0]
    assert [bool(fired([summary] * PATIENCE)) for summary in summaries] == [True, False]
