"""Columns of public sets, as published, and columns that a recipe names. The rows are made up; their schemas are not."""

import json
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import ConfigError, ProblemFileError
from dianoia.base.records import Problem, Turn
from dianoia.config import DataSettings
from dianoia.tasks.catalog import VERIFIERS, FileProblems, problem_source
from dianoia.tasks.data.answer_sets import last_box
from dianoia.tasks.data.mappings import HUB, MAPPINGS
from dianoia.tasks.data.set_summary import summary_lines
from tests.unit.tasks.data.data_files import write

DAPO = (
    "Solve the following math problem step by step. The last line of your response should be of the form "
    "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\nFind 2+3.\n\n"
    'Remember to put your answer on its own line after "Answer:".'
)
GPQA = {
    "Question": "Which gas is noble?\n",
    "Correct Answer": "neon",
    "Incorrect Answer 1": "oxygen",
    "Incorrect Answer 2": "nitrogen ",
    "Incorrect Answer 3": "chlorine",
    "Explanation": "Its shell is full.",
    "Record ID": "rec1",
    "High-level domain": "Chemistry",
}

PUBLIC: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "gsm8k",
        {"question": "How many?", "answer": "He has 1000+234=<<1000+234=1234>>1234.\n#### 1,234"},
        {"question": "How many?", "answer": "1,234", "verifier": "math"},
    ),
    (
        "math",
        {
            "problem": "Find $x$.", "solution": "So $x=\\boxed{\\frac{1}{2}}$.", "answer": "3/4",
            "subject": "Algebra", "level": 5, "unique_id": "test/algebra/1.json",
        },
        {"question": "Find $x$.", "answer": "3/4", "difficulty": 5, "id": "test/algebra/1.json"},
    ),
    (
        "math",
        {"problem": "Find y.", "level": "Level 3", "type": "Algebra", "solution": "$\\boxed{7}$."},
        {"question": "Find y.", "answer": "7", "difficulty": 3, "domain": "math"},
    ),
    (
        "math",
        {"problem": "Find y.", "level": "Level ?", "type": "Geometry", "solution": "$\\fbox{7}$."},
        {"answer": "7", "difficulty": None},
    ),
    (
        "dapo-math-17k",
        {
            "data_source": "math_dapo", "prompt": [{"role": "user", "content": DAPO}], "ability": "MATH",
            "reward_model": {"ground_truth": "5", "style": "rule-lighteval/MATH_v2"},
            "extra_info": {"index": "9a9b"},
        },
        {"question": "Find 2+3.", "answer": "5"},
    ),
    (
        "dapo-math-17k",
        {
            "prompt": "Find 2+3.", "solution": "5", "data_source": "math_dapo", "ability": "MATH",
            "source_prompt": [{"role": "user", "content": DAPO}],
            "reward_model": {"ground_truth": "5", "style": "rule"}, "extra_info": {"index": "9a9b"},
        },
        {"question": "Find 2+3.", "answer": "5"},
    ),
    (
        "verl",
        {
            "data_source": "openai/gsm8k", "prompt": [{"role": "user", "content": "How many?"}],
            "ability": "math", "reward_model": {"style": "rule", "ground_truth": "72"},
            "extra_info": {"split": "train", "index": 0, "answer": "#### 72", "question": "How many?"},
        },
        {"question": "How many?", "answer": "72", "verifier": "math", "context": ()},
    ),
    (
        "verl",
        {
            "data_source": "train-math-deepscaler", "ability": "math",
            "prompt": [{"role": "system", "content": "Think."}, {"role": "user", "content": "Find x."}],
            "reward_model": {"style": "rule", "ground_truth": '["\\\\frac{1}{2}"]'},
        },
        {"question": "Find x.", "answer": "\\frac{1}{2}", "context": (Turn("system", "Think."),)},
    ),
    (
        "openr1-math-220k",
        {
            "problem": "Find z.", "solution": "Long.", "answer": "12", "problem_type": "Algebra",
            "question_type": "math-word-problem", "source": "olympiads", "uuid": "u-1",
            "is_reasoning_complete": [True], "generations": ["<think>\n12"], "correctness_count": 1,
            "messages": [{"role": "user", "content": "Find z."}],
        },
        {"question": "Find z.", "answer": "12"},
    ),
    (
        "openr1-math-220k",
        {"problem": "A) 1 B) 2?", "answer": "B", "question_type": "MCQ", "solution": "B."},
        {"answer": "B", "verifier": "choice"},
    ),
    (
        "openr1-math-220k",
        {"problem": "A) 1 B) 2?", "answer": "\\text{(B)}", "question_type": "MCQ", "solution": "B."},
        {"answer": "\\text{(B)}", "verifier": "choice"},
    ),
    (
        "openr1-math-220k",
        {"problem": "Which sum?", "answer": "\\frac{1}{2}", "question_type": "MCQ", "solution": "It is."},
        {"answer": "\\frac{1}{2}", "verifier": "math"},
    ),
    (
        "deepmath-103k",
        {
            "question": "Find the limit.", "final_answer": "0", "difficulty": 4.5, "topic": "Calculus",
            "r1_solution_1": "a", "r1_solution_2": "b", "r1_solution_3": "c",
        },
        {"question": "Find the limit.", "answer": "0", "difficulty": 4},
    ),
    (
        "deepmath-103k",
        {"prompt": [{"role": "user", "content": "Find the limit."}], "solution": "$0$"},
        {"question": "Find the limit.", "answer": "0"},
    ),
    (
        "aime",
        {"id": 60, "problem": "Every morning.", "solution": "x", "answer": "204", "year": "2024"},
        {"question": "Every morning.", "answer": "204", "id": "rows-1", "verifier": "math"},
    ),
    (
        "aime",
        {"ID": "2024-I-4", "Problem": "Jen.", "Solution": "x", "Answer": 116},
        {"question": "Jen.", "answer": "116"},
    ),
    (
        "aime",
        {"id": 0, "problem": "Ends.", "solution": "$\\boxed{073}$", "url": "https://example.org"},
        {"question": "Ends.", "answer": "073"},
    ),
    ("gpqa", GPQA, {"id": "rec1", "domain": "stem"}),
    (
        "mmlu-pro",
        {"question_id": 70, "question": "Which?", "options": list("tuvwxyzabc"), "answer": "J", "cot_content": "x"},
        {"question": "Which?\n\n" + "\n".join(f"{a}) {b}" for a, b in zip("ABCDEFGHIJ", "tuvwxyzabc", strict=True))
         + "\n\nAnswer with the letter of the right option.", "answer": "J", "id": "mmlu-pro-70", "domain": "stem",
         "verifier": "choice"},
    ),
]  # fmt: skip


def read(tmp_path: Path, *rows: dict[str, Any], **keys: Any) -> list[Problem]:
    file = write(tmp_path / "rows.jsonl", rows)
    source = problem_source(DataSettings(path=str(file), **keys), whole_file=True)
    assert isinstance(source, FileProblems)
    return source.heldout(100)


@pytest.mark.parametrize(("mapping", "row", "expected"), PUBLIC)
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_public_sets(
    tmp_path: Path, ending: str, mapping: str, row: dict[str, Any], expected: dict[str, Any]
) -> None:
    file = write(tmp_path / f"rows{ending}", [row])
    data = DataSettings(path=str(file), mapping=mapping)
    (problem,) = problem_source(data, whole_file=True).heldout(5)
    assert {name: getattr(problem, name) for name in expected} == expected
    assert VERIFIERS[problem.verifier](problem, problem.answer) == 1.0
    dropped = {"generations", "messages", "r1_solution_1"}
    assert not dropped & set(problem.columns)


AS_WRITTEN: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "gsm8k": (
        {"question": "A robe costs $3 a yard. How many dollars does Tom pay?", "answer": "#### 29"},
        ["29", "$29", "\\boxed{29}", "$\\boxed{29}$", "**29**", "29 dollars", "29.", "29.00", "The answer is 29.", "$29$"],
        ["30", "29 or 30", "not 29", "29 million", "29 pears", ""],
    ),
    "aime": (
        {"problem": "Find the sum.", "answer": "073", "solution": "x"},
        ["73", "073", "\\boxed{73}", "\\boxed{073}", "$73$", "**73**", "The answer is $\\boxed{073}$."],
        ["37", "73 or 74", "7, 3", "not 73", ""],
    ),
    "openr1-math-220k": (
        {"problem": "Which? A) 29 B) 30 C) 31", "answer": "B", "question_type": "MCQ", "solution": "x"},
        ["B", "b", "(B)", "B.", "\\boxed{B}", "$\\boxed{B}$", "\\textbf{(B)}", "**B**", "B) 30", "The answer is B", "Option B"],
        ["A", "A or B", "not B", "B, C", "B) 29", "30 or 31", "\\boxed{A} \\boxed{B}", "B?", ""],
    ),
}  # fmt: skip


@pytest.mark.parametrize("mapping", AS_WRITTEN)
def test_answers_to_public_sets_as_a_base_model_writes_them(tmp_path: Path, mapping: str) -> None:
    row, right, wrong = AS_WRITTEN[mapping]
    (problem,) = read(tmp_path, row, mapping=mapping)
    verify = VERIFIERS[problem.verifier]
    assert [answer for answer in right if verify(problem, answer) != 1.0] == []
    assert [answer for answer in wrong if verify(problem, answer) != 0.0] == []


def test_the_options_of_gpqa_stand_in_an_order_of_the_question(tmp_path: Path) -> None:
    (problem,) = read(tmp_path, GPQA, mapping="gpqa")
    options = problem.columns["options"]
    assert sorted(options) == ["chlorine", "neon", "nitrogen", "oxygen"]
    assert options["ABCD".index(problem.answer)] == "neon"
    assert f"{problem.answer}) neon\n" in problem.question + "\n"
    answers = {
        item.answer
        for item in read(tmp_path, *(GPQA | {"Question": f"Q{n}", "Record ID": n} for n in range(40)), mapping="gpqa")
    }  # fmt: skip
    assert answers == set("ABCD")
    assert not any("Answer" in name for name in problem.columns)


def test_rows_without_an_answer_are_left_out(tmp_path: Path) -> None:
    base = {"problem": "Show it.", "solution": "x", "question_type": "proof"}
    rows = [base | {"answer": "proof"}, base | {"answer": "", "question_type": "other"}]
    file = write(tmp_path / "p.jsonl", [*rows, {"problem": "Find 5.", "answer": "5"}])
    source = problem_source(
        DataSettings(path=str(file), mapping="openr1-math-220k"), whole_file=True
    )
    assert isinstance(source, FileProblems) and source.summary.left_out == 2
    assert source.summary.reason == f"{file}, row 1: no problem, by its mapping"
    assert len(source.heldout(5)) == 1


def test_a_public_set_goes_without_golds_that_nobody_can_read(tmp_path: Path) -> None:
    row = {"problem": "x?", "answer": "1", "solution": "x"}
    rows = [row | {"answer": "9" * 1000}, row]
    (problem,) = read(tmp_path, *rows, mapping="math", verifier="number")
    assert problem.answer == "1"
    with pytest.raises(ProblemFileError, match="cannot read this gold answer"):
        read(tmp_path, *rows)  # of one's own file it is refused


@pytest.mark.parametrize(
    ("mapping", "row", "message"),
    [
        ("gsm8k", {"question": "a", "answer": "72"}, "there is no ####"),
        ("gsm8k", {"question": "a"}, "row 1, column 'answer', value None: the mapping reads this"),
        ("math", {"problem": "a", "solution": "no box"}, "no \\boxed{} holds the answer"),
        ("aime", {"Problem": "a"}, "column 'solution', value None: the mapping reads this"),
        ("dapo-math-17k", {"prompt": [{"role": "system", "content": "a"}]}, "one of the user"),
        ("gpqa", GPQA | {"Incorrect Answer 1": "neon"}, "two options are the same"),
    ],
)
def test_rows_of_another_schema(
    tmp_path: Path, mapping: str, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProblemFileError) as caught:
        read(tmp_path, row, mapping=mapping)
    assert message in str(caught.value) and "rows.jsonl, row 1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("\\boxed{1} then \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed {3}.", "3"),
        ("\\boxed{open", None),
        ("\\boxed", None),
        ("nothing {at} all", None),
    ],
)
def test_boxes(text: str, box: str | None) -> None:
    assert last_box(text) == box


# Layouts that a file of one's own is known by --------------------------------------------------------

OPENR1 = {
    "problem": "Find z.", "solution": "Long.", "answer": "12", "question_type": "math-word-problem",
    "generations": ["<think>12"], "correctness_math_verify": [True],
}  # fmt: skip
VERL: dict[str, Any] = {
    "data_source": "x", "prompt": [{"role": "user", "content": "1+1?"}],
    "reward_model": {"ground_truth": 2},
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "mapping", "answer"),
    [
        ({"question": "How many?", "answer": "He has 1000.\n#### 1,234"}, "gsm8k", "1,234"),
        ({"question": "How many?", "answer": "#### -5"}, "gsm8k", "-5"),
        (OPENR1, "openr1-math-220k", "12"),
        (VERL, "verl", "2"),
        (VERL | {"prompt": [{"role": "user", "content": DAPO}]}, "dapo-math-17k", "2"),
    ],
)
@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet", ".csv"])
def test_a_layout_is_known_without_a_name(
    tmp_path: Path, row: dict[str, Any], mapping: str, answer: str, ending: str
) -> None:
    if ending == ".csv":
        row = {name: v if isinstance(v, str) else json.dumps(v) for name, v in row.items()}
    file = write(tmp_path / f"rows{ending}", [row] * 3)
    source = problem_source(str(file), whole_file=True)
    assert isinstance(source, FileProblems)
    problems = source.heldout(9)
    assert [(problem.answer, problem.verifier) for problem in problems] == [(answer, "math")] * 3
    assert summary_lines(source.summary)[0].endswith(f"Mapping: {mapping}.")
    assert VERIFIERS["math"](problems[0], answer) == 1.0


@pytest.mark.parametrize(
    "row",
    [
        {"question": "What does #### 5 mean?", "answer": "5"},
        {"problem": "Find z.", "answer": "12"},
        VERL | {"answer": "7"},
        {"prompt": "1+1?", "reward_model": "Skywork", "answer": "2"},
    ],
)
def test_other_rows_are_read_as_they_are(tmp_path: Path, row: dict[str, Any]) -> None:
    source = problem_source(str(write(tmp_path / "rows.jsonl", [row])), whole_file=True)
    assert isinstance(source, FileProblems) and source.summary.mapping is None
    assert source.heldout(1)[0].answer == row["answer"]


def test_a_layout_gives_way_to_what_the_recipe_names(tmp_path: Path) -> None:
    row = {"question": "How many?", "answer": "So 5.\n#### 5"}
    (problem,) = read(tmp_path, row, columns={"question": "question"}, verifier="exact")
    assert problem.answer == row["answer"]
    (problem,) = read(tmp_path, row, verifier="exact")
    assert (problem.answer, problem.verifier) == ("5", "exact")


@pytest.mark.parametrize(
    ("truth", "why"),
    [
        (["1", "2"], "no ground_truth that is one answer"),
        (True, "no ground_truth that is one answer"),
        ('{"inputs": ["1"], "outputs": []}', "no tests of standard input and output"),
        ('{"inputs": ["1"], "outputs": ["2"], "fn_name": "f"}', "no tests of standard input"),
    ],
)
def test_ground_truths_that_nobody_can_grade(tmp_path: Path, truth: object, why: str) -> None:
    with pytest.raises(ProblemFileError, match=f"rows.jsonl, row 1, .*{why}"):
        read(tmp_path, VERL | {"reward_model": {"ground_truth": truth}})


def test_tests_of_a_program_in_a_ground_truth(tmp_path: Path) -> None:
    truth = json.dumps({"inputs": ["1\n", "2\n"], "outputs": ["2\n", "3\n"]})
    (problem,) = read(tmp_path, VERL | {"ability": "code", "reward_model": {"ground_truth": truth}})
    assert (problem.verifier, problem.domain, problem.question) == ("code", "code", "1+1?")
    assert problem.columns["tests"]["cases"][1] == {"input": "2\n", "output": "3\n"}


def test_mappings_keep_the_messages_before_the_question(tmp_path: Path) -> None:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": DAPO}]
    row = VERL | {"prompt": prompt, "reward_model": {"ground_truth": "5"}}
    (problem,) = read(tmp_path, row, mapping="dapo-math-17k")
    assert problem.messages == (Turn("system", "Be brief."), Turn("user", "Find 2+3."))
    (problem,) = read(tmp_path, {"prompt": prompt, "solution": "$5$"}, mapping="deepmath-103k")
    assert problem.context == (Turn("system", "Be brief."),)


# Columns -----------------------------------------------------------------------------------------


def test_columns_of_a_recipe(tmp_path: Path) -> None:
    row = {
        "prompt": "not this", "task": {"text": "Find 5.", "gold": {"value": 5}}, "lang": "de",
        "answer": "nor this", "level": 3,
    }  # fmt: skip
    columns = {
        "question": "task.text", "answer": "task.gold.value", "language": "lang", "difficulty": "level",
    }  # fmt: skip
    (problem,) = read(tmp_path, row, columns=columns, verifier="exact", domain="riddles")
    assert (problem.question, problem.answer) == ("Find 5.", "5")
    assert (problem.language, problem.difficulty) == ("de", 3)
    assert (problem.verifier, problem.domain) == ("exact", "riddles")
    assert problem.columns["prompt"] == "not this" and problem.columns["task"] == row["task"]


def test_the_table_speaks_for_rows_that_do_not(tmp_path: Path) -> None:
    rows = [{"question": "a", "answer": "b", "verifier": "exact", "domain": "d", "language": "fr"}]
    plain = {"question": "c", "answer": "5"}
    first, second = read(tmp_path, *rows, plain, verifier="number", domain="e", language="de")
    assert (first.verifier, first.domain, first.language) == ("exact", "d", "fr")
    assert (second.verifier, second.domain, second.language) == ("number", "e", "de")


def test_columns_then_a_mapping(tmp_path: Path) -> None:
    row = {"text": "How many?", "answer": "Some.\n#### 7"}
    (problem,) = read(tmp_path, row, mapping="gsm8k", columns={"question": "text"})
    assert (problem.question, problem.answer) == ("How many?", "7")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mapping": "gsm"}, "mapping = 'gsm': there is no such mapping (did you mean 'gsm8k'?)"),
        (
            {"verifier": "numbr"},
            "verifier = 'numbr': there is no such verifier (did you mean 'number'?)",
        ),
    ],
)
def test_a_table_with_a_wrong_name(tmp_path: Path, keys: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, {"question": "a", "answer": "1"}, **keys)
    assert message in str(caught.value) and "rows.jsonl" in str(caught.value)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProblemFileError, match=r"row 1, column 'a.b'.*this row has a, answer"):
        read(tmp_path, {"a": {"c": 1}, "answer": "1"}, columns={"question": "a.b"})


@pytest.mark.parametrize("column", ["tests", "verification_info", "test_list"])
def test_a_row_with_tests_is_code_and_needs_no_answer(tmp_path: Path, column: str) -> None:
    tests: dict[str, Any] = {
        "tests": {"cases": [{"input": "1", "output": "2"}]},
        "verification_info": {
            "language": "python",
            "test_cases": [{"input": "1", "output": "2", "type": "stdin_stdout"}],
        },
        "test_list": ["assert f(1) == 2"],
    }
    row = {"prompt": [{"role": "user", "content": "Add one."}], column: tests[column]}
    for extra in ({}, {"solution": "print(2)", "verifier": "code"}):
        (problem,) = read(tmp_path, row | extra)
        assert (problem.verifier, problem.answer) == ("code", "")
    (other,) = read(tmp_path, row | {"answer": "5"})
    assert (other.verifier, other.answer) == ("number", "5")


def test_broken_tests_name_file_and_row(tmp_path: Path) -> None:
    with pytest.raises(ProblemFileError, match=r"rows.jsonl, row 1: .*there is no test"):
        read(tmp_path, {"prompt": "Add.", "tests": {}})


def test_every_mapping_is_tested_and_every_hub_name_has_one() -> None:
    elsewhere = {"livecodebench", "humaneval", "mbpp"}
    assert {name for name, _, _ in PUBLIC} | elsewhere == set(MAPPINGS)
    assert all(name in item.hub for name, item in HUB.items())
    assert all(any(v in VERIFIERS for v in mapping.verifiers) for mapping in MAPPINGS.values())
