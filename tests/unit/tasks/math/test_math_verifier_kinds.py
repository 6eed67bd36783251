"""Every kind of fault with its siblings; every form in which models write, over gold answers of every form."""

import pytest

from dianoia.tasks.math.grade import grade
from tests.unit.tasks.math.math_kinds import RIGHT, WRONG

SIBLINGS = 5


def judged(row: tuple[str, ...]) -> str:
    gold, answer, *question = row
    return grade((gold, answer, *(question or [""])))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "row"), [(kind, row) for kind, rows in WRONG.items() for row in rows], ids=str
)
def test_what_says_something_else_is_not_right(kind: str, row: tuple[str, ...]) -> None:
    assert judged(row) in ("wrong", "too_large") or judged(row).startswith("unreadable: "), kind


@pytest.mark.parametrize(
    ("kind", "row"), [(kind, row) for kind, rows in RIGHT.items() for row in rows], ids=str
)
def test_what_says_the_same_is_right(kind: str, row: tuple[str, ...]) -> None:
    assert judged(row) == "right", kind


def test_every_gold_answer_is_right_beside_itself_in_every_wrapping() -> None:
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


def test_every_kind_has_siblings() -> None:
    assert [
        kind for table in (WRONG, RIGHT) for kind, rows in table.items() if len(rows) <= SIBLINGS
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
        ("5 roughly", "text behind the number"),
        ("5 pears", "text behind the number"),
        ("5_{99}", "a subscript or a prime that belongs to no name"),
        ("5,,6", "a list with an empty place"),
        ("x/2y", "a formula that can be read in two ways"),
        ("$5$^2", "dollar signs that do not pair"),
    ],
)
def test_the_judgement_says_why(answer: str, reason: str) -> None:
    assert grade(("5", answer, "How many?")) == f"unreadable: {reason}"


def test_a_unit_that_was_not_asked_for() -> None:
    assert grade(("5", "500 cm", "How many meters?")) == "unreadable: a unit that was not asked for"
    assert grade(("5", "5 cm", "How many centimeters?")) == "right"
