"""Tests as LiveCodeBench publishes them: read, bounded, and never run while they are unpacked."""

import base64
import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.config import DataSettings
from dianoia.base.errors import ProblemFileError
from dianoia.base.records import Problem
from dianoia.tasks.catalog import VERIFIERS, problem_source
from dianoia.tasks.code import code_tests
from dianoia.tasks.data import livecodebench
from tests.unit.tasks_data.data_files import write

CASES = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
CALLS = [{"input": "[1, 2]\n3", "output": "6", "testtype": "functional"}]
STARTER = "class Solution:\n    def total(self, a: List[int], b: int) -> int:\n        "


def packed(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def row(**more: Any) -> dict[str, Any]:
    return {
        "question_title": "Sum", "question_content": "Add them.", "platform": "atcoder",
        "question_id": "abc_a", "contest_date": "2024-01-01", "starter_code": "", "difficulty": "easy",
        "public_test_cases": json.dumps(CASES), "private_test_cases": packed(json.dumps(CASES * 2)),
        "metadata": "{}", **more,
    }  # fmt: skip


def read(tmp_path: Path, **more: Any) -> Problem:
    file = write(tmp_path / "rows.jsonl", [row(**more)])
    data = DataSettings(path=str(file), mapping="livecodebench")
    (problem,) = problem_source(data, whole_file=True).heldout(5)
    return problem


def test_standard_input_and_output(tmp_path: Path) -> None:
    problem = read(tmp_path)
    assert (problem.id, problem.verifier, problem.domain) == ("abc_a", "code", "code")
    assert problem.question.startswith("Add them.\n\nWrite a Python program that reads")
    assert code_tests(problem).count == 3
    assert "private_test_cases" not in problem.columns
    program = "```python\na, b = map(int, input().split())\nprint(a + b)\n```"
    assert VERIFIERS["code"](problem, program) == 1.0
    assert VERIFIERS["code"](problem, program.replace("a + b", "a - b")) == 0.0


def test_calls_of_a_method(tmp_path: Path) -> None:
    more = {"starter_code": STARTER, "metadata": '{"func_name": "total"}', "private_test_cases": ""}
    problem = read(tmp_path, public_test_cases=json.dumps(CALLS), **more)
    assert problem.question.endswith(f"```python\n{STARTER.rstrip()}\n```")
    program = "class Solution:\n    def total(self, a, b):\n        return sum(a) + b"
    assert VERIFIERS["code"](problem, program) == 1.0
    assert VERIFIERS["code"](problem, program.replace("+", "-")) == 0.0


def test_private_tests_as_plain_json(tmp_path: Path) -> None:
    assert code_tests(read(tmp_path, private_test_cases=json.dumps(CASES))).count == 2


class Attack:
    """A pickle of this runs a command when it is loaded carelessly."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    pickle.loads(pickle.dumps(Attack(trace)))  # carelessly: it does
    trace.rmdir()
    with pytest.raises(ProblemFileError, match="row 1, column 'private_test_cases'.*mkdir"):
        read(tmp_path, private_test_cases=packed(Attack(trace)))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"private_test_cases": packed([1])}, "it holds a list, not text"),
        ({"private_test_cases": "%%%"}, "these tests cannot be read"),
        ({"private_test_cases": base64.b64encode(b"no zlib").decode()}, "cannot be read"),
        ({"private_test_cases": packed("{}")}, "no list of tests"),
        ({"private_test_cases": packed('[{"input": 5}]')}, "no list of tests"),
        ({"public_test_cases": "[]", "private_test_cases": ""}, "there is no test"),
        ({"public_test_cases": json.dumps(CALLS)}, "there is no func_name"),
        (
            {
                "public_test_cases": json.dumps([CALLS[0] | {"input": "one"}]),
                "metadata": '{"func_name": "f"}',
            },
            "a call's values are no JSON",
        ),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemFileError) as caught:
        read(tmp_path, **more)
    assert message in str(caught.value) and "rows.jsonl, row 1" in str(caught.value)


def test_what_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(livecodebench, "MAX_BYTES", 1000)
    with pytest.raises(ProblemFileError, match="MiB unpacked"):
        read(tmp_path, private_test_cases=packed(" " * 5000))
