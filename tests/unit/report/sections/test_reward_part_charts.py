"""Pieces of the report whose rules are worth stating on their own."""

import re
from types import SimpleNamespace
from typing import cast

import pytest

from dianoia.report.figures import thin
from dianoia.report.html_values import amount, duration, embed, plain
from dianoia.report.run_reader import Stage, number
from dianoia.report.sections import curves
from dianoia.report.sections.rollout_examples import _spread, _within
from dianoia.text.reflection import PATTERN, reflection_words

TEXTS = (
    "Wait, let me check. But 12 is wrong; however, retry.",
    "waiting, mistaken, recheck, butter, checkout, unchecked, errorless",
    "Verified, verifies, VERIFYING errors; evaluated and evaluates mistakes. double-check check3",
    "等等，检查一下。但是12不对。重新算，但12错了，错误。不过验证、检验、核对、评估、重试，然而等一下",
    "不错，不但如此，对不对，只不过，不但是",
    "",
)


@pytest.mark.parametrize("text", TEXTS)
def test_marked_words_are_those_that_are_counted(text: str) -> None:
    marked = re.findall(PATTERN, text, re.IGNORECASE)
    assert len(marked) == reflection_words(text).total()


def test_the_pattern_has_no_groups_and_nothing_javascript_lacks() -> None:
    assert re.compile(PATTERN).groups == 0
    assert not re.search(r"\(\?P|\(\?>|[+*?]\+|\\[AZ]", PATTERN)


def test_thin_averages_neighbours() -> None:
    points = [(float(i), 2.0 * i) for i in range(10)]
    assert thin(points, 10) == points
    assert thin(points, 5) == [(0.5, 1.0), (2.5, 5.0), (4.5, 9.0), (6.5, 13.0), (8.5, 17.0)]
    assert thin([], 5) == []


def test_number_is_finite_or_none() -> None:
    assert number(1) == 1.0 and number(0.5) == 0.5
    for value in (None, True, "1", float("nan"), float("inf"), [1]):
        assert number(value) is None


def test_embedded_json_cannot_leave_its_script() -> None:
    told = embed({"a": "</script><!--<script>&"})
    assert not re.search("[<>&]", told)
    assert "</script>" in eval(told, {})["a"]  # noqa: S307


def test_values_are_written_for_people() -> None:
    assert amount("pass@1", 0.914) == "91.4\u00a0%" and amount("thought_tokens", 58.66) == "58.7"
    assert [plain(v) for v in (0, 0.0004, 0.25, 3.14159, 1234.5)] == [
        "0",
        "0.0004",
        "0.25",
        "3.14",
        "1,234",
    ]
    assert [duration(s) for s in (0.2, 59.6, 187.4, 7265, None)] == [
        "0.2 s", "60 s", "3 min 07 s", "2 h 01 min", "unknown",
    ]  # fmt: skip


def test_spread_keeps_the_ends() -> None:
    assert _spread(range(3), 6) == [0, 1, 2]
    assert _spread(range(100), 5) == [0, 25, 50, 74, 99]


def test_within_stays_below_its_budget() -> None:
    items = [{"text": "x" * 50} for _ in range(10)]
    assert len(_within(items, 200)) == 3


@pytest.mark.parametrize("value", [False, True])
def test_a_value_model_has_charts_where_there_is_one(value: bool) -> None:
    told = {"explained_variance": 0.5, "value_loss": 0.1, "values/mean": 1.0} if value else {}
    rows = [{"step": step, "loss": 0.1, **told} for step in (1, 2)]
    stage = SimpleNamespace(rows=rows)
    titles = [chart.title for chart in curves.charts(cast(Stage, stage), curves.VALUE)]
    drawn = ["Explained variance", "Value loss", "Values and advantages"]
    assert titles == (drawn if value else [])
