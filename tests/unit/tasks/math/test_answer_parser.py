"""From the text of an answer to its readings: extraction, tokens, trees; no text raises another error."""

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dianoia.tasks.math.answer_parser import readings
from dianoia.tasks.math.extract import bare_answer
from dianoia.tasks.math.grade import grade
from dianoia.tasks.math.lexer import tokenize
from dianoia.tasks.math.nodes import Bracketed, Listing, Name, Number, Product, Quantity, Words
from dianoia.tasks.math.repetition import token_texts
from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable

NO_DEADLINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PIECES = [r"\frac", r"\sqrt", r"\boxed{", r"}", r"{", r"(", r")", r"[", r"]", r"^", r"_", r"!", r"+", r"-", r"*", r"/", r"=", r"<", r">", r",", r".", r"$", r"&", r"\\", r"x", r"y", r"i", r"e", r"1", r"2", r"99", r"0.5", r"1,234", r"\pi", r"\infty", r"\cup", r"\text{", r"cm", r"or", r"and", r"million", r"%", r"\pm", r"\left(", r"\right)", r"\begin{pmatrix}", r"\end{pmatrix}", r"\approx", r"'", r"|", r"\{", r"\}", r":", r";", r"°", r"²", r"万", r"和", r"\in", r"\log_2", r"\sin"]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{1} then \boxed{2}", r"\boxed{1}, \boxed{2}"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"answer is 4, \boxed{5}", r"answer is 4, \boxed{5}"),
        ("The answer is 5.", "5."),
        ("The answer is 5. I hope it is correct.", "5"),
        ("Final Answer: The final answer is $72$. I hope it is correct.", "$72$"),
        ("The answer is not 5. The answer is 72.", "72."),
        ("Answer: 4\nso the answer is: 5", "4; 5"),
        ("Answer: 5\nThe answer is 5", "5"),
        ("#### 72", "72"),
        ("## Answer\n\n72", "72"),
        ("5", "5"),
    ],
)
def test_the_bare_answer_is_extracted(text: str, bare: str) -> None:
    assert bare_answer(text) == bare


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("5\n6", Reason.SEVERAL_LINES),
        (r"\boxed{}", Reason.BOX),
        (r"\boxed{5", Reason.BOX),
        ("Answer: 5. Wait, no", Reason.TEXT_BEHIND),
        ("", Reason.NOTHING),
    ],
)
def test_texts_without_an_answer(text: str, reason: Reason) -> None:
    with pytest.raises(Unreadable) as refusal:
        bare_answer(text)
    assert refusal.value.reason is reason


def test_a_long_text_is_refused() -> None:
    with pytest.raises(TooLarge):
        bare_answer("5" * 20_001)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,234", [1234]),
        ("1,234,567", [1234567]),
        ("1, 234", [1, 234]),
        ("1,234,5", [1, 234, 5]),
        ("1,234, 5,678", [1234, 5678]),
        ("1,234 and 5,678", [1234, 5678]),
        ("(1,234)", [1, 234]),
        ("(1,234, 5,678)", [1234, 5678]),
        (r"\frac{1,234}{5}", [1234, 5]),
        (r"1\,234\,567", [1234567]),
        ("32,\\! 349", [32349]),
        ("12 34", [12, 34]),
        ("000,123", [0, 123]),
        ("2e-1", [2, 1]),
        ("2.0e-1", [Fraction(1, 5)]),
    ],
)
def test_numbers(text: str, values: list[Fraction]) -> None:
    assert [token.value for token in tokenize(text) if token.kind == "number"] == values


def test_ambiguous_answers_have_two_readings() -> None:
    assert [reading.rule for reading in readings("5 m")] == ["ordinary", "unit letters", "spelled"]
    assert [type(reading.node) for reading in readings("5 m")] == [Product, Quantity, Words]
    assert [type(reading.node) for reading in readings("200,100")] == [Number, Listing]
    assert [type(reading.node) for reading in readings("AB")] == [Product, Words]
    assert [type(reading.node) for reading in readings("(C)")] == [Name, Words]
    assert [type(reading.node) for reading in readings("(200,100)")] == [Bracketed]


def test_backtracking_restores_the_tokens() -> None:
    assert grade((r"\frac{6ac}{b}", r"6\frac{a}bc", "")) == "right"
    assert grade((r"\frac{6a}{c}", r"6\frac{a}bc", "")) == "wrong"


def test_token_texts_of_a_question() -> None:
    assert token_texts(r"What is $17\times \frac12$, @?") == [
        "What",
        "is",
        "17",
        "*",
        "frac",
        "1",
        "/",
        "2",
        ",",
    ]


@NO_DEADLINE
@given(st.text(max_size=200))
def test_no_text_breaks_the_grader(text: str) -> None:
    assert grade(("5", text, text)).partition(":")[0] in (
        "right",
        "wrong",
        "unreadable",
        "too_large",
        "repeated",
    )


@NO_DEADLINE
@given(st.lists(st.sampled_from(PIECES), max_size=24))
def test_no_formula_breaks_the_grader(pieces: list[str]) -> None:
    text = " ".join(pieces)
    assert grade((r"\sqrt{2}", text, text)).partition(":")[0] in (
        "right",
        "wrong",
        "unreadable",
        "too_large",
        "repeated",
    )
    if grade((text, text, "")) != "gold_unreadable":
        assert grade((text, text, "")) == "right"


@NO_DEADLINE
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8), st.integers(-999, 999))
def test_nothing_after_a_number_is_overlooked(pieces: list[str], number: int) -> None:
    """An answer that is a number and anything after it equals at most one number."""
    answer = f"{number} {' '.join(pieces)}"
    golds = [
        gold
        for gold in (number, number + 1, -number - 1)
        if grade((str(gold), answer, "")) == "right"
    ]
    assert len(golds) <= 1
