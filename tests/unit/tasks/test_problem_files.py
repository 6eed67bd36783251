"""Problems from files: every format gives the same problems, and every error its row."""

import csv
import json
from pathlib import Path

import pyarrow  # type: ignore[import-untyped, unused-ignore]
import pyarrow.parquet  # type: ignore[import-untyped, unused-ignore]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianoia.base.errors import ProblemFileError
from dianoia.base.records import Turn
from dianoia.tasks.problem_files import Defaults, read_problems, split_of
from dianoia.tasks.short_answers import SHORT_ANSWER_VERIFIERS

VERIFIERS = {name: SHORT_ANSWER_VERIFIERS[name] for name in ("number", "exact")}
ROWS = [
    {"prompt": "2+3?", "solution": "5", "id": "a", "difficulty": "2", "source": "book"},
    {"prompt": "首都？", "solution": "北京", "id": "b", "verifier": "exact", "domain": "facts"},
]
NAMES = ["prompt", "solution", "id", "difficulty", "source", "verifier", "domain"]


def jsonl(path: Path, *rows: object) -> Path:
    file = path / "problems.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def write(path: Path, ending: str) -> Path:
    if ending == "jsonl":
        return jsonl(path, *ROWS)
    file = path / f"problems.{ending}"
    if ending == "parquet":
        rows = [dict.fromkeys(NAMES) | row for row in ROWS]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
        return file
    with file.open("w", newline="", encoding="utf-8-sig") as out:
        writer = csv.DictWriter(out, NAMES)
        writer.writeheader()
        writer.writerows(ROWS)
    return file


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_every_format(tmp_path: Path, ending: str) -> None:
    first, second = read_problems(write(tmp_path, ending), VERIFIERS)
    assert (first.id, first.question, first.answer) == ("a", "2+3?", "5")
    assert (first.verifier, first.domain, first.language) == ("number", "math", "en")
    assert first.columns["source"] == "book" and first.columns["solution"] == "5"
    assert (second.verifier, second.domain, second.language) == ("exact", "facts", "zh")
    assert first.difficulty == 2
    assert second.difficulty is None and second.answer == "北京"


def test_messages_give_the_last_question_of_the_user(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "2+3?"},
    ]
    (problem,) = read_problems(jsonl(tmp_path, {"prompt": messages, "answer": 5}), VERIFIERS)
    assert (problem.question, problem.answer, problem.id) == ("2+3?", "5", "problems-1")
    assert problem.columns["prompt"] == messages, "whole, for reward functions"
    assert problem.context == (
        Turn("system", "Be brief."), Turn("user", "1+1?"), Turn("assistant", "2"),
    )  # fmt: skip
    assert problem.messages[-1] == Turn("user", "2+3?") and len(problem.messages) == 4


@pytest.mark.parametrize("name", ["prompt", "question", "problem"])
def test_question_columns(tmp_path: Path, name: str) -> None:
    (problem,) = read_problems(jsonl(tmp_path, {name: "2+3?", "answer": "5"}), VERIFIERS)
    assert problem.question == "2+3?"


def test_the_bare_answer_wins_over_the_worked_solution(tmp_path: Path) -> None:
    row = {"problem": "2+3?", "solution": "We add: 2+3=5.", "answer": "5"}
    (problem,) = read_problems(jsonl(tmp_path, row), VERIFIERS)
    assert problem.answer == "5" and problem.columns["solution"] == "We add: 2+3=5."


@pytest.mark.parametrize(
    ("difficulty", "expected"),
    [(3, 3), (3.0, 3), (" 3 ", 3), ("hard", None), ("3/8", None), (2.5, None), (True, None)],
)
def test_difficulty(tmp_path: Path, difficulty: object, expected: int | None) -> None:
    row = {"question": "2+3?", "answer": "5", "difficulty": difficulty}
    (problem,) = read_problems(jsonl(tmp_path, row), VERIFIERS)
    assert problem.difficulty == expected and problem.columns["difficulty"] == difficulty


def test_defaults(tmp_path: Path) -> None:
    file = jsonl(tmp_path, {"question": "first letter?", "answer": "a"})
    (problem,) = read_problems(file, VERIFIERS, Defaults(verifier="exact", domain="letters"))
    assert (problem.verifier, problem.domain) == ("exact", "letters")


GOOD = {"question": "2+3?", "answer": "5"}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"answer": "5"}, "row 3, column 'prompt', value None: the row has no question; fill one"),
        ({"question": "2+3?"}, "column 'answer', value None: the row has no gold answer; fill one"),
        (GOOD | {"question": " "}, "column 'question', value ' ': it is blank; fill it"),
        (GOOD | {"answer": "five"}, "column 'answer', value 'five': verifier 'number' cannot read"),
        (GOOD | {"answer": "x" * 500}, f"value '{'x' * 79}...: verifier"),
        (GOOD | {"answer": ["5"]}, "column 'answer', value ['5']: a list, not text; write"),
        (GOOD | {"answer": True}, "a bool, not text"),
        (GOOD | {"question": "2+3? \ud83d"}, "it holds half a character"),
        (GOOD | {"verifier": "maths"}, "no verifier named 'maths'; use one of exact, number"),
        (GOOD | {"language": "English"}, "column 'language', value 'English': not an ISO 639-1"),
        (GOOD | {"prompt": [{"role": "system", "content": "x"}]}, "no last message of the user"),
        (GOOD | {"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, "message 1 is a part of the type 'image'"),
        (GOOD | {"prompt": ["2+3?"]}, "no last message of the user"),
        (GOOD | {"id": "problems-1"}, "column 'id', value 'problems-1': row 1 has the same id"),
        ([1], "row 3: a list, not a JSON object"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(tmp_path: Path, bad: object, message: str) -> None:
    file = jsonl(tmp_path, GOOD, GOOD, bad, GOOD)
    with pytest.raises(ProblemFileError) as caught:
        list(read_problems(file, VERIFIERS))
    assert str(caught.value).startswith(f"{file}, row 3")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"question": "2+3?"', "row 1: not a line of JSON"),
        (b'{"question": "\xff"}', "row 1: not a line of JSON"),
        (b"[" * 100_000, "row 1: not a line of JSON"),
        (b"\n\nnull\n", "row 3: a NoneType, not a JSON object"),
        (b"\n\n", "holds no problem"),
    ],
)
def test_broken_jsonl(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_bytes(content)
    with pytest.raises(ProblemFileError, match=message):
        list(read_problems(file, VERIFIERS))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"question,answer\n2+3?,5\n1,234+1?,5\n", "row 2: it has more cells than the header"),
        (b"question,answer\n2+3?\n", "row 1: it has fewer cells than the header"),
        (b'question,answer\n2+3?,5\n"2+3?,5\n', "after row 1: not readable as CSV"),
        (b"question,answer\n\xff\xfe,5\n", "after row 0: not readable as CSV"),
        (b"question,answer\n2+3?,\n", "no gold answer"),
        (b"", "holds no problem"),
    ],
)
def test_broken_csv(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "problems.csv"
    file.write_bytes(content)
    with pytest.raises(ProblemFileError, match=message):
        list(read_problems(file, VERIFIERS))


def test_broken_parquet_unknown_ending_and_missing_file(tmp_path: Path) -> None:
    file = tmp_path / "problems.parquet"
    file.write_bytes(b"no parquet")
    with pytest.raises(ProblemFileError, match="after row 0: not readable as Parquet"):
        list(read_problems(file, VERIFIERS))
    with pytest.raises(
        ProblemFileError, match=r"convert it to one of .jsonl, .ndjson, .json, .csv, .tsv, .parquet"
    ):
        list(read_problems(tmp_path / "problems.xlsx", VERIFIERS))
    with pytest.raises(ProblemFileError, match="no such file"):
        list(read_problems(tmp_path / "none.jsonl", VERIFIERS))


def test_rows_are_read_while_they_are_asked_for(tmp_path: Path) -> None:
    problems = read_problems(jsonl(tmp_path, GOOD, "broken"), VERIFIERS)
    assert next(problems).answer == "5"
    with pytest.raises(ProblemFileError, match="row 2"):
        next(problems)


def test_split_depends_on_the_words_only() -> None:
    assert split_of("What is  2+3?") == split_of("what is 2+3？ ")
    sides = [split_of(f"what is {i}+3?", 0.25) for i in range(2000)]
    assert 420 < sides.count("heldout") < 580
    assert {split_of("2+3?", 0.0), split_of("2+3?", 1.0)} == {"train", "heldout"}
    with pytest.raises(ValueError, match="from 0 to 1"):
        split_of("2+3?", 10)


@given(st.text(max_size=50), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_what_was_held_out(question: str, first: float, second: float) -> None:
    if split_of(question, min(first, second)) == "heldout":
        assert split_of(question, max(first, second)) == "heldout"
