"""Problem sets by name, and the file-backed set: epochs, splits, streams."""

import json
from collections import Counter
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError, ProblemFileError
from dianoia.config import Habits
from dianoia.tasks import catalog
from dianoia.tasks.catalog import (
    VERIFIERS,
    FileProblems,
    problem_source,
)
from dianoia.tasks.plugins import CORPORA, PROBLEM_SETS, ProblemSource


def write(path: Path, count: int) -> Path:
    rows = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(count)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def fresh(file: Path) -> ProblemSource:
    """The file as a new process reads it."""
    catalog._files_source.cache_clear()
    return problem_source(str(file))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "problems.jsonl", 60)


GOLD = {"number": 1.0, "exact": 1.0, "code": 0.0, "miniature": 1.0}
"""Of a gold answer by verifier. The gold of code is its tests, which can be read but are no program."""


@pytest.mark.parametrize("name", sorted(PROBLEM_SETS))
def test_every_set_grades_its_own_gold(name: str) -> None:
    source = problem_source(name)
    for problem in source.draw(1, 0, 60) + source.heldout(60):
        # a good answer to a general request is 3 of 4: a friendly end is not part of it
        expected = 0.75 if problem.domain == "general" else GOLD[problem.verifier]
        assert VERIFIERS[problem.verifier](problem, problem.answer) == expected


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_every_corpus_writes(name: str) -> None:
    assert next(CORPORA[name].documents(Habits(), 1)).strip()


def test_what_there_is_not_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'miniature/maths'.*sets are miniature/math"):
        problem_source("miniature/maths")
    with pytest.raises(ConfigError, match="no such file"):
        problem_source(str(tmp_path))
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"question": "1+1?", "answer": "2"}\n{"question": "2+2?"}\n')
    with pytest.raises(ProblemFileError, match="row 2"):
        problem_source(str(broken))


def test_a_file_has_two_sides_that_share_nothing(file: Path) -> None:
    source = problem_source(str(file))
    assert isinstance(source, FileProblems)
    heldout = {p.question for p in source.heldout(1000)}
    size = 60 - len(heldout)
    train = {p.question for p in source.draw(1, 0, size)}
    assert 0 < len(heldout) < 20 and not heldout & train and len(heldout | train) == 60
    assert source.heldout(2) == source.heldout(1000)[:2] == fresh(file).heldout(2)


def test_an_epoch_holds_every_problem_once_in_an_order_of_its_own(file: Path) -> None:
    source = problem_source(str(file))
    size = 60 - len(source.heldout(1000))
    stream = [p.question for p in source.draw(1, 0, 3 * size)]
    epochs = [stream[start : start + size] for start in (0, size, 2 * size)]
    assert all(max(Counter(epoch).values()) == 1 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert [p.question for p in source.draw(2, 0, size)] != epochs[0]


def test_a_stream_does_not_depend_on_how_it_is_batched(file: Path) -> None:
    source = problem_source(str(file))
    whole = source.draw(1, 0, 150)
    assert source.draw(1, 0, 40) + source.draw(1, 40, 35) + source.draw(1, 75, 75) == whole
    assert fresh(file).draw(1, 149, 1) == whole[149:]


def test_a_side_without_problems_is_refused(tmp_path: Path) -> None:
    source = problem_source(str(write(tmp_path / "one.jsonl", 1)))
    sides = [lambda: source.draw(1, 0, 1), lambda: source.heldout(1)]
    refused = 0
    for side in sides:
        try:
            assert len(side()) == 1
        except ConfigError as error:
            assert "add problems" in str(error)
            refused += 1
    assert refused == 1
