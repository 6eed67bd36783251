"""JSON files in every form, and what stands in the way of reading them."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.base.errors import ProblemFileError
from dianoia.tasks import json_files
from dianoia.tasks.data.row_reader import open_rows
from dianoia.tasks.json_files import elements, form_of
from dianoia.tasks.table_files import read_rows, rows_or_errors

ROWS: list[dict[str, Any]] = [
    {"question": "2+3?", "answer": "5"},
    {"question": 'A "brace" }], and 首都', "answer": "6"},
]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
NUMBERED = {name: {str(n): row[name] for n, row in enumerate(ROWS)} for name in ROWS[0]}
SPLIT = {"columns": list(ROWS[0]), "index": [0, 1], "data": [list(row.values()) for row in ROWS]}


def written(tmp_path: Path, text: str | bytes, name: str = "rows.json") -> Path:
    file = tmp_path / name
    data = text if isinstance(text, bytes) else text.encode()
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return file


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["rows.json", "rows.json.gz"])
@pytest.mark.parametrize(
    ("text", "form"),
    [
        (json.dumps(ROWS), "list"),
        (json.dumps(ROWS, indent=1).replace("\n", "\r\n"), "list"),
        ("\ufeff\n " + json.dumps(ROWS), "list"),
        (lines(ROWS), "lines"),
        (json.dumps({"version": "1.0", "data": ROWS}), "object"),
        (json.dumps({"rows": ROWS}, indent=2), "object"),
        (json.dumps(COLUMNS), "object"),
        (json.dumps(NUMBERED), "object"),
        (json.dumps(SPLIT, indent=1), "object"),
    ],
)
def test_every_form_holds_the_same_rows(tmp_path: Path, name: str, text: str, form: str) -> None:
    file = written(tmp_path, text, name)
    assert form_of(file) == form
    assert [columns for _, columns in read_rows(file)] == ROWS
    rows = open_rows([file])
    assert [row.columns for n in range(len(rows)) if (row := rows.read(n))] == ROWS
    assert [row.number for row in rows_or_errors(file)] == [1, 2]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "2+3?", "answer": "5"},
        {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
        {"messages": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"data": [{"role": "user", "content": "a"}], "answer": "5"},
        {"question": "2+3?", "tests": {"0": "a"}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("indent", [None, 2])
def test_a_single_row_is_a_row(tmp_path: Path, row: dict[str, Any], indent: int | None) -> None:
    assert [
        columns for _, columns in read_rows(written(tmp_path, json.dumps(row, indent=indent)))
    ] == [row]


def test_missing_values_of_every_form_are_missing(tmp_path: Path) -> None:
    rows = [{"a": float("nan"), "b": "nan"}, {"a": "x", "b": None}]
    columns = {"a": [float("nan"), "x"], "b": ["nan", None]}
    expected = [{"a": None, "b": "nan"}, {"a": "x", "b": None}]
    for text in (json.dumps(rows), lines(rows), json.dumps(columns), json.dumps({"data": rows})):
        assert [row for _, row in read_rows(written(tmp_path, text))] == expected


@pytest.mark.parametrize(
    "text", ["", " \n", "[]", "[ ]\n", '{"question": [], "answer": []}', '{"data": []}']
)
def test_no_rows(tmp_path: Path, text: str) -> None:
    rows = list(read_rows(written(tmp_path, text)))
    assert rows == [] or rows == [(1, {"data": []})]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[{"a": 1}, {"a": 2},]', "row 3: a comma before the end of the list"),
        ('[{"a": 1},, {"a": 2}]', "row 2: a comma without a row before it"),
        ('[{"a": 1}, {"a": 2,}]', "row 2: not a row of JSON that can be read"),
        ('[{"a": 1}, {"a": 2}', "after row 1: the list is not closed"),
        ('[{"a": 1}, {"a": "2}]', "after row 1: the list is not closed"),
        ('[{"a": 1}}', "after row 0: the list is not closed"),
        ('[{"a": 1}] [{"a": 2}]', "after row 1: text after the end of the list: b'[{"),
        ('[{"a": 1}, [2]]', "row 2: a list, not a JSON object"),
        ('[{"a": 1}, {"a": 1, "a": 2}]', "row 2: not a row of JSON that can be read (it has the key"),
        ('[{"a": 1}, {"a": "\\ud8"}]', "row 2: not a row of JSON"),
        ('{"a": 1,\n "b": }', "row 1: not a document of JSON that can be read"),
        ("5", "a int, not rows"),
        ('{"a": 1}\n{"a": \n', "row 2: not a row of JSON"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_its_row(tmp_path: Path, text: str, why: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ProblemFileError) as caught:
        list(read_rows(file))
    assert why in str(caught.value) and str(file) in str(caught.value)


def test_a_check_reads_on_after_a_broken_element(tmp_path: Path) -> None:
    file = written(tmp_path, '[{"a": 1}, {"a": x}, {"a": 3}]')
    first, broken, last = rows_or_errors(file)
    assert isinstance(broken, ProblemFileError) and "row 2" in str(broken)
    assert (first.number, last.number) == (1, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.json.gz", "rows.csv.gz"])
def test_a_compressed_file_that_is_cut_or_is_none(tmp_path: Path, name: str) -> None:
    rows = [{"question": f"{n}+{n * 7919}?", "answer": str(n * n)} for n in range(20_000)]
    text = json.dumps(rows) if ".json." in name else lines(rows)
    if ".csv" in name:
        text = "question,answer\n" + "".join(f"{row['question']},{row['answer']}\n" for row in rows)
    file = written(tmp_path, text, name)
    file.write_bytes(file.read_bytes()[:-2000])
    for read in (lambda: list(read_rows(file)), lambda: open_rows([file])):
        with pytest.raises(ProblemFileError, match=r"after row \d+: it is cut off; copy or dow"):
            read()
    file.write_text(text)
    with pytest.raises(ProblemFileError, match="it is not compressed with gzip; take .gz off"):
        list(read_rows(file))


def test_a_line_that_unpacks_to_more_than_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("dianoia.tasks.file_formats", "dianoia.tasks.json_files"):
        monkeypatch.setattr(f"{module}.MAX_ROW_BYTES", 1000)
    for name, start in (
        ("a.jsonl.gz", '{"a": "'),
        ("a.json.gz", '[{"a": "'),
        ("a.csv.gz", "a,b\n"),
    ):
        file = written(tmp_path, start + "0" * 5000, name)
        with pytest.raises(ProblemFileError, match=r"row [12]: it is longer than"):
            list(read_rows(file))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.dictionaries(st.text(max_size=3), values, max_size=3), max_size=5), chunk=st.integers(1, 7), indent=st.sampled_from([None, 1]))  # fmt: skip
def test_a_list_is_cut_where_json_cuts_it(
    rows: list[dict[str, Any]], chunk: int, indent: int | None
) -> None:
    """Whatever the texts hold, and wherever the parts of the file end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_files, "_CHUNK_BYTES", chunk)
        for escaped in (True, False):
            data = json.dumps(rows, indent=indent, ensure_ascii=escaped).encode()
            cut = list(elements(Path("rows.json"), io.BytesIO(data)))
            assert [json.loads(element) for _, element in cut] == rows
            assert all(data[at : at + len(element)] == element for at, element in cut)
