"""Rows that others wrote: numbers without end, missing values, messages as text, broken files. Never a traceback."""

import csv
import datetime
import gzip
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from dianoia.base.errors import ProblemFileError
from dianoia.base.records import Problem
from dianoia.config import DataSettings
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.conversation_files import read_conversations
from dianoia.tasks.data.row_reader import open_rows
from dianoia.tasks.gold_check import Outcome, check_files
from dianoia.tasks.preference_files import read_labelled, read_pairs
from dianoia.tasks.problem_files import read_problems
from dianoia.tasks.table_files import read_rows

GOOD = '{"question": "2+3?", "answer": "5"}'
DIGITS = "7" * 5000
DEEP = "[" * 5000 + "]" * 5000


def problems(path: Path) -> list[Problem]:
    return list(read_problems(path, VERIFIERS))


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f'{{"question": "2+3?", "answer": {DIGITS}}}', "more than 4,300 digits"),
        (f'{{"question": "2+3?", "answer": "5", "note": {DIGITS}}}', "more than 4,300 digits"),
        (f'{{"question": "2+3?", "answer": "5", "note": [{{"a": -{DIGITS}}}]}}', "4,300 digits"),
        (f'{{"question": "2+3?", "answer": "5", "difficulty": "{DIGITS}"}}', "64 bits"),
        ('{"question": "2+3?", "answer": "5", "difficulty": 9223372036854775808}', "64 bits"),
        ('{"question": "2+3?", "answer": "5", "difficulty": 1e300}', "64 bits"),
        ('{"question": "2+3?", "answer": 1e999}', "no number"),
        ('{"question": "2+3?", "answer": -Infinity}', "no number"),
        ('{"question": Infinity, "answer": "5"}', "no number"),
        (f'{{"question": "2+3?", "answer": "5", "note": {DEEP}}}', "nested"),
        ('{"question": "2+3?", "answer": "5", "note": ' + "[" * 120 + "]" * 120 + "}", "nested"),
        ('{"a": ' * 3000 + "1" + "}" * 3000, "nested"),
        ('{"question": "2+3?", "answer": "5", "answer": "6"}', "'answer' twice"),
        ('{"question": "2+3? \\ud800", "answer": "5"}', "half a character"),
        ('{"question": "2+3?", "answer": "\\udfff"}', "half a character"),
        ('{"question": "2+3? \\u0000", "answer": "5"}', "NUL"),
        ('{"question": "2+3?", "answer": true}', "a bool"),
        ('{"question": "2+3?", "answer": ["5"]}', "a list"),
        ('{"question": "2+3?", "answer": {"value": 5}}', "a dict"),
        ('{"question": "2+3?", "answer": ""}', "blank"),
        ('{"question": ["2+3?"], "answer": "5"}', "no last message"),
        ('{"question": {"role": "user", "content": "2+3?"}, "answer": "5"}', "a dict"),
        ('{"question": NaN, "answer": "5"}', "no question"),
        ('{"question": "2+3?", "answer": NaN}', "no gold answer"),
        ('{"question": "2+3?", "answer": NaN, "verifier": "exact"}', "no gold answer"),
        ('{"question": "2+3?", "answer": NaN, "verifier": "math"}', "no gold answer"),
        ('{"question": "2+3?", "answer": NaN, "verifier": "reference"}', "no gold answer"),
        (f'{{"question": "2+3?", "test_list": "[{DIGITS}]"}}', "row 2"),
        (f'{{"question": "2+3?", "tests": "{DIGITS}"}}', "row 2"),
        ('{"question": "2+3?", "answer": "5"', "not a line of JSON"),
        ('["2+3?", "5"]', "a list, not a JSON object"),
        ("[", "one JSON array"),
        ("nan", "not a line of JSON"),
        ("NaN", "a float, not a JSON object"),
    ],
)
def test_one_row_is_refused_by_name(line: str, why: str, tmp_path: Path) -> None:
    path = written(tmp_path, GOOD, line)
    with pytest.raises(ProblemFileError) as caught:
        problems(path)
    assert f"{path}, row 2" in str(caught.value) and why in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "line",
    [
        f'{{"question": "2+3?", "answer": {DIGITS}}}',
        f'{{"question": "2+3?", "answer": "5", "difficulty": "{DIGITS}"}}',
        f'{{"question": "2+3?", "answer": {DEEP}}}',
        '{"question": "2+3?", "answer": NaN}',
        '{"question": "2+3?", "answer": "5", "answer": "5"}',
    ],
)
def test_the_check_of_a_set_goes_on_after_it(line: str, tmp_path: Path) -> None:
    path = written(tmp_path, GOOD, line, GOOD)
    graded = list(check_files(DataSettings(path=str(path))))
    expected = [Outcome.RIGHT, Outcome.UNREADABLE, Outcome.RIGHT]
    assert [row.outcome for row in graded] == expected
    assert f"{path}, row 2" in graded[1].message


def test_nan_is_an_absent_value_and_the_next_column_counts(tmp_path: Path) -> None:
    row = '{"prompt": NaN, "question": "2+3?", "answer": NaN, "solution": "5", "id": NaN, "domain": NaN}'
    (problem,) = problems(written(tmp_path, row))
    assert (problem.question, problem.answer, problem.id) == ("2+3?", "5", "rows-1")
    assert problem.domain == "math" and problem.columns["answer"] is None


def test_a_text_nan_is_a_text(tmp_path: Path) -> None:
    row = '{"question": "What is 0/0 called?", "answer": "nan", "verifier": "exact"}'
    assert problems(written(tmp_path, row))[0].answer == "nan"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": float("nan"), "completion": "5"},
        {"prompt": "2+3?", "completion": float("nan")},
        {"messages": float("nan")},
        {"prompt": "2+3?", "thought": "t", "answer": float("nan")},
        {"messages": [{"role": "user", "content": float("nan")}]},
        {"messages": f"[{DEEP}"},
    ],
)
def test_samples_to_learn_from(row: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path, '{"prompt": "1+1?", "completion": "2"}', json.dumps(row))
    with pytest.raises(ProblemFileError, match="row 2"):
        list(read_conversations(path))


@pytest.mark.parametrize("column", ["prompt", "chosen", "rejected"])
@pytest.mark.parametrize("value", [float("nan"), None, True, 5, [], float("inf")])
def test_preferences(column: str, value: object, tmp_path: Path) -> None:
    row = {"prompt": "2+3?", "chosen": "5", "rejected": "6"} | {column: value}
    path = written(tmp_path, json.dumps(row))
    with pytest.raises(ProblemFileError, match="row 1"):
        list(read_pairs(path, lambda text: text))


@pytest.mark.parametrize("label", [float("nan"), None, [True], int("9" * 4000)])
def test_labels(label: object, tmp_path: Path) -> None:
    row = {"prompt": "2+3?", "response": "5", "label": label}
    with pytest.raises(ProblemFileError, match="row 1"):
        list(read_labelled(written(tmp_path, json.dumps(row)), lambda text: text))


def test_nan_inside_of_values_is_missing_too(tmp_path: Path) -> None:
    nan = float("nan")
    turns = [
        {"role": "user", "content": "2+3?", "name": nan},
        {"role": "assistant", "content": "5", "reasoning_content": nan},
    ]
    (conversation,) = read_conversations(written(tmp_path, json.dumps({"messages": turns})))
    assert conversation.turns[1].thought is None
    row = {"prompt": "2+3?", "responses": ["5", "6"], "verdicts": ["A>B", nan, None]}
    (judged,) = read_pairs(written(tmp_path, json.dumps(row)), str)
    assert judged.verdicts == ("A>B", None, None)  # type: ignore[union-attr]
    row = {"prompt": "2+3?", "thought": nan, "answer": "5"}
    (conversation,) = read_conversations(written(tmp_path, json.dumps(row)))
    assert conversation.turns[1].text == "5" and not conversation.turns[1].thought


# Messages ----------------------------------------------------------------------------------------

ASKED = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "1+1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "2+3?"},
]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "2+"}, {"text": "3?"}]}]


def csv_file(tmp_path: Path, row: dict[str, Any]) -> Path:
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    return path


@pytest.mark.parametrize("column", ["prompt", "question", "problem", "messages"])
@pytest.mark.parametrize("as_text", [json.dumps, lambda v: json.dumps(v, indent=2), repr])
@pytest.mark.parametrize("messages", [ASKED, PARTS])
def test_messages_in_a_cell(
    column: str, as_text: Callable[[Any], str], messages: Any, tmp_path: Path
) -> None:
    path = csv_file(tmp_path, {column: as_text(messages), "answer": "5"})
    (problem,) = problems(path)
    assert problem.question == "2+3?"
    assert [m["role"] for m in problem.columns["prompt"]] == [m["role"] for m in messages]
    row = open_rows([path]).read(0)
    assert row is not None and row.messages(column) == problem.columns["prompt"]


@pytest.mark.parametrize("as_text", [json.dumps, repr])
def test_messages_in_the_cells_of_samples(as_text: Callable[[Any], str], tmp_path: Path) -> None:
    answered = [{"role": "assistant", "content": "5"}]
    row = {"prompt": as_text(ASKED), "completion": as_text(answered)}
    (conversation,) = read_conversations(csv_file(tmp_path, row))
    assert [message.text for message in conversation.turns] == [
        "Be brief.",
        "1+1?",
        "2",
        "2+3?",
        "5",
    ]


@pytest.mark.parametrize("as_text", [json.dumps, repr])
def test_messages_in_the_cells_of_pairs(as_text: Callable[[Any], str], tmp_path: Path) -> None:
    chosen, rejected = (
        as_text([*ASKED, {"role": "assistant", "content": text}]) for text in ("5", "6")
    )
    (pair,) = read_pairs(csv_file(tmp_path, {"chosen": chosen, "rejected": rejected}), str)
    assert (pair.prompt, pair.chosen, pair.rejected) == ("2+3?", "5", "6")


@pytest.mark.parametrize(
    "question", ["[1, 2, 3] reversed?", '["a"]', "[", "[]", '[{"a": 1}]', "[{'x': 2}] has what?"]
)
def test_a_question_in_brackets_is_a_question(question: str, tmp_path: Path) -> None:
    (problem,) = problems(csv_file(tmp_path, {"question": question, "answer": "5"}))
    assert problem.question == question and "prompt" not in problem.columns


@pytest.mark.parametrize(
    "text",
    [
        '[{"role": "user", "content": "2+3?"',
        "[{'role': 'user', 'content': open('x')}]",
        '[{"content": "2+3?", "role": ',
        '[{"role": "assistant", "content": "5"}]',
        '[{"role": "user", "content": null}]',
        '[{"role": "user", "content": "2+3?"}, {"role": "user", "content": " "}]',
        '[{"role": "user", "content": [{"type": "image", "url": "a.png"}]}]',
    ],
)
def test_broken_messages_are_no_question(text: str, tmp_path: Path) -> None:
    with pytest.raises(ProblemFileError, match="row 1, column 'prompt'"):
        problems(csv_file(tmp_path, {"prompt": text, "answer": "5"}))


# Files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (GOOD.encode("utf-16"), "UTF-16"),
        (gzip.compress(GOOD.encode(), mtime=0), "gzip"),
        (b'{"question": "\xff", "answer": "5"}', "not UTF-8"),
        (json.dumps([json.loads(GOOD)], indent=1).encode(), "one JSON array"),
        (b"", "no problem"),
        (b"\n\n", "no problem"),
    ],
)
def test_files_that_are_no_jsonl(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(ProblemFileError, match=why):
        problems(path)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_marks_and_line_ends_are_read(ending: str, mark: str, tmp_path: Path) -> None:
    for name, text in (
        ("a.jsonl", GOOD + ending + GOOD.replace("2+3", "3+2")),
        ("a.csv", f"question,answer{ending}2+3?,5{ending}3+2?,5"),
    ):
        path = tmp_path / name
        path.write_bytes((mark + text).encode())
        assert [problem.question for problem in problems(path)] == ["2+3?", "3+2?"]
        positions = open_rows([path])
        assert [positions.read(i).columns["answer"] for i in range(2)] == ["5", "5"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("question,answer,answer\n2+3?,5,6\n", "'answer' twice"),
        ('question,answer\n"2+3?,5\n', "not readable as CSV"),
        ("question,answer\n2+3?,5,6\n", "more cells"),
        ("question,answer\n" + "x" * (17 * 2**20) + ",5\n", "field larger than field limit"),
        ("question,answer,difficulty\n2+3?,5," + DIGITS + "\n", "64 bits"),
    ],
)
def test_broken_csv(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProblemFileError, match=why):
        problems(path)


def test_a_long_cell_is_read_either_way(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,answer,tests\n2+3?,5," + "x" * 200_000 + "\n", encoding="utf-8")
    csv.field_size_limit(131_072)  # as a new process has it
    assert open_rows([path]).read(0).columns["tests"] == "x" * 200_000  # type: ignore[union-attr]


def table(**columns: Any) -> Any:
    return pa.table({"question": ["2+3?", "3+2?"], "answer": ["5", "5"]} | columns)


def parquet(path: Path, rows: Any) -> Path:
    pq.write_table(rows, path)
    return path


def arrow(path: Path, rows: Any) -> Path:
    feather.write_feather(rows, str(path), compression="uncompressed")
    return path


@pytest.fixture(params=[parquet, arrow])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], Path]:
    name = "rows.parquet" if request.param is parquet else "rows.arrow"
    return lambda rows: request.param(tmp_path / name, rows)


@pytest.mark.parametrize(
    "answers",
    [
        pa.array([Decimal("5"), Decimal("5")], pa.decimal128(38, 0)),
        pa.array([Decimal("5.00"), Decimal("5.00")], pa.decimal256(60, 2)),
        pa.array([5, 5], pa.uint64()),
        pa.array([5.0, 5.0], pa.float16()),
        pa.array(["5", "5"]).dictionary_encode(),
        pa.array(["5", "5"], pa.large_string()),
    ],
)
def test_numbers_of_every_kind(answers: Any, save: Callable[[Any], Path]) -> None:
    assert len(problems(save(table(answer=answers)))) == 2


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (pa.array([5.0, float("nan")]), "no gold answer"),
        (pa.array([5, None]), "no gold answer"),
        (pa.array(["5", None]), "no gold answer"),
        (pa.array([None, None]), "no gold answer"),
        (pa.array([b"5", b"5"]), "a bytes"),
        (pa.array([datetime.date(2026, 1, 5)] * 2), "a date"),
        (pa.array([{"value": 5}, {"value": 5}]), "a dict"),
        (pa.array([[5], [5]]), "a list"),
        (pa.array([True, False]), "a bool"),
        (pa.array([1, 2**62], pa.timestamp("us")), "row 2|a datetime"),
        (pa.array([1, 2**62], pa.duration("s")), "row 2|a timedelta"),
    ],
)
def test_columns_of_other_kinds(answers: Any, why: str, save: Callable[[Any], Path]) -> None:
    with pytest.raises(ProblemFileError, match=why):
        problems(save(table(answer=answers)))


def test_a_value_that_python_has_no_form_for_is_named(save: Callable[[Any], Path]) -> None:
    path = save(table(when=pa.array([1, 2**62], pa.timestamp("us"))))

    def rows() -> Iterator[Any]:
        yield from read_rows(path)

    with pytest.raises(ProblemFileError, match="row 2: a value cannot be read"):
        list(rows())
    positions = open_rows([path])
    assert positions.read(0) is not None
    with pytest.raises(ProblemFileError, match="row 2"):
        positions.read(1)


@pytest.mark.parametrize("expected", [0, 3, 40, 200])
def test_a_truncated_file(expected: int, save: Callable[[Any], Path]) -> None:
    path = save(table())
    path.write_bytes(path.read_bytes()[:expected])
    with pytest.raises(ProblemFileError):
        problems(path)
    with pytest.raises(ProblemFileError):
        open_rows([path]).read(0)
