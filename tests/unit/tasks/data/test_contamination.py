"""The paper's rule of ten words in a row, and what holds for shorter tests, on texts counted by hand."""

from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.base.records import Problem
from dianoia.config import DataSettings
from dianoia.tasks.catalog import FileProblems, problem_source
from dianoia.tasks.data.contamination import Tests, words
from dianoia.tasks.data.set_summary import summary_lines
from tests.unit.tasks.data.data_files import sums, write

TEN = "one two three four five six seven eight nine ten"


def problem(question: str, **columns: object) -> Problem:
    return Problem("17", question, "5", "number", columns=columns)


def gathered(*problems: Problem) -> Tests:
    tests = Tests()
    tests.add("aime", problems)
    return tests


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Find x_1, if $\\frac{3}{4}x=2.5$!", "find x 1 if frac 3 4 x 2 5"),
        ("求２的平方", "求 2 的 平 方"),
        ("Über naïve Δx", "über naïve δx"),
        ("한국 GPT4 か", "한 국 gpt4 か"),
        ("  +-*/ ", ""),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert words(text) == expected.split()


@pytest.mark.parametrize(
    ("question", "shared"),
    [
        (f"Before, {TEN.upper()}!", TEN),
        (f"{TEN.replace(' ', ',  ')} eleven", TEN),
        (TEN.removesuffix(" ten"), None),
        (TEN.replace("five", "5"), None),
        (
            "two three four five six seven eight nine ten eleven",
            TEN.removeprefix("one ") + " eleven",
        ),
        ("nothing of the kind", None),
    ],
)
def test_ten_words_in_a_row(question: str, shared: str | None) -> None:
    overlap = gathered(problem(f"{TEN} eleven")).find(question)
    assert (overlap and overlap[1].shared) == shared
    if overlap:
        assert overlap[0] == "aime" and overlap[1].test.name == "aime, 17"


def test_a_reference_solution_counts_and_a_short_one_does_not() -> None:
    overlap = gathered(
        problem("What is 2 + 3?", solution=TEN), problem("And?", solution="We add two")
    )
    assert overlap.find(f"so {TEN}") is not None
    assert overlap.find("We add two") is None


@pytest.mark.parametrize(
    ("question", "shares"),
    [
        ("Now tell me: what is the capital of France? And of Spain?", True),
        ("What is, the CAPITAL of france", True),
        ("What is the capital of Spain, and what of France?", False),
        ("the capital of France", False),
    ],
)
def test_a_test_of_five_to_nine_words_is_one_gram(question: str, shares: bool) -> None:
    overlap = gathered(problem("What is the capital of France?"))
    assert overlap.short == 1
    assert (overlap.find(question) is not None) == shares


@pytest.mark.parametrize(
    ("question", "shares"),
    [("2+3 = ?", True), ("2+3  = ？", True), ("2-3 = ?", False), ("Is it so that 2+3 = ?", False)],
)
def test_a_shorter_test_is_dropped_where_it_is_the_same(question: str, shares: bool) -> None:
    assert (gathered(problem("2+3 = ?")).find(question) is not None) == shares


def test_chinese_counts_characters() -> None:
    overlap = gathered(problem("小明有三个苹果又买了两个"))
    assert overlap.find("昨天小明有三个苹果又买了吗") is not None  # eleven in a row
    assert overlap.find("小明有三个苹果又买") is None  # nine


def settings(file: Path, *against: str) -> DataSettings:
    return DataSettings(path=str(file), decontaminate=list(against))


def test_training_problems_that_share_words_are_left_out_and_told(tmp_path: Path) -> None:
    rows = [*sums(200), {"question": f"Old: {TEN}?", "answer": "5"}]
    close = [row for row in rows[:-1] if " 7 + 1" in row["question"]]
    file = write(tmp_path / "train.jsonl", rows)
    test = write(tmp_path / "test.jsonl", [{"question": TEN, "answer": "6"}, *close])
    plain, clean = problem_source(str(file)), problem_source(settings(file, str(test)))
    assert isinstance(plain, FileProblems) and isinstance(clean, FileProblems)
    removed = {p.question for p in plain.training} - {p.question for p in clean.training}
    assert removed == {f"Old: {TEN}?", "What is 7 + 1?"}
    assert clean.heldout(500) == plain.heldout(500)
    assert clean.summary.contamination.dropped == 2 and clean.summary.rows == 201
    text = "\n".join(summary_lines(clean.summary))
    assert f"training problems 2 share words with a test of {test} and are left out" in text
    assert f"train-201: 'Old: {TEN}?' has '{TEN}' in common with {test}, test-1" in text


def test_tests_need_no_readable_answers_and_may_be_a_built_in_set(tmp_path: Path) -> None:
    (prompts,) = problem_source("miniature/math").heldout(1)
    file = write(
        tmp_path / "train.jsonl", [*sums(40), {"question": prompts.question, "answer": "1"}]
    )
    proofs = write(tmp_path / "proofs.jsonl", [{"problem": "Prove it.", "answer": "see above"}])
    source = problem_source(settings(file, "miniature/math", str(proofs)))
    assert isinstance(source, FileProblems)
    assert source.summary.contamination.by_set == {"miniature/math": 1}


def test_tests_that_are_not_there(tmp_path: Path) -> None:
    file = write(tmp_path / "train.jsonl", sums(40))
    with pytest.raises(ConfigError, match=r"path = 'no.jsonl': there is no such file"):
        problem_source(settings(file, "no.jsonl"))


def test_nothing_is_left(tmp_path: Path) -> None:
    file = write(tmp_path / "train.jsonl", sums(30))
    source = problem_source(settings(file, str(file)))
    with pytest.raises(ConfigError, match="on the train side and shares no words with a test"):
        source.draw(1, 0, 1)
