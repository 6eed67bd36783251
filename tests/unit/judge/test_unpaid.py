"""A reward function that pays nothing for well-formed responses is reported with what it looks for."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import pytest

from dianoia.base.records import Completion, Problem, Rollout, RolloutGroup, RolloutStatus
from dianoia.judge.completion_text import CompletionText
from dianoia.judge.diagnosis import PATIENCE, diagnose
from dianoia.judge.functions import Form, Function, FunctionPart
from dianoia.judge.group_summary import summarize
from dianoia.judge.judge import Judge
from dianoia.judge.reward_part import ScoringState
from dianoia.judge.rules import Rule
from dianoia.judge.unpaid import unpaid
from dianoia.metrics.history import History
from dianoia.text.template import TEMPLATES

PROBLEM = Problem("a", "2+3?", "5", "number")
WELL_FORMED = "<think>\nso\n</think>\n<answer>5</answer>"
PATTERN = re.compile(r"^(?P<body><reasoning>.*</reasoning>)$", re.DOTALL)


def rollout(sample: int, text: str, formed: bool = True, right: bool = True) -> Rollout:
    completion = Completion((4, 5, 2), (-0.1,) * 3, True)
    status = RolloutStatus.FINISHED if formed else RolloutStatus.MALFORMED
    answer = ("5" if right else "6") if formed else None
    return Rollout(PROBLEM, sample, (9,), completion, text, status, "so", answer, None if formed else "no_tags")  # fmt: skip


def scored(part: FunctionPart, rollouts: Sequence[Rollout]) -> list[Any]:
    right = Rule("accuracy", lambda r: float(r.answer == "5"), weight=1.0)
    groups = [RolloutGroup(PROBLEM, tuple(rollouts))]
    return Judge([right, part]).score(groups, ScoringState(0, 10))


def part_of(call: Callable[..., Any], form: Form = "messages") -> FunctionPart:
    return FunctionPart(
        Function("mine", call, "my.py:mine", form), 1.0, CompletionText(TEMPLATES["r1-zero"])
    )


def measured(call: Callable[..., Any], form: Form = "messages", **kinds: Any) -> Any:
    rollouts = [rollout(sample, WELL_FORMED, **kinds) for sample in range(20)]
    part = part_of(call, form)
    return unpaid(part, scored(part, rollouts))


# What functions look for, written as open-r1 and TRL write them --------------------------------------


def with_line_breaks(completions: Any, **kwargs: Any) -> list[float]:
    pattern = r"^<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>$"
    contents = [completion[0]["content"] for completion in completions]
    return [float(bool(re.match(pattern, text, re.DOTALL))) for text in contents]


def by_count(completions: Any, **kwargs: Any) -> list[float]:
    """Counts; <reasoning> in a docstring is not looked for."""

    def count(text: str) -> float:
        """Nor is <solution> in an inner one."""
        return float(text.count("\n<answer>\n") == 1 and text.count("\n</answer>") == 1)

    return [count(completion[0]["content"]) for completion in completions]


def other_tags(completions: Any, **kwargs: Any) -> list[float]:
    return [float(bool(PATTERN.match(completion[0]["content"]))) for completion in completions]


def helper(text: str) -> bool:
    return "</reasoning>" in text


def by_a_helper(completions: Any, **kwargs: Any) -> list[float]:
    return [float(helper(completion[0]["content"])) for completion in completions]


def factory(tag: str) -> Callable[..., list[float]]:
    def in_a_cell(completions: Any, **kwargs: Any) -> list[float]:
        return [float(tag in completion[0]["content"]) for completion in completions]

    return in_a_cell


class Counting:
    def __call__(self, completions: Any, **kwargs: Any) -> list[float]:
        return [float("<solution>" in completion[0]["content"]) for completion in completions]


def for_texts(completions: Any, **kwargs: Any) -> list[float]:
    return [float("</think>" in completion) for completion in completions]


class LatexExtractionConfig:
    """As math-verify's is named."""


def in_latex(completions: Any, solution: Any, **kwargs: Any) -> list[float]:
    LatexExtractionConfig()
    return [float("boxed" in completion[0]["content"]) for completion in completions]


def nothing(completions: Any, **kwargs: Any) -> list[float]:
    return [0.0 for completion in completions if completion[0]["content"]]


@pytest.mark.parametrize(
    ("call", "cause"),
    [
        (with_line_breaks, r"'<answer>\n', which, with this line break, 0% of them have"),
        (by_count, r"'\n<answer>\n', which, with this line break, 0%"),
        (other_tags, "'<reasoning>', which 0% of them have"),
        (by_a_helper, "'</reasoning>', which 0%"),
        (factory("<final>"), "'<final>', which 0%"),
        (partial(Counting()), "'<solution>', which 0%"),
        (for_texts, "lists of messages, and it never reads their content"),
        (in_latex, "LaTeX alone"),
    ],
)
def test_the_likely_cause(call: Callable[..., Any], cause: str) -> None:
    result = measured(call)
    assert result.is_wrong and result.share == 1 and result.responses == 20
    assert cause in result.cause and result.advice, result.cause
    assert result.example == repr(WELL_FORMED[:60])
    # A cause is enough: nothing need be right.
    assert measured(call, right=False).is_wrong


def test_the_other_form_is_advised() -> None:
    assert 'form = "text"' in measured(for_texts).advice
    assert measured(for_texts, "text").share == 0 and not measured(for_texts, "text").is_wrong


def test_zero_for_right_answers_is_reported_without_a_cause_and_for_wrong_ones_is_not() -> None:
    result = measured(nothing)
    assert result.is_wrong and (result.cause, result.right) == ("", 20)
    assert not measured(nothing, right=False).is_wrong


@pytest.mark.parametrize(
    "call",
    [
        lambda completion_ids, **_: [0.0] * len(completion_ids),
        lambda completions, **_: [None] * len(completions),
        lambda completions, **_: [0.0] * 19 + [-1.0],
        lambda completions, **_: [0.0] * 18 + [1.0] * 2,
        with_line_breaks,
    ],
)
def test_what_is_in_order_is_not_reported(call: Callable[..., Any]) -> None:
    """A penalty, one about ids, one that does not apply, one that pays some; zeros for malformed responses."""
    result = measured(call, formed=call is not with_line_breaks)
    assert result is None or not result.is_wrong


# When it is reported --------------------------------------------------------------------------------


def codes(
    history: History, part: FunctionPart, samples: int, batches: int
) -> list[tuple[int, str]]:
    groups = scored(part, [rollout(sample, WELL_FORMED) for sample in range(samples)])
    return [
        (batch, diagnosis.code)
        for batch in range(batches)
        for diagnosis in history.rollout(batch, groups, None)
        if diagnosis.code in ("function_pays_nothing", "part_constant")
    ]


@pytest.mark.parametrize(("samples", "batch"), [(1024, 0), (128, 1), (16, 2), (8, 3)])
def test_a_large_batch_is_reported_at_once_and_small_ones_when_they_last(
    samples: int, batch: int
) -> None:
    """1,024 well-formed samples, each paid 0, never pass without a word; and the word comes once."""
    part = part_of(with_line_breaks)
    history = History(functions=[part])
    assert codes(history, part, samples, 8) == [(batch, "function_pays_nothing")]


def test_the_message_names_function_cause_and_example() -> None:
    part = part_of(with_line_breaks)
    batch = summarize(
        0, scored(part, [rollout(n, WELL_FORMED) for n in range(300)]), None, functions=[part]
    )
    (diagnosis,) = (d for d in diagnose([batch]) if d.code == "function_pays_nothing")
    for words in (
        "'mine' pays 0 for 100%",
        "300 in this rollout, 300 of them right",
        r"'<answer>\n'",
        "<think>",
    ):
        assert words in diagnosis.message, words
    assert "[templates.NAME]" in diagnosis.advice
    assert diagnose([batch, replace(batch, step=1)]) == []


def test_a_resumed_history_reports_what_an_uninterrupted_one_does() -> None:
    part = part_of(with_line_breaks)
    first = History(functions=[part])
    assert codes(first, part, 16, PATIENCE - 1) == []
    second = History(functions=[part])
    second.load_state(first.state())
    assert second.batches == first.batches and asdict(second.batches[0])["unpaid"]["mine"]
    assert codes(second, part, 16, 1) == [(0, "function_pays_nothing")]
