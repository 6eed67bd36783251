"""Grade the graders: labelled pairs for every verifier, and hostile strings in bounded time."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianoia.base.records import Problem
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.short_answers.number_and_text import (
    MAX_NUMBER_CHARS,
    exact,
    number,
    parse_number,
)
from dianoia.tasks.verifier import GradeFunction

SAME = [
    ("5", "5"), ("5", " 5\n"), ("5", "5."), ("5", "5.0"), ("5", "+5"), ("5", "005"), ("5", "5。"),
    ("-5", "-5"), ("-5", "\u22125"), ("-5", "－５"), ("0", "-0"), ("5", "10/2"), ("5", "10 / 2"),
    ("0.5", "1/2"), ("0.5", ".5"), ("1/2", "2/4"), ("1/2", "0.50"), ("-1/2", "-0.5"),
    ("1234", "1,234"), ("1,234", "1234"), ("1,234,567.5", "1234567.5"), ("1234", "１，２３４"),
    ("50%", "50%"), ("50%", "50 %"), ("50%", "50"), ("50%", "0.5"), ("50%", "1/2"), ("0.5", "50%"),
    ("50％", "50"), ("1e3", "1000"), ("1000", "1E3"), ("0.001", "1e-3"), ("12", "１２"),
    ("0.1", "0.10"), ("1" * 200, "1" * 200), ("100%", "1"), ("-50%", "-50"),
    ("5", "$5"), ("5", "\\$5"), ("5", "$5$"), ("5", "$5$."), ("5", "$5.00"), ("-5", "-$5"), ("$5", "5"),
    ("5", "\\(5\\)"), ("5", "\\[5\\]"), ("5", "$$5$$"), ("5", "\\boxed{5}"), ("5", "$\\boxed{5}$"), ("5", "$\\boxed{5}$."),
    ("5", "\\boxed{\\text{5}}"), ("5", "\\fbox{5}"), ("5", "\\mathbf{5}"), ("5", "**5**"), ("5", "**5.**"), ("5", "*5*"), ("5", "`5`"),

    ("1234", "1{,}234"), ("1234", "1,\\!234"), ("1234567", "1,\\! 234,\\! 567"), ("1234", "$1,234"), ("50%", "50\\%"), ("50%", "$50\\%$"),
    ("0.5", "\\frac{1}{2}"), ("0.5", "\\dfrac12"), ("1/2", "$\\tfrac{2}{4}$"), ("-0.5", "-\\frac 1 2"), ("\\frac{3}{4}", "0.75"), ("5", "\\boxed{\\frac{10}{2}}"),
]  # fmt: skip
DIFFERENT = [
    ("5", "6"), ("5", "-5"), ("5", "5.0001"), ("1/3", "0.333"), ("50", "50%"), ("50%", "5000%"),
    ("1/2", "2/1"), ("100", "101"), ("0.1", "0.1000000000000000001"), ("5", "0.05"),
    ("10000000000000001", "10000000000000000"), ("50%", "0.5%"), ("0.5", "\\frac{2}{1}"), ("0.12", "\\frac12"),
]  # fmt: skip
JUNK = [
    "", " ", ".", "-", "+", "%", "/", "five", "5 apples", "5 or 6", "x=5", "2+3", "2+3=5",
    "5 6", "5,", "12,34", "1,2345", ",123", "1,23,456", "5..", "..5", "5.5.5",
    "--5", "- 5", "5-", "5/0", "0/0", "1/-2", "1/2/3", "1 1/2", "1.5/2", "1/2e3", "5%%", "%5",
    "1_000", "0x5", "1e999", "1e", "e5", "inf", "nan", "Infinity", "5²", "½", "1½", "٥", "五", "Ⅴ",
    "5j", "(5)", "[5]", "{5}", "5\u200b", "5\n6", "5\x00", "<answer>5",
    "__import__('os')", "9**9**9", "9^9^9^9",
    "not 5", "5?", "~5", "≈5", "about 5", "5 million", "$5 million", "5 dollars", "$5$, 6", "$5$6", "$5$+6", "5$", "$$5", "5$6", "5_{6}", "5'",
    "5!", "5^2", "\\boxed{5} or 6", "\\boxed{6} \\boxed{5}", "\\boxed{5", "\\boxed{}", "\\boxed{5}6", "-\\boxed{5}", "\\text{not 5}", "5\\text{ or 6}",
    "5\\text{ cm}", "\\cancel{5}", "~~5~~", "**5** or **6**", "the answer is not 5", "The answer is 5 or 6", "the answer is 5. No, 6", "answer: 5, 6",
    "5€", "5°", "\\phantom{6}5", "5 % 6", "5\\%6", "1{,}23", "1,\\!2345", "\u202e5", "5\u03387", "(5 points lost)", "minus 5", "1\\frac12", "\\frac{5}{0}", "\\frac{10}{2}5", "\\frac510", "\\frac{5}", "\\frac{5x}{1}", "\\frac{-5}{1}", "\\sqrt{25}", "the answer is 5", "The answer is $5$.", "Answer: 5", "**Answer:** 5", "#### 5", "答案是5。", "5i", "5 i", "5e",
]  # fmt: skip
HOSTILE = ["9" * 5_000_000, "1e" + "9" * 100_000, "1/" + "0" * 1_000_000, "," * 1_000_000,
           "1," * 500_000, " " * 1_000_000 + "5", "5" + "." * 1_000_000, "-" * 1_000_000,
           "9" * (MAX_NUMBER_CHARS - 3) + "e99",
           "\U0001d7d8" * 10**6, "\ufdfa" * 10**6]  # fmt: skip


def verdict(verify: GradeFunction, gold: str, answer: str) -> float | None:
    return verify(Problem("p", "?", gold, "any"), answer)


def test_equal_numbers() -> None:
    assert [pair for pair in SAME if verdict(number, *pair) != 1.0] == []


def test_different_numbers() -> None:
    assert [pair for pair in DIFFERENT if verdict(number, *pair) != 0.0] == []


def test_junk_is_wrong_as_an_answer_and_unreadable_as_gold() -> None:
    assert [junk for junk in JUNK if verdict(number, "5", junk) != 0.0] == []
    assert [junk for junk in JUNK if verdict(number, junk, "5") is not None] == []


APPLES = "Tom has 3 apples and 2 pears. How many apples does he buy? A pear costs $4."
ASKED = [
    ("29 apples", APPLES), ("29 apple", APPLES), ("$29$ apples", APPLES), ("\\boxed{29} apples", APPLES), ("**29** apples", APPLES),
    ("**29 apples**", APPLES), ("29\\text{ apples}", APPLES), ("\\boxed{29\\text{ apples}}", APPLES), ("29 apples.", APPLES),
    ("29 dollars", "It costs $3. How much does he pay?"), ("$29 dollars", "How many dollars?"),
    ("29 minutes", "How many minutes does it take?"), ("29 minutes", "How long does it take, in minutes?"),
    ("29 blue marbles", "What is the number of blue marbles?"), ("€29", "How many € does it cost?"), ("29 km", "How far is it, in km?"),
]  # fmt: skip
NOT_ASKED = [
    ("29 pears", APPLES), ("29 apples or 30", APPLES), ("29 apples and 3 pears", APPLES), ("29 million apples", APPLES), ("29 dozen apples", APPLES),
    ("29 half apples", APPLES), ("30 apples", APPLES), ("29 more", "How many more?"), ("29 not apples", APPLES), ("€29", APPLES),
    ("29 dollars", APPLES), ("29 cents", "How many dollars and cents?"), ("29 minutes", "How many hours and minutes?"), ("29 hundred", "How many hundred?"),
    ("29 cents", "It costs $3. How much does he pay?"), ("29 percent", "How many percent?"), ("29 i", "How many i?"), ("29 dollars", ""),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "question"), ASKED)
def test_what_the_question_asks_for_may_stand_behind_a_number(answer: str, question: str) -> None:
    assert number(Problem("p", question, "29", "number"), answer) == 1.0
    assert number(Problem("p", question, "30", "number"), answer) == 0.0


@pytest.mark.parametrize(("answer", "question"), NOT_ASKED)
def test_other_words_make_a_number_unreadable(answer: str, question: str) -> None:
    assert number(Problem("p", question, "29", "number"), answer) == 0.0


def test_gold_scores_one_and_its_mutations_zero() -> None:
    for gold in sorted({gold for gold, _ in SAME + DIFFERENT}):
        assert verdict(number, gold, gold) == 1.0, gold
        for mutation in (gold + "1", "1" + gold, gold + " units", gold + ", " + gold, "x" + gold):
            assert verdict(number, gold, mutation) == 0.0, (gold, mutation)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: f"{text[:4]!r}x{len(text)}")
def test_hostile_strings_cost_nothing(hostile: str) -> None:
    start = time.perf_counter()
    assert verdict(number, "5", hostile) == 0.0
    assert verdict(exact, "5", hostile) == 0.0
    assert verdict(number, hostile, hostile) in (None, 1.0)
    assert verdict(exact, hostile, hostile) in (None, 1.0)
    assert time.perf_counter() - start < 0.5


@given(st.text(max_size=40))
def test_no_text_breaks_a_verifier(text: str) -> None:
    assert verdict(number, text, text) in (None, 1.0)
    assert verdict(exact, text, text) in (None, 1.0)


@given(st.integers(-(10**30), 10**30))
def test_integers_with_and_without_separators(value: int) -> None:
    assert parse_number(f"{value:,}") == parse_number(str(value)) == value


EXACT = [
    ("Paris", "paris", 1.0), ("Paris", " PARIS\n", 1.0), ("New York", "new\t york", 1.0),
    ("straße", "STRASSE", 1.0), ("café", "cafe\u0301", 1.0), ("B", "Ｂ", 1.0), ("是", "是", 1.0),
    ("a b", "a\u00a0b", 1.0), ("ﬁve", "five", 1.0),
    ("Paris", "Paris.", 0.0), ("Paris", "in Paris", 0.0), ("Paris", "", 0.0), ("a b", "ab", 0.0),
    ("A", "\u0410", 0.0), ("5", "5.0", 0.0), ("210", "2¹⁰", 0.0), ("12", "½", 0.0),
    ("B", "A or B", 0.0),    ("是", "不是", 0.0), ("5", "5\u200b", 0.0),
    ("Paris", "\\boxed{Paris}", 1.0), ("Paris", "**Paris**", 1.0), ("Paris", "\\boxed{\\text{Paris}}", 1.0), ("Paris", "$\\text{Paris}$", 1.0),
    ("Paris", "The answer is Paris.", 0.0), ("Paris", "Answer: **Paris**", 0.0), ("**", "**", 1.0), ("The answer is 5", "the answer is 5", 1.0),
    ("Paris", "\\boxed{Paris} or Rome", 0.0), ("Paris", "**Paris** or **Rome**", 0.0), ("Paris", "The answer is not Paris", 0.0),
    ("Paris", "\\boxed{Rome} \\boxed{Paris}", 0.0), ("Paris", "The answer is Paris or Rome", 0.0), ("init", "__init__", 0.0), ("a", "~~a~~", 0.0),
    ("", "", None), (" \n", "x", None), ("x" * 10_001, "x" * 10_001, None),
]  # fmt: skip


def test_exact() -> None:
    assert [row for row in EXACT if verdict(exact, *row[:2]) != row[2]] == []


def test_only_the_reference_itself_is_right_by_rule() -> None:
    problem = Problem("f", "Who wrote Faust?", "Goethe", "reference")
    assert VERIFIERS["reference"](problem, " goethe ") == 1.0
    assert VERIFIERS["reference"](problem, "J. W. Goethe") is None
    assert VERIFIERS["reference"](replace(problem, answer=" "), " ") is None
