"""HumanEval and MBPP as they are published: every reference program passes, and no program that plays judge."""

import json
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import ProblemFileError
from dianoia.base.records import Problem
from dianoia.config import DataSettings
from dianoia.sandbox.sandbox import STRONG, UNSANDBOXED, VARIABLE, offered
from dianoia.tasks.catalog import VERIFIERS, problem_source
from dianoia.tasks.code import code_tests
from dianoia.tasks.gold_check import Outcome, check_files
from tests.unit.tasks.data.data_files import write
from tests.unit.tasks.data.published import HUMANEVAL, MBPP_FULL, MBPP_SANITIZED

SETS = {
    "humaneval": ("humaneval", HUMANEVAL),
    "mbpp, full": ("mbpp", MBPP_FULL),
    "mbpp, sanitized": ("mbpp", MBPP_SANITIZED),
}


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    strongest = next((name for name in STRONG if offered(name) is None), UNSANDBOXED)
    monkeypatch.setenv(VARIABLE, strongest)


def problems(tmp_path: Path, mapping: str, rows: list[dict[str, Any]]) -> list[Problem]:
    file = write(tmp_path / "rows.jsonl", rows)
    data = DataSettings(path=str(file), mapping=mapping)
    source = problem_source(data, whole_file=True)
    return sorted(source.heldout(len(rows)), key=lambda problem: problem.id)


@pytest.mark.parametrize("data_set", SETS)
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_every_reference_program_passes(tmp_path: Path, data_set: str, ending: str) -> None:
    mapping, rows = SETS[data_set]
    file = write(tmp_path / f"rows{ending}", rows)
    graded = list(check_files(DataSettings(path=str(file), mapping=mapping)))
    assert [row.message for row in graded if row.outcome is not Outcome.RIGHT] == []
    assert len(graded) == len(rows)


def test_there_are_enough_rows() -> None:
    assert len(HUMANEVAL) >= 12 and len(MBPP_FULL) + len(MBPP_SANITIZED) >= 8


def test_a_row_of_humaneval(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "humaneval", HUMANEVAL[:1])
    assert (problem.id, problem.verifier, problem.domain) == ("HumanEval/0", "code", "code")
    assert problem.question.startswith(
        "Complete this Python function. Answer with the whole of it."
    )
    assert problem.question.endswith("```") and "def any_close(numbers" in problem.question
    assert "METADATA" not in problem.question and code_tests(problem).count == 1


def test_rows_of_mbpp(tmp_path: Path) -> None:
    full, sanitized = problems(tmp_path, "mbpp", [MBPP_FULL[0], MBPP_SANITIZED[2]])
    assert (full.id, sanitized.id) == ("mbpp-1", "mbpp-7")
    assert "(4, 5)" in full.question and "(2,)" not in full.question, "the others stay hidden"
    assert code_tests(full).count == 2 and code_tests(sanitized).count == 2
    assert "1570.79" not in sanitized.question


FORMS_OF_AN_ANSWER = {
    "the whole": "{prompt}{solution}",
    "fenced": "So:\n```python\n{prompt}{solution}```\nDone.",
    "the rest alone": "{solution}",
    "the rest alone, fenced": "```python\n{solution}```",
}


@pytest.mark.parametrize("form", FORMS_OF_AN_ANSWER)
def test_an_answer_may_be_the_whole_or_the_rest(tmp_path: Path, form: str) -> None:
    for problem, row in zip(
        problems(tmp_path, "humaneval", HUMANEVAL[:5]), HUMANEVAL[:5], strict=True
    ):
        answer = FORMS_OF_AN_ANSWER[form].format(
            prompt=row["prompt"], solution=row["canonical_solution"]
        )
        assert VERIFIERS["code"](problem, answer) == 1.0, row["task_id"]


def test_an_answer_need_not_repeat_imports_and_helpers(tmp_path: Path) -> None:
    closer, _, zero, cyclic, *_ = problems(tmp_path, "humaneval", HUMANEVAL[:4])
    alone = "def any_close(numbers: List[float], threshold: float) -> bool:\n" + str(
        HUMANEVAL[0]["canonical_solution"]
    )
    assert VERIFIERS["code"](closer, alone) == 1.0
    for problem, row in ((zero, HUMANEVAL[2]), (cyclic, HUMANEVAL[3])):
        head = f"def {row['entry_point']}(s):\n    xs = s\n"
        assert VERIFIERS["code"](problem, head + row["canonical_solution"]) == 1.0


WRONG = {
    "HumanEval/0": "def any_close(n, t): return False",
    "HumanEval/1": "import builtins\nbuiltins.abs = lambda x: 0\ndef truncate(n): return 0.5",
    "HumanEval/2": "import math\nmath.fabs = lambda x: 0\ndef poly(xs, x): return 0\ndef find_zero(xs): return 0.0",
    "HumanEval/3": "def encode_cyclic(s): return s\ndef decode_cyclic(s): return s",
    "HumanEval/4": "def sort_third(l): return l",
    "HumanEval/5": "check = lambda c: None\ndef words_string(s): return []",
    "HumanEval/6": "def rounded_avg(n, m): return '0b11'",
    "HumanEval/7": "import math\nmath.isclose = lambda *a, **k: True\ndef polar(x, y): return 0, 0",
    "HumanEval/8": "import os\ndef divide(a, b):\n    if b == 0: os._exit(0)\n    return a / b",
    "HumanEval/9": "class C(dict):\n    def __eq__(self, o): return True\n    def most_common(self, n): return self\n"
    "def letters(s): return C()",
    "HumanEval/10": "def count_up(n):\n    while True: yield from range(n)",
    "HumanEval/11": "def apply(f, xs): return [f(f(x)) for x in xs]",
    "HumanEval/12": "def string_to_md5(t): return None",
    "mbpp-1": "def similar_elements(a, b): return (4, 5)",
    "mbpp-2": "def sum(a, b): return 6",
    "mbpp-3": "class Pair:\n    def __init__(self, a, b): pass\ndef max_chain_length(arr, n): return len(arr)",
    "mbpp-4": "class Node:\n    def __init__(self, d): self.left = self.right = None\ndef max_height(n): return 3",
    "mbpp-5": "def freq_count(x): return dict(enumerate(x))",
    "mbpp-6": "def angle_complex(a, b): return 1.5707963267948966",
    "mbpp-7": "import math\nmath.isclose = lambda *a, **k: True\ndef volume_cone(r, h): return 0",
    "mbpp-8": "import builtins\nbuiltins.set = lambda x: 0\ndef similar_elements(a, b): return 0",
    "mbpp-10": "import re\nre.findall = lambda *a: []\ndef digits(s): return []",
    "mbpp-11": "class Match:\n    __module__ = 're'\n    def __bool__(self): return False\ndef starts(s): return Match()",
    "mbpp-9": "def is_not_prime(n): return n",
}  # fmt: skip


@pytest.mark.parametrize("data_set", SETS)
def test_no_wrong_program_passes(tmp_path: Path, data_set: str) -> None:
    mapping, rows = SETS[data_set]
    for problem in problems(tmp_path, mapping, rows):
        limits = {"wall_seconds": 2, "cpu_seconds": 2}
        problem.columns["tests"]["limits"] = limits  # type: ignore[index]
        assert VERIFIERS["code"](problem, WRONG[problem.id]) == 0.0, problem.id


@pytest.mark.parametrize(
    ("mapping", "row", "message"),
    [
        ("humaneval", HUMANEVAL[0] | {"entry_point": "other"}, "does not define this function"),
        ("humaneval", HUMANEVAL[0] | {"entry_point": "a b"}, "not the name of a function"),
        ("humaneval", HUMANEVAL[0] | {"prompt": "def ("}, "not the beginning of a program"),
        ("humaneval", HUMANEVAL[0] | {"test": None}, "'test'"),
        ("humaneval", HUMANEVAL[0] | {"test": "def check(candidate): pass"}, "no assert"),
        ("humaneval", HUMANEVAL[0] | {"test": "def check(candidate:"}, "not supported"),
        ("humaneval", HUMANEVAL[0] | {"test": "import numpy\ndef check(c):\n    assert c([], 1) == 0"}, "numpy"),
        ("mbpp", MBPP_FULL[0] | {"test_list": []}, "there is no test"),
        ("mbpp", MBPP_FULL[0] | {"test_list": "assert f(1)"}, "no list of texts"),
        ("mbpp", MBPP_FULL[0] | {"text": None}, "'prompt'"),
        ("mbpp", MBPP_FULL[0] | {"test_list": ["assert same(f(1), 2)"]}, "would see the expected value"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_by_row(
    tmp_path: Path, mapping: str, row: dict[str, Any], message: str
) -> None:
    file = write(tmp_path / "rows.jsonl", [row])
    (graded,) = check_files(DataSettings(path=str(file), mapping=mapping))
    assert graded.outcome is Outcome.UNREADABLE
    assert message in graded.message and "row 1" in graded.message
    with pytest.raises(ProblemFileError):
        problems(tmp_path, mapping, [row])


def test_columns_of_tests_survive_as_json(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "humaneval", HUMANEVAL[:1])
    assert json.loads(json.dumps(problem.columns["tests"])) == problem.columns["tests"]
