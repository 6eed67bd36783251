"""Gold answers graded by their own verifiers: what is right comes out right, and nothing else does."""

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dianoia.base.records import Problem
from dianoia.cli.task_listing import show_catalogue, show_graded
from dianoia.config import FileSettings
from dianoia.tasks import gold_check as check
from dianoia.tasks.catalog import VERIFIERS, read_tests
from dianoia.tasks.gold_check import Outcome, check_files, check_set
from dianoia.tasks.plugins import PROBLEM_SETS
from dianoia.tasks.verifier import Grade

TESTS = {"calls": [{"function": "f", "arguments": [2], "expected": 4}]}
RIGHT = "def f(x): return 2 * x"


def write(path: Path, *rows: object) -> FileSettings:
    file = path / "golds.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("\n".join(lines), encoding="utf-8")
    return FileSettings(path=str(file))


@pytest.mark.parametrize("name", sorted(PROBLEM_SETS))
def test_every_set_of_the_catalogue_passes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "SAMPLE_SIZE", 40)
    graded = list(check_set(name))
    assert len(graded) > 40
    assert {outcome.outcome for outcome in graded} == {Outcome.RIGHT}, [
        outcome.message for outcome in graded if outcome.message
    ]


@pytest.mark.parametrize(
    ("row", "outcome", "why"),
    [
        ({"question": "2+3?", "answer": "5"}, Outcome.RIGHT, ""),
        (
            {"question": "2+3?", "answer": "five"},
            Outcome.UNREADABLE,
            "cannot read this gold answer",
        ),
        ({"question": "2+3?"}, Outcome.UNREADABLE, "the row has no gold answer"),
        ('{"question": ', Outcome.UNREADABLE, "row 1: not a line of JSON"),
        ({"question": "f", "tests": TESTS, "solution": RIGHT}, Outcome.RIGHT, ""),
        (
            {"question": "f", "tests": TESTS, "solution": "def f(x): return x"},
            Outcome.WRONG,
            "row 1: verifier 'code' gives the gold answer 'def f(x): return x' 0",
        ),
        (
            {"question": "f", "tests": TESTS},
            Outcome.UNGRADED,
            "no program in a column 'solution'",
        ),
        ({"question": "f", "tests": {"calls": 5}}, Outcome.UNREADABLE, "not a list"),
        ({"question": "Why?", "answer": "So.", "verifier": "reference"}, Outcome.RIGHT, ""),
    ],
)
def test_outcomes(tmp_path: Path, row: Any, outcome: Outcome, why: str) -> None:
    (graded,) = check_files(write(tmp_path, row))
    assert graded.outcome is outcome
    assert why in graded.message if why else graded.message == ""


def test_a_verifier_that_does_not_take_its_own_gold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(problem: Problem) -> Grade:
        return Grade(0.5 if problem.answer == "half" else 0.0)

    strange = replace(VERIFIERS["exact"], name="strange", check_gold=check)
    monkeypatch.setitem(VERIFIERS, "strange", strange)  # type: ignore[index]
    rows = [{"question": "?", "answer": gold, "verifier": "strange"} for gold in ("half", "none")]
    graded = list(check_files(write(tmp_path, *rows)))
    assert [outcome.outcome for outcome in graded] == [Outcome.WRONG] * 2
    assert graded[0].message.endswith("row 1: verifier 'strange' gives the gold answer 'half' 0.5")


def test_rows_after_a_broken_one_are_graded_and_ids_compared(tmp_path: Path) -> None:
    good = {"question": "2+3?", "answer": "5", "id": "a"}
    graded = list(check_files(write(tmp_path, good, "{", "", good | {"id": "b"}, good)))
    assert [outcome.outcome for outcome in graded] == [
        Outcome.RIGHT, Outcome.UNREADABLE, Outcome.RIGHT, Outcome.UNREADABLE,
    ]  # fmt: skip
    assert (
        "row 5, column 'id', value 'a'" in graded[3].message
        and "row 1 has the same id" in graded[3].message
    )


def test_a_mapping_leaves_out_proofs_and_hides_no_unreadable_gold(tmp_path: Path) -> None:
    base = {"problem": "Find it.", "solution": "x"}
    data = write(
        tmp_path, base | {"answer": "proof", "question_type": "proof"}, base | {"answer": "5"}
    )
    data = data.model_copy(update={"mapping": "openr1-math-220k"})
    assert [check_file.outcome for check_file in check_files(data)] == [
        Outcome.LEFT_OUT,
        Outcome.RIGHT,
    ]
    unreadable = write(tmp_path, base | {"answer": "9" * 1000})
    mapped = unreadable.model_copy(update={"mapping": "math", "verifier": "number"})
    assert [check_file.outcome for check_file in check_files(mapped)] == [Outcome.UNREADABLE]


# What is printed ---------------------------------------------------------------------------------


def printed(console: Console) -> str:
    return console.export_text()


def console() -> Console:
    return Console(record=True, soft_wrap=True, file=io.StringIO())


def test_bad_rows_are_printed_as_many_as_wanted(tmp_path: Path) -> None:
    data = write(tmp_path, *({"question": f"{n}?", "answer": "x"} for n in range(5)))
    out = console()
    assert not show_graded("mine", check_files(data), out, limit=2)
    lines = printed(out).splitlines()
    assert [line for line in lines if "row" in line][:2] == lines[:2]
    assert lines[2:] == ["mine: and 3 more", "mine: 5 unreadable"]


def test_a_good_file_in_numbers_and_held_against_tests(tmp_path: Path) -> None:
    data = write(tmp_path, {"question": "What is 1 + 1, then?", "answer": "2"})
    out = console()
    assert show_graded("mine", check_files(data), out, 9, read_tests([data.path]))
    text = printed(out)
    assert "mine: 1 problems in 1 rows. Domains: math 100.0%." in text
    assert f"mine: of 1 training problems 1 share words with a test of {data.path}" in text
    assert text.splitlines()[-1] == "mine: 1 right"


def test_nothing_is_not_right(tmp_path: Path) -> None:
    assert not show_graded("mine", check_files(write(tmp_path, "")), console(), 9)


def test_the_catalogue_shows_every_set_verifier_and_mapping() -> None:
    out = console()
    show_catalogue(out)
    text = printed(out)
    assert all(f"{name}: " in text for name in (*PROBLEM_SETS, *VERIFIERS))
    assert Counter(line.startswith("        gold: ") for line in text.splitlines())[True] >= len(
        PROBLEM_SETS
    )
    assert "gsm8k: grade school word problems" in text
