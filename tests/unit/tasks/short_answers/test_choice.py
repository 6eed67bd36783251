"""Multiple choice: letters, texts, both; near misses and junk."""

import json
from typing import Any

import pytest

from dianoia.base.records import Problem
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.short_answers.choice import LETTERS, choice, option_index

CITIES = ["Rome", "Paris", "New York", "Oslo", "Lima", "Cairo", "Bonn", "Kyiv"]


def problem(gold: str, options: Any = None, column: str = "options") -> Problem:
    columns = {} if options is None else {column: options}
    return Problem("c", "Which is the capital of France?", gold, "choice", columns=columns)


RIGHT = (
    "B", "b", "(B)", "B.", "B)", "[B]", "B:", "**B**", r"\text{B}", "$B$", "Ｂ", "（B）", "(b).",
    r"\boxed{B}", r"$\boxed{B}$", r"$\boxed{B}$.", r"\(\boxed{B}\)", r"\[\boxed{\mathrm{(B)}}\]", r"\boxed{\text{B}}", r"\textbf{(B)}",
    r"\boxed{\textbf{(B)}}", r"\mathrm{(B)}", "*B*", "`B`", "#### B", "The answer is B", "The answer is (B).", "The answer is **B**.",
    "**The answer is B**", "Answer: B", "**Answer:** B", "**Answer**: **B**", "The correct option is B", "Thus, the correct answer is (B).",
    "Option B", "option (b)", "Choice B", "The answer is option B.", "B is correct.", "B is the correct answer",
    "Final Answer: The final answer is $\\boxed{B}$. I hope it is correct.", "答案是B", "答案：B",
)  # fmt: skip
RIGHT_TEXT = (
    "Paris",
    "paris",
    " PARIS ",
    "B) Paris",
    "(B) Paris",
    "B. Paris",
    "B: paris",
    "**B) Paris**",
    "Paris.",
    "**B. Paris**",
    "B. **Paris**",
    r"\boxed{Paris}",
    r"\textbf{(B)}\ Paris",
    r"\boxed{\textbf{(B)}\ Paris}",
    "The answer is Paris.",
    "The correct answer is (B) Paris.",
    "Option B) Paris",
)
WRONG = (
    "A", "(C)", "Rome", "A) Paris", "B) Rome", "A, B", "A B", "B or A", "B B", "AB", "A) B) C) D)", "all of them",
    "B because it is", "not B", "B, C", "B?", "B or C", r"\boxed{A} \boxed{B}", r"\boxed{B} or C", r"\boxed{B}\text{ or C}", "The answer is not B",
    "The answer is B or C", "Answer: B, C", "B is not correct", "B is wrong", "B is the correct answer, or C", "The answer is B. The answer is C.",
    "$B$, C", "B_1", "B'", "BC", "both A and B", "neither B", "B and Paris", "Paris or Rome", "Option B or C", "maybe B", "B (probably)", "all but B",
    r"\text{not B}", r"\text{B or C}", "B\u200b", "~~B~~", "I think B", r"\boxed{B", "B\nC", "A\nB", "B is correct and C is correct", r"\cancel{B}",
    "Option A is wrong, B is correct", "B) Paris or C) New York", "The answer is B) Rome", r"\textbf{(B)}\ Rome", "not Paris", "", " ", "2", "1", "E) Paris", "I", "J", "Par is", "Paris Paris", "Z",
    "\0", "B" * 5000, "(" * 3000, "None", "options[1]", "Paris\nB",
)  # fmt: skip


@pytest.mark.parametrize("count", range(4, 9))
@pytest.mark.parametrize("gold", ["B", "Paris", "B) Paris", "(B)"])
def test_letters_texts_and_both(count: int, gold: str) -> None:
    task = problem(gold, CITIES[:count])
    for answer in (*RIGHT, *RIGHT_TEXT):
        assert choice(task, answer) == 1.0, answer
    for answer in WRONG:
        assert choice(task, answer) == 0.0, answer


@pytest.mark.parametrize("count", range(4, 9))
def test_every_option_is_its_own_gold_and_no_other(count: int) -> None:
    for number in range(count):
        task = problem(LETTERS[number], CITIES[:count])
        scores = [choice(task, letter) for letter in LETTERS]
        assert scores == [float(index == number) for index in range(len(LETTERS))]
        assert [choice(task, text) for text in CITIES] == scores[:8]


SHAPES = {
    "choices": ("choices", CITIES[:4]),
    "JSON": ("options", json.dumps(CITIES[:4])),
    "by letter": ("options", dict(zip("ABCD", CITIES, strict=False))),
    "by letter, gaps of Parquet": ("options", {**dict(zip("ABCD", CITIES, strict=False)), "E": None}),
    "ARC": ("choices", {"label": list("ABCD"), "text": CITIES[:4]}),
    "ARC by number": ("choices", {"label": list("1234"), "text": CITIES[:4]}),
    "labelled": ("options", [f"{letter}) {city}" for letter, city in zip("ABCD", CITIES, strict=False)]),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_options_in_every_shape(shape: str) -> None:
    column, options = SHAPES[shape]
    task = problem("B", options, column)
    for answer in ("B", "Paris", "(B) Paris"):
        assert choice(task, answer) == 1.0
    for answer in ("A", "Rome", "E", "A) Paris"):
        assert choice(task, answer) == 0.0


def test_without_options_only_letters_are_read() -> None:
    task = problem("C")
    assert [choice(task, answer) for answer in ("C", "(c)", "C.", "B", "C) Rome", "Rome")] == [
        1.0, 1.0, 1.0, 0.0, 0.0, 0.0]  # fmt: skip
    assert choice(problem("Rome"), "C") is None


AMC = r"How many? $\textbf{(A)}\ 29 \qquad \textbf{(B)}\ 30 \qquad \textbf{(C)}\ 3$"
LINES = "How many?\nA. 29\nB. 30\nC. 3"


@pytest.mark.parametrize("question", [AMC, LINES])
def test_without_options_a_text_has_to_stand_behind_its_letter_in_the_question(
    question: str,
) -> None:
    task = Problem("c", question, "B", "choice")
    for answer in (
        "B",
        r"\textbf{(B)}\ 30",
        "(B) 30",
        "B) 30",
        "B. 30",
        r"\boxed{\textbf{(B)}~30}",
        "The answer is (B) 30.",
    ):
        assert choice(task, answer) == 1.0, answer
    for answer in (
        "(B) 29",
        "(B) 3",
        "(B) 30 or 29",
        "(B) 30 (C) 3",
        "B. 30 C. 3",
        "(A) 30",
        "(C) 3",
        "30",
        "(B) or (C)",
        "(B) $",
    ):
        assert choice(task, answer) == 0.0, answer
    assert VERIFIERS["choice"](task, "(B) 30") == 1.0  # the worker has the question too


def test_options_in_dollars_are_met_with_and_without_them() -> None:
    task = problem("A", ["$5$", "$6$", r"\frac{1}{2}"])
    assert [
        choice(task, answer)
        for answer in ("$5$", "5", "A) 5", "(A) $5$", r"\boxed{5}", "6", "$5$, $6$")
    ] == [1.0] * 5 + [0.0] * 2


UNREADABLE = {
    "a letter too far": ("E", CITIES[:4]),
    "no option": ("Madrid", CITIES[:4]),
    "letter and text disagree": ("A) Paris", CITIES[:4]),
    "a text twice": ("Paris", ["Rome", "Paris", "Paris", "Oslo"]),
    "one option": ("A", ["Rome"]),
    "eleven options": ("A", [str(n) for n in range(11)]),
    "an empty option": ("A", ["Rome", ""]),
    "no texts": ("A", [["Rome"], ["Paris"]]),
    "no JSON": ("A", "Rome, Paris"),
    "other letters": ("A", {"X": "Rome", "Y": "Paris"}),
    "labels without texts": ("A", {"label": ["A"], "text": "Rome"}),
    "no letters": ("A", {"B": "Rome", "A": "Paris"}),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_gold_answer_that_names_no_option_is_none(case: str) -> None:
    gold, options = UNREADABLE[case]
    assert choice(problem(gold, options), "A") is None


def test_options_that_look_like_letters() -> None:
    """Genes are called A and B: an answer that can be read in two ways is not guessed."""
    options = ["B", "A", "C", "None of these"]
    assert option_index("A", options) is None and option_index("C", options) == 2
    assert option_index("A) B", options) == 0 and option_index("B) A", options) == 1


def test_numbers_as_options() -> None:
    task = problem("4", [2, 4, 8, 16])
    assert [choice(task, answer) for answer in ("4", "B", "B) 4", "8", "D", "40")] == [
        1.0, 1.0, 1.0, 0.0, 0.0, 0.0]  # fmt: skip


def test_it_is_in_the_catalogue() -> None:
    task = problem("B", ["Rome", "Paris"])
    assert [VERIFIERS["choice"](task, answer) for answer in ("paris", "A")] == [1.0, 0.0]
