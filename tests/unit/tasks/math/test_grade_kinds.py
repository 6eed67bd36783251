"""Every group of error with several examples; every form in which models write, for gold answers of every form."""

import pytest

from dianoia.tasks.math.grade import grade
from tests.unit.tasks.math.math_kinds import RIGHT, WRONG

MIN_ROWS = 5


def graded(row: tuple[str, ...]) -> str:
    gold, answer, *question = row
    return grade((gold, answer, *(question or [""])))  # type: ignore[arg-type]


def test_answers_that_say_something_else() -> None:
    verdicts = {(group, row): graded(row) for group, rows in WRONG.items() for row in rows}
    assert {
        case: verdict
        for case, verdict in verdicts.items()
        if verdict not in ("wrong", "too_large") and not verdict.startswith("unreadable: ")
    } == {}


def test_answers_that_say_the_same() -> None:
    verdicts = {(group, row): graded(row) for group, rows in RIGHT.items() for row in rows}
    assert {case: verdict for case, verdict in verdicts.items() if verdict != "right"} == {}


def test_every_gold_answer_equals_itself_in_every_wrapping() -> None:
    golds = sorted({row[0] for rows in (*RIGHT.values(), *WRONG.values()) for row in rows})
    for gold in golds:
        for form in (
            "{}",
            "${}$",
            r"\boxed{{{}}}",
            r"The answer is $\boxed{{{}}}$.",
            r"\[\boxed{{{}}}\]",
        ):
            assert grade((gold, form.format(gold), "")) == "right", form.format(gold)


def test_every_group_has_enough_rows() -> None:
    assert [
        group for table in (WRONG, RIGHT) for group, rows in table.items() if len(rows) <= MIN_ROWS
    ] == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "no answer"),
        (r"\boxed{}", "a box that is empty or not closed"),
        ("5\n6", "several lines without a box"),
        ("5@", "a character that mathematics does not use"),
        (r"\def\a{5}", "an unknown LaTeX command"),
        ("((5)", "brackets that do not close"),
        ("5-", "an operator without its terms"),
        ("5 6", "two numbers side by side"),
        ("5 roughly", "text after the number"),
        ("5 pears", "text after the number"),
        ("5_{99}", "a subscript or a prime that belongs to no name"),
        ("5,,6", "a list with a missing item"),
        ("x/2y", "a formula that can be read in two ways"),
        ("$5$^2", "dollar signs that do not pair"),
    ],
)
def test_the_judgement_gives_the_reason(answer: str, reason: str) -> None:
    assert grade(("5", answer, "How many?")) == f"unreadable: {reason}"


def test_a_unit_that_was_not_asked_for() -> None:
    assert grade(("5", "500 cm", "How many meters?")) == "unreadable: a unit that was not asked for"
    assert grade(("5", "5 cm", "How many centimeters?")) == "right"
