"""Any row by its number: the same rows, the same complaints, as reading from the first to the last."""

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.base.errors import ProblemFileError
from dianoia.base.files import CACHE, cache_folder
from dianoia.tasks.data.row_reader import line_offsets, open_rows
from dianoia.tasks.table_files import read_rows
from tests.unit.tasks.data.data_files import ENDINGS, sums, write


@pytest.mark.parametrize("ending", ENDINGS)
def test_rows_by_number_are_those_of_reading_through(tmp_path: Path, ending: str) -> None:
    odd = {"question": 'Two\nlines, "quoted", 首都？\u2028still one row', "answer": "x,y"}
    file = write(tmp_path / f"rows{ending}", [*sums(23), odd, *sums(3, 50)])
    rows = open_rows([file])
    actual = [row for index in reversed(range(len(rows))) if (row := rows.read(index)) is not None]
    expected = [(number, columns) for number, columns in read_rows(file)]
    assert [(row.number, row.columns) for row in reversed(actual)] == expected
    assert len(expected) == 27 and expected[23][1]["question"] == odd["question"]


def test_several_files_are_one_after_another(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{n}.jsonl", sums(size, 10 * n)) for n, size in enumerate((3, 1, 4))]
    rows = open_rows(files)
    read = [rows.read(index) for index in range(len(rows))]
    assert [(row.path.name, row.number) for row in read if row] == [
        ("0.jsonl", 1), ("0.jsonl", 2), ("0.jsonl", 3), ("1.jsonl", 1),
        ("2.jsonl", 1), ("2.jsonl", 2), ("2.jsonl", 3), ("2.jsonl", 4),
    ]  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(content=st.lists(st.sampled_from([b"\n", b"\r", b"a", b"bc"]), max_size=12))
def test_lines_begin_where_they_begin(lines_file: Path, content: list[bytes]) -> None:
    lines_file.write_bytes(b"".join(content))
    begins = [int(begin) for begin in line_offsets(lines_file)]
    with lines_file.open("rb") as file:
        expected = list(file)
    whole = b"".join(content)
    assert [whole[a:b] for a, b in itertools.pairwise(begins)] == expected


@pytest.fixture(scope="module")
def lines_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lines") / "lines"


def test_blank_lines_hold_no_row_and_a_broken_line_names_itself(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"question": "a"}\n\n{"question": \n')
    rows = open_rows([file])
    first = rows.read(0)
    assert first is not None and first.columns == {"question": "a"} and rows.read(1) is None
    with pytest.raises(ProblemFileError, match="row 3: not a line of JSON"):
        rows.read(2)


def test_a_broken_csv_record_names_itself(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"question,answer\n1+1?,2\n1+2?\n")
    with pytest.raises(ProblemFileError, match="row 2: it has fewer cells than the header"):
        open_rows([file]).read(1)
    file.write_bytes(b'question,answer\n1+1?,2\n"1+2?,3\n')
    with pytest.raises(ProblemFileError, match="after row 1: not readable as CSV"):
        open_rows([file])


def test_parquet_is_copied_once_and_again_when_it_changes(tmp_path: Path, cache: Path) -> None:
    file = write(tmp_path / "rows.parquet", sums(3))
    for _ in range(2):
        assert len(open_rows([file])) == 3
        (copy,) = (cache / "parquet").iterdir()
    os.utime(write(file, sums(4)), (5, 5))
    assert len(open_rows([file])) == 4
    assert copy in list((cache / "parquet").iterdir())
    file.write_bytes(b"no parquet")
    with pytest.raises(ProblemFileError, match="could not be read as Parquet"):
        open_rows([file])


def test_a_file_that_is_no_arrow(tmp_path: Path) -> None:
    file = tmp_path / "rows.arrow"
    file.write_bytes(b"no arrow at all")
    with pytest.raises(ProblemFileError, match="not readable as an Arrow file"):
        open_rows([file])


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv(CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/dianoia")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "dianoia"
