"""The check of wrong programs: a grader that pays one is caught."""

import pytest

from dianoia.base.records import Problem
from dianoia.tasks import wrong_check
from dianoia.tasks.gold_check import Graded, Outcome
from dianoia.tasks.wrong_check import ENDLESS, check_wrong

ADD = "def add(a, b):\n    return a + b\n"


def rows(
    count: int, outcome: Outcome = Outcome.RIGHT, asserts: str = "assert add(1, 2) == 3"
) -> list[Graded]:
    tests = {"asserts": [asserts], "program_names": ["add"]}
    return [
        Graded(
            f"row {n}",
            outcome,
            Problem(f"p{n}", "?", "", "code", columns={"tests": tests, "solution": ADD}),
        )
        for n in range(count)
    ]


def test_every_program_is_graded_and_few_never_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Grader(dict[str, object]):
        def __call__(self, problem: Problem, program: str) -> float:
            return 0.0

    monkeypatch.setattr(wrong_check, "VERIFIERS", {"code": Grader()})
    programs = list(check_wrong(rows(10)))
    kinds = [program.kind for program in programs]
    assert kinds.count("never ends") == ENDLESS and len(kinds) == 4 * 10 + ENDLESS
    assert all(program.refused for program in programs)
    assert list(check_wrong(rows(3, Outcome.WRONG))) == [], (
        "there is no right program to make them from"
    )


def test_weak_tests_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrong_check, "ENDLESS", 0)
    (weak,) = rows(1, asserts="assert isinstance(add(1, 2), int)")
    refused = {program.kind: program.refused for program in check_wrong([weak])}
    # Another whole number passes here.
    assert refused == {"returns nothing": True, "returns another value": False,
                       "exits early": True, "ends the process": True}  # fmt: skip
