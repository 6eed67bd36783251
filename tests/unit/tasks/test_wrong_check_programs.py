"""Wrong programs are wrong, run, and differ from the right one in the function that is called alone."""

import pytest

from dianoia.base.records import Problem
from dianoia.tasks.wrong_check import NEVER_ENDS, wrong_programs

PROGRAM = "def helper(x):\n    return x\n\ndef f(x):\n    return helper(x)\n"


def problem(tests: dict[str, object]) -> Problem:
    return Problem("p", "?", "", "code", columns={"tests": tests})


CALLED = [
    {"program_names": ["f"], "asserts": ["assert f(1) == 1"]},
    {"calls": [{"function": "f", "arguments": [1], "expected": 1}]},
    {"asserts": ["assert f(1) == 1"]},
]


@pytest.mark.parametrize("tests", CALLED)
def test_the_called_function_is_wrong_and_no_other(tests: dict[str, object]) -> None:
    programs = wrong_programs(problem(tests), PROGRAM)
    assert programs.keys() == {
        "returns nothing", "exits early", "ends the process", NEVER_ENDS, "returns another value"
    }  # fmt: skip
    names: dict[str, object] = {}
    exec(programs["returns nothing"], names)  # noqa: S102
    assert names["f"](1) is None and names["helper"](1) == 1  # type: ignore[operator]
    exec(programs["exits early"], names)  # noqa: S102
    with pytest.raises(SystemExit):
        names["f"](1)  # type: ignore[operator]


@pytest.mark.parametrize(
    "value", [True, 0, 1.5, 2j, "", "a", [], [1], (), (1, 2), {1}, {}, {"a": 1}, None, frozenset()]
)
def test_another_value_is_no_equal_one(value: object) -> None:
    wrong = wrong_programs(problem(CALLED[0]), PROGRAM)["returns another value"]
    names: dict[str, object] = {}
    exec(wrong, names)  # noqa: S102
    assert names["f"](value) != value  # type: ignore[operator]


def test_a_method_and_a_program_without_a_function() -> None:
    method = "class Solution:\n    def f(self, n):\n        return n\n"
    programs = wrong_programs(problem({"calls": [{"function": "Solution().f"}]}), method)
    assert "def f(self, n):\n        pass" in programs["returns nothing"]
    assert "returns another value" not in programs
    script = wrong_programs(problem({"cases": [{"input": "1", "output": "1"}]}), "print(input())")
    assert script["prints nothing"] == "pass\n" and NEVER_ENDS in script
    assert wrong_programs(problem({}), "def f(:") == {}
