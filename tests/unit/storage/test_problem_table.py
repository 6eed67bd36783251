"""Means per problem: what is written comes back to the last bit, and what cannot be read is refused."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dianoia.base.errors import DamagedFile, UnknownFormat
from dianoia.base.records import Problem, Turn
from dianoia.storage.problem_table import (
    ProblemMeans,
    question_digest,
    read_problem_means,
    write_problem_means,
)

ROWS = [
    ProblemMeans("a", "0f", "math", 3, 16, 1 / 3, 0.5, 1.0, 0.0, 15, 58.7, 1 / 7, 0.1, None),
    ProblemMeans("b", "1f", "code", None, 16, 0.0, 0.0, 0.0, 1.0, 0, None, None, None, None),
]


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "problems" / "zero.parquet"
    write_problem_means(path, "../run/zero", ROWS)
    assert read_problem_means(path) == ("../run/zero", ROWS)


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "problems" / "zero.parquet"
    write_problem_means(path, "../run/zero", ROWS)
    table = pq.read_table(path).replace_schema_metadata({"format_version": "2"})
    pq.write_table(table, path)
    with pytest.raises(UnknownFormat, match="format_version = 2, and this Dianoia reads version 1"):
        read_problem_means(path)


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "problems" / "zero.parquet"
    write_problem_means(path, "../run/zero", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedFile, match="means per problem cannot be read"):
        read_problem_means(path)
    write_problem_means(path, "../run/zero", ROWS)
    pq.write_table(pq.read_table(path).drop_columns(["accuracy"]), path)
    with pytest.raises(DamagedFile, match="means per problem cannot be read"):
        read_problem_means(path)


def test_a_digest_is_of_everything_asked() -> None:
    problem = Problem("1", "2+3?", "5", "math")
    digest = question_digest(problem)
    assert digest == question_digest(replace(problem, id="2", difficulty=9)) and len(digest) == 16
    others = [
        replace(problem, question="2+4?"),
        replace(problem, answer="6"),
        replace(problem, context=(Turn("system", "Be brief."),)),
        # The same characters, cut elsewhere.
        replace(problem, question="2+3", answer="?5"),
    ]
    assert len({digest, *map(question_digest, others)}) == 5
