"""Predicting what a program does: right, nearly right and junk; values that are made to hurt the reader."""

import time
from typing import Any

import pytest

from dianoia.base.errors import ProblemTestsError
from dianoia.base.records import Problem
from dianoia.sandbox.sandbox import STRONG, UNSANDBOXED, VARIABLE, offered
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.code.predict import literal
from dianoia.tasks.verifier import RunsIn

STRONGEST = next((name for name in STRONG if offered(name) is None), UNSANDBOXED)


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, STRONGEST)


def problem(verifier: str, gold: str, **columns: Any) -> Problem:
    return Problem("p-7", "What does it do?", gold, verifier, columns=columns)


def score(task: Problem, answer: str) -> float | None:
    return VERIFIERS[task.verifier](task, answer)


def test_printed_output() -> None:
    task = problem("output", "1 2\n\n3\n")
    for right in (
        "1 2\n\n3",
        "\n1 2 \n\n3\n\n",
        "```\n1 2\n\n3\n```",
        "```text\n1 2\n\n3\n```",
        "~~~\n1 2\n\n3\n~~~",
        "   ```\n1 2\n\n3\n   ```",
    ):
        assert score(task, right) == 1.0, right
    for wrong in (
        "1 2\n3",
        "1 2 3",
        "1  2\n\n3",
        "1 2\n\n3\n4",
        "",
        "```\n1 2\n\n3",
        "It prints 1 2\n\n3",
        "1 2\n\n3" * 9,
    ):
        assert score(task, wrong) == 0.0, wrong
    assert score(task, "1 2\n" * 10**6) == 0.0
    assert score(problem("output", " \n"), "1") is None


def test_returned_values() -> None:
    task = problem("value", "[1, 'a', None, {'k': (2.5, True)}]")
    for right in (
        "[1, 'a', None, {'k': (2.5, True)}]",
        '[1, "a", null, {"k": [2.5, true]}]',
        "```python\n[1.0, 'a', None, {'k': [2.5, True]}]\n```",
    ):
        assert score(task, right) == 1.0, right
    for wrong in (
        "[1, 'a', None, {'k': (2.5, 1)}]",
        "[1, 'a']",
        "1, 'a'",
        "a",
        "",
        "[1, a, None]",
        "f(1)",
        "NaN",
        "'['",
    ):
        assert score(task, wrong) == 0.0, wrong
    assert score(problem("value", "'yes'"), "yes") == 0.0, "a text has its quotes"
    assert score(problem("value", "'yes'"), '"yes"') == 1.0
    assert score(problem("value", "{1, 2}"), "{2, 1}") == 1.0
    assert score(problem("value", "f(2)"), "f(2)") is None


HURTFUL = {
    "brackets": "[" * 10**5,
    "closed brackets": "[" * 9000 + "]" * 9000,
    "signs": "-" * 19_000 + "1",
    "not": "not " * 4000 + "1",
    "a sum": "1" + "+1" * 9000,
    "attributes": "a" + ".a" * 9000,
    "calls": "a" + "()" * 9000,
    "subscripts": "a" + "[0]" * 6000,
    "a large number": "9" * 19_000,
    "a power": "9**9**9**9",
    "a call": "__import__('os').system('true')",
    "JSON without an end": '{"a":' * 10**5,
    "infinity": "Infinity",
    "commas": "," * 19_000,
    "backslashes": "'" + "\\" * 19_000,
    "zero bytes": "\0" * 1000,
}


@pytest.mark.parametrize("case", HURTFUL)
def test_no_text_hurts_the_reader(case: str) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match="."):
        literal(HURTFUL[case])
    assert time.monotonic() - started < 2


SQUARE = "n = int(input())\nprint(n * n)"
CALLED = "def f(a, b=1):\n    return [a * a, b]"


def test_inputs_that_lead_to_the_output() -> None:
    task = problem("input", "-3", program=SQUARE, output="9")
    for right in ("-3", "3", " 3\n", "```\n3\n```"):
        assert score(task, right) == 1.0, right
    for wrong in ("9", "", "three", "3\n3 or so", "3.0", "__import__('os')", "[3]"):
        expected = 1.0 if wrong.startswith("3\n") else 0.0  # the program reads one line
        assert score(task, wrong) == expected, wrong


def test_arguments_that_lead_to_the_value() -> None:
    task = problem("input", "[2, 5]", program=CALLED, function="f", output="[4, 5]")
    for right in ("[2, 5]", "[-2, 5]", '{"a": 2, "b": 5}', "(2, 5)"):
        assert score(task, right) == 1.0, right
    for wrong in (
        "[5, 2]",
        "2, 6",
        "[]",
        "[2, 5, 1]",
        "f(2, 5)",
        "4",
        "",
        '{"c": 1}',
        "[[4, 5]]",
        "[open('x')]",
    ):
        assert score(task, wrong) == 0.0, wrong


def test_a_program_that_never_ends_on_an_input_makes_it_wrong() -> None:
    program = "n = int(input())\nprint(n if n > 0 else bytearray(10 ** 12))"
    assert score(problem("input", "1", program=program, output="1"), "-1") == 0.0


def test_a_gold_answer_that_does_not_lead_there_scores_nothing() -> None:
    assert score(problem("input", "4", program=SQUARE, output="9"), "4") == 0.0


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"output": "9"}, "program"),
        ({"program": SQUARE}, "output"),
        ({"program": SQUARE, "output": " "}, "output"),
        ({"program": CALLED, "output": "[4", "function": "f"}, "write a value"),
        ({"program": CALLED, "output": "[4]", "function": "f; g"}, "name of a function"),
        ({"program": CALLED, "output": "[4]", "function": "f"}, "write arguments"),
    ],
)
def test_columns_that_cannot_be_read_are_named(columns: dict[str, Any], words: str) -> None:
    task = problem("input", "4", **columns)
    with pytest.raises(ProblemTestsError, match=words) as error:
        VERIFIERS["input"].check_gold(task)
    assert "'p-7'" in str(error.value)
    assert score(task, "3") is None


def test_what_runs_programs_is_asked_from_several_threads() -> None:
    assert {name for name, verifier in VERIFIERS.items() if verifier.runs_in is RunsIn.SANDBOX} == {
        "code",
        "input",
        "gym",
    }
