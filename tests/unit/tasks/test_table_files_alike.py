"""The same rows in every format give equal problems, samples and pairs; and files as spreadsheets and scripts leave them."""

import csv
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dianoia.base.errors import ProblemFileError
from dianoia.base.records import Problem, Turn
from dianoia.tasks.catalog import FileProblems, problem_source
from dianoia.tasks.conversation_files import read_conversations
from dianoia.tasks.data.row_reader import open_rows
from dianoia.tasks.preference_files import read_pairs
from dianoia.tasks.table_files import read_rows
from tests.unit.tasks.data.data_files import ENDINGS, write

Row = dict[str, Any]
FOLDERS = itertools.count()
SYSTEM = {"role": "system", "content": "Be brief."}
CSV_ENDINGS = [ending for ending in ENDINGS if "sv" in ending]


def as_cells(rows: list[Row], ending: str) -> list[Row]:
    """CSV has text only: messages as JSON in every second row, as Python writes them in the others."""
    if ending not in CSV_ENDINGS:
        return rows
    return [
        {name: v if isinstance(v, str) else (json.dumps, repr)[n % 2](v) for name, v in row.items()}
        for n, row in enumerate(rows)
    ]


def problems_of(file: Path) -> list[Problem]:
    source = problem_source(str(file), whole_file=True)
    assert isinstance(source, FileProblems)
    return source.heldout(1000)


texts = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), min_size=1, max_size=12
).filter(str.strip)
rows_of_messages = st.lists(
    st.tuples(texts, texts, st.integers(-99, 99).map(str)), min_size=1, max_size=4
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(draws=rows_of_messages)
def test_equal_problems_from_every_format(
    tmp_path: Path, draws: list[tuple[str, str, str]]
) -> None:
    rows: list[Row] = [
        {"prompt": [SYSTEM | {"content": system}, {"role": "user", "content": question}], "answer": answer}
        for system, question, answer in draws
    ]  # fmt: skip
    expected = None
    for ending in ENDINGS:
        # A new folder, since a source is cached while its file does not change.
        file = tmp_path / str(next(FOLDERS)) / f"rows{ending}"
        problems = problems_of(write(file, as_cells(rows, ending)))
        expected = expected or problems
        assert problems == expected, ending
    assert expected is not None
    assert [(p.question, p.context, p.answer) for p in expected] == [
        (question, (Turn("system", system),), answer) for system, question, answer in draws
    ]


@pytest.mark.parametrize("ending", ENDINGS)
def test_samples_and_pairs_from_every_format(tmp_path: Path, ending: str) -> None:
    prompts = [SYSTEM, {"role": "user", "content": "2+3?"}]
    rows: list[Row] = [
        {"messages": [*prompts, {"role": "assistant", "content": f"{n}"}]} for n in range(3)
    ]
    (first, *_) = read_conversations(write(tmp_path / f"rows{ending}", as_cells(rows, ending)))
    assert first.turns == (
        Turn("system", "Be brief."),
        Turn("user", "2+3?"),
        Turn("assistant", "0"),
    )
    rows = [{"prompt": prompts, "chosen": "5", "rejected": "6"}] * 2
    pairs = list(read_pairs(write(tmp_path / f"pairs{ending}", as_cells(rows, ending)), str))
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [("5", "6")] * 2  # type: ignore[union-attr]


@pytest.mark.parametrize("ending", ENDINGS)
def test_sharegpt_in_every_format(tmp_path: Path, ending: str) -> None:
    message = [("human", "2+3?"), ("gpt", "<think>\nWe add.\n</think>\n5")]
    talk = [{"from": name, "value": text} for name, text in message]
    rows: list[Row] = [{"system": "Be brief.", "conversations": talk, "answer": "5"}] * 2
    file = write(tmp_path / f"rows{ending}", as_cells(rows, ending))
    (sample, _) = read_conversations(file)
    turns = (Turn("system", "Be brief."), Turn("user", "2+3?"), Turn("assistant", message[1][1]))
    assert sample.turns == turns
    problem = problems_of(file)[0]
    assert problem.messages == turns[:2] and problem.columns["prompt"][0] == SYSTEM


@pytest.mark.parametrize("ending", [e for e in ENDINGS if e not in CSV_ENDINGS])
def test_nan_is_missing_and_nan_in_letters_is_a_text(tmp_path: Path, ending: str) -> None:
    nan = float("nan")
    rows: list[Row] = [
        {"question": "0/0?", "answer": "nan", "difficulty": nan, "verifier": "exact"}
    ]
    (problem,) = problems_of(write(tmp_path / f"rows{ending}", rows))
    assert (problem.answer, problem.difficulty) == ("nan", None)
    assert problem.columns["difficulty"] is None
    rows = [{"question": "0/0?", "answer": nan}]
    with pytest.raises(ProblemFileError, match="row 1, column 'answer', value None"):
        problems_of(write(tmp_path / f"missing{ending}", rows))


def test_a_frame_of_pandas_written_in_every_way(tmp_path: Path) -> None:
    """A missing value among numbers and among texts, as pandas writes it."""
    rows = [("2+3?", 5.0, "easy"), ("3+4?", 7.0, None)]
    names = ("question", "answer", "level")
    columns = {name: [row[n] for row in rows] for n, name in enumerate(names)}
    ways = {
        "split.json": {"columns": list(names), "index": [0, 1], "data": [list(row) for row in rows]},
        "columns.json": {name: {str(n): v for n, v in enumerate(column)} for name, column in columns.items()},
        "list.json": columns,
        "records.json": [dict(zip(names, row, strict=True)) for row in rows],
    }  # fmt: skip
    for name, value in ways.items():
        file = tmp_path / name
        file.write_text(json.dumps(value), encoding="utf-8")
        problems = problems_of(file)
        assert [problem.answer for problem in problems] == ["5.0", "7.0"]
        assert problems[1].columns["level"] is None


# Files as people leave them ------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_spreadsheet_with_empty_lines_and_trailing_commas(tmp_path: Path, ending: str) -> None:
    lines = ["question,answer,", '"2+3?",5,', "", ",,", "3+4?,7,,,", ",,,", ""]
    text = "\ufeff" + "\r\n".join(lines)
    file = tmp_path / f"rows{ending}"
    file.write_text(text if ending == ".csv" else text.replace(",", "\t"), "utf-8", newline="")
    problems = problems_of(file)
    assert [(p.question, p.answer, p.id) for p in problems] == [
        ("2+3?", "5", "rows-1"),
        ("3+4?", "7", "rows-3"),
    ]
    rows = open_rows([file])
    read = [row for n in range(len(rows)) if (row := rows.read(n))]
    assert [(row.number, row.columns) for row in read] == list(read_rows(file))


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_another_separator_is_named(tmp_path: Path, mark: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"question{mark}answer\n2+3?{mark}5\n", encoding="utf-8")
    for read in (lambda: list(read_rows(file)), lambda: open_rows([file])):
        with pytest.raises(ProblemFileError, match="its cells are separated by") as caught:
            read()
        assert repr(mark) in str(caught.value) and (mark == "\t") == (".tsv" in str(caught.value))


def test_crlf_and_a_byte_order_mark(tmp_path: Path) -> None:
    rows = [{"question": "2+3?", "answer": "5"}, {"question": "3+4?", "answer": "7"}]
    for name, text in (
        ("a.jsonl", "\r\n\r\n".join(json.dumps(row) for row in rows)),
        ("a.json", json.dumps(rows, indent=1).replace("\n", "\r\n")),
    ):
        file = tmp_path / name
        file.write_text("\ufeff" + text, encoding="utf-8", newline="")
        assert [problem.answer for problem in problems_of(file)] == ["5", "7"]


def test_rows_of_mixed_types(tmp_path: Path) -> None:
    file = write(
        tmp_path / "rows.json",
        [
            {"question": "2+3?", "answer": 5},
            {"prompt": [{"role": "user", "content": "2+4?"}], "answer": "6", "question": None},
            {"problem": "2+5?", "solution": 7.0},
        ],
    )
    assert [problem.answer for problem in problems_of(file)] == ["5", "6", "7.0"]
    broken = write(
        tmp_path / "broken.json",
        [{"question": "2+3?", "answer": 5}, {"question": 3, "answer": [5]}],
    )
    with pytest.raises(ProblemFileError, match="broken.json, row 2, column 'answer'"):
        problems_of(broken)


def test_a_large_compressed_file_is_read_row_by_row(tmp_path: Path) -> None:
    """All rows of a file that unpacks to 50 MB, in a process that may not hold it."""
    code = f"""
import gzip, itertools, json, resource
from pathlib import Path
from dianoia.tasks.table_files import read_rows
line = json.dumps({{"question": "x" * 10_000, "answer": "5"}}).encode()
for name, start, separator in (("a.jsonl.gz", b"", b"\\n"), ("a.json.gz", b"[", b",")):
    path = Path({str(tmp_path)!r}, name)
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(start)
        for _ in range(50):
            out.write((line + separator) * 100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in itertools.islice(read_rows(path), 4_999)) == 4_999
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000, name
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_csv_row_of_datasets(tmp_path: Path) -> None:
    """`Dataset.to_csv` writes objects as Python does."""
    file = tmp_path / "rows.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, ["prompt", "reward_model"])
        writer.writeheader()
        prompt = [SYSTEM, {"role": "user", "content": "It's 2+3?"}]
        writer.writerow({"prompt": prompt, "reward_model": {"ground_truth": "5"}})
    (problem,) = problems_of(file)
    assert (problem.answer, problem.messages[1].text) == ("5", "It's 2+3?")
