"""Files read during the run: the same problems as a file read whole, in a stream that needs no state."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import ConfigError, ProblemFileError
from dianoia.config import DataSettings
from dianoia.tasks import catalog
from dianoia.tasks.catalog import (
    FileProblems,
    LargeProblems,
    problem_source,
    training_sample,
    verifiers_of,
)
from dianoia.tasks.data import large_files as large
from dianoia.tasks.data.set_summary import summary_lines
from tests.unit.tasks.data.data_files import ENDINGS, saved, sums, write

COUNT = 90


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "LARGE", 0)
    monkeypatch.setattr(large, "FIRST", 8)


def opened(path: Path, **keys: Any) -> LargeProblems:
    catalog._files_source.cache_clear()
    source = problem_source(DataSettings(path=str(path), **keys))
    assert isinstance(source, LargeProblems)
    return source


def small(path: Path, monkeypatch: pytest.MonkeyPatch, **keys: Any) -> FileProblems:
    catalog._files_source.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "LARGE", 10**9)
        source = problem_source(DataSettings(path=str(path), **keys))
    assert isinstance(source, FileProblems)
    return source


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_sides_as_a_file_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    file = write(tmp_path / f"rows{ending}", sums(COUNT))
    source_file, whole = opened(file), small(file, monkeypatch)
    size = len(whole.training)
    problems = source_file.draw(1, 0, size)
    assert sorted(problems, key=lambda p: p.id) == sorted(whole.training, key=lambda p: p.id)
    assert source_file.heldout(1000) == whole.heldout(1000)
    assert source_file.heldout(2) == whole.heldout(2)


def test_an_epoch_holds_every_problem_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    source = opened(saved(tmp_path / "set", sums(COUNT)))
    size = COUNT - len(source.heldout(1000))
    stream = [p.question for p in source.draw(1, 0, 3 * size)]
    epochs = [stream[start : start + size] for start in (0, size, 2 * size)]
    assert all(max(Counter(epoch).values()) == 1 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert [p.question for p in source.draw(2, 0, size)] != epochs[0]


def test_a_stream_depends_on_nothing_that_was_drawn_before(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", sums(COUNT))
    whole = opened(file).draw(1, 0, 250)
    rng = random.Random(5)
    source_file = opened(file)
    for _ in range(30):
        start, count, other = rng.randrange(240), rng.randrange(1, 10), rng.randrange(3)
        source_file.draw(other, rng.randrange(200), 2)
        assert source_file.draw(1, start, count) == whole[start : start + count]
    assert opened(file).draw(1, 249, 1) == whole[249:]


def test_a_test_set_is_held_out_whole(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", sums(COUNT))
    source = problem_source(str(file), whole_file=True)
    assert [p.id for p in source.heldout(3)] == ["rows-1", "rows-2", "rows-3"]
    assert len(source.heldout(1000)) == COUNT
    with pytest.raises(ConfigError, match="on the train side"):
        source.draw(1, 0, 1)


def broken(tmp_path: Path, *numbers: int, count: int = COUNT) -> Path:
    rows = sums(count)
    for number in numbers:
        rows[number - 1]["answer"] = "many"
    return write(tmp_path / "rows.jsonl", rows)


def test_a_broken_row_at_the_beginning_or_where_one_looks_is_refused(tmp_path: Path) -> None:
    for number in (3, COUNT):  # among the first, and the last, which is looked at always
        with pytest.raises(ProblemFileError, match=rf"rows.jsonl, row {number}, column 'answer'"):
            opened(broken(tmp_path, number))


def test_a_broken_row_that_a_run_will_draw_is_refused_before(tmp_path: Path) -> None:
    source = opened(broken(tmp_path, 20))
    with pytest.raises(
        ProblemFileError, match=r"row 20, column 'answer', value 'many'.*cannot read"
    ):
        source.check(1, COUNT)


def test_a_broken_row_is_left_out_and_told_while_a_run_goes(tmp_path: Path) -> None:
    source = opened(broken(tmp_path, 20, 50))
    size = COUNT - 2 - len(source.heldout(1000))
    source.new_warnings()
    problems = source.draw(1, 0, 2 * size)
    assert Counter(Counter(p.id for p in problems).values()) == {2: size}
    assert not {"rows-20", "rows-50"} & {p.id for p in problems}


def test_each_broken_row_is_news_once(tmp_path: Path) -> None:
    source = opened(broken(tmp_path, 20, 50))
    source.draw(1, 0, 200)
    told_now = source.new_warnings()
    assert len(told_now) == 2 and all(line.endswith("the row is left out") for line in told_now)
    source.draw(1, 0, 200)
    assert source.new_warnings() == []


def test_many_broken_rows_are_too_many(tmp_path: Path) -> None:
    source = opened(broken(tmp_path, *range(27, 39)))
    with pytest.raises(ProblemFileError, match=r"11 of \d+ rows read so far cannot be used"):
        source.draw(1, 0, 200)


def test_what_is_drawn_is_kept_clear_of_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = write(tmp_path / "test.jsonl", sums(25, first=10))
    file = write(tmp_path / "rows.jsonl", sums(COUNT))
    source_file = opened(file, decontaminate=[str(test)])
    whole = small(file, monkeypatch, decontaminate=[str(test)])
    size = len(whole.training)
    assert {p.id for p in source_file.draw(1, 0, size)} == {p.id for p in whole.training}
    source_file.draw(1, size, 1)  # to the end of the epoch
    assert source_file.summary.contamination.dropped == whole.summary.contamination.dropped > 10
    assert "training problems checked" in "\n".join(summary_lines(source_file.summary))


def test_what_a_mapping_leaves_out_is_counted(tmp_path: Path) -> None:
    rows = [
        {"problem": f"Find {n}.", "answer": str(n), "question_type": "proof" if n % 3 else "other"}
        for n in range(COUNT)
    ]
    source = opened(write(tmp_path / "rows.jsonl", rows), mapping="openr1-math-220k")
    assert {int(p.answer) % 3 for p in source.draw(1, 0, 60)} == {0}
    source.heldout(1000)
    assert source.summary.left_out == 60 and "no problem, by its mapping" in str(
        source.summary.reason
    )


def test_what_is_known_before(tmp_path: Path) -> None:
    rows = [row | {"language": "de", "verifier": "exact"} for row in sums(COUNT)]
    source = opened(write(tmp_path / "rows.jsonl", rows))
    assert source.languages == {"de"} and verifiers_of(source) == {"exact"}
    assert 5 < len(training_sample(source)) <= 16
    (line,) = summary_lines(source.summary)
    assert "90 rows, read during the run; 15 of them were checked" in line


def test_no_problem_at_all(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n\n\n")
    with pytest.raises(ProblemFileError, match="no problem in 3 rows"):
        opened(file)
