"""What can be said of reasoning-gym's tasks without it: names, refusals, forms of answers."""

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dianoia.base.errors import ConfigError
from dianoia.base.records import Problem
from dianoia.cli.task_listing import graded_sets
from dianoia.tasks import catalog
from dianoia.tasks import gold_check as check
from dianoia.tasks.catalog import VERIFIERS, problem_source
from dianoia.tasks.gold_check import Outcome
from dianoia.tasks.gym import OFFERED, REFUSED
from dianoia.tasks.gym import generated_problems as problems

HOSTILE = (
    "__import__('os').system('true')", "[].__class__", "lambda: 1", "eval('1')", "exec('1')", "open('/etc/passwd')",
    "x.__class__", "S('1')", "f'{1}'", "[i for i in range(9)]", "().__class__.__base__", "9**9**9", "a=1;b", "", " ",
    "\0", "exit()", "(lambda:0)()", "{}", "print(1)", "@", "`1`", "O(x)", "factorial(9999)",
)  # fmt: skip


@pytest.mark.parametrize("task", [name for name, rule in OFFERED.items() if rule.form])
def test_no_form_lets_code_through(task: str) -> None:
    form = OFFERED[task].form
    assert form is not None
    for text in HOSTILE:
        assert re.fullmatch(form, text.strip()) is None, text


def test_every_rule_names_a_verifier_and_only_the_scorer_needs_a_form() -> None:
    for name, rule in OFFERED.items():
        assert rule.verifier in VERIFIERS, name
        assert (rule.form is None) == (rule.verifier != "gym"), name


def test_no_task_is_both_offered_and_refused() -> None:
    assert len(OFFERED) >= 70 and not OFFERED.keys() & REFUSED.keys()
    assert all(len(reason) > 15 for reason in REFUSED.values())


@pytest.mark.parametrize("task", sorted(REFUSED))
def test_a_refused_task_says_why(task: str) -> None:
    with pytest.raises(ConfigError, match=r"problems = 'gym/.*not offered: .*use one of ab, "):
        problem_source(f"gym/{task}")


def test_its_gold_answers_are_checked_as_those_of_other_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = source(monkeypatch, 60)
    monkeypatch.setattr(catalog, "gym_problems", lambda name, key: few)
    ((name, graded),) = graded_sets(["gym/gcd"])
    rows = list(graded)
    assert name == "gym/gcd" and len(rows) > check.SAMPLE_SIZE
    assert {row.outcome for row in rows} == {Outcome.RIGHT}
    tests = catalog.read_tests(["gym/gcd"])
    assert tests is not None and tests.sets


def test_without_reasoning_gym_its_tasks_are_no_hub_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="reasoning-gym is not installed"):
        list(graded_sets(["gym/gcd"]))


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="no task of this name has been checked"):
        problem_source("gym/chain_product")


def test_without_reasoning_gym_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"not installed; pip install 'dianoia-r1\[gym\]'"):
        problem_source("gym/gcd")


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9")
    with pytest.raises(ConfigError, match=r"reasoning-gym 9\.9 is installed"):
        problem_source("gym/gcd")


def test_a_problem_that_is_none_of_its_own_has_no_score() -> None:
    assert VERIFIERS["gym"](Problem("p", "?", "5", "gym"), "5") is None
    assert VERIFIERS["gym"](Problem("p", "?", "5", "gym", columns={"task": "gcd"}), "5") is None


class Small:
    """A task with few different questions, as reasoning-gym would make them."""

    category = "arithmetic"

    def __init__(self, size: int) -> None:
        self.size = size

    def __getitem__(self, key: int) -> dict[str, Any]:
        number = key // 2 % self.size
        return {"question": f"What is {number} + 1?", "answer": str(number + 1), "metadata": {}}


def source(monkeypatch: pytest.MonkeyPatch, size: int) -> problems.GymProblems:
    problems._problem.cache_clear()
    monkeypatch.setattr(problems, "_dataset", lambda task, options: Small(size))
    return problems.GymProblems("gcd", (("size", size),))


def test_sides_share_no_question_even_where_there_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    few = source(monkeypatch, 60)
    heldout = {problem.question for problem in few.heldout(1000)}
    training = {problem.question for seed in (1, 2) for problem in few.draw(seed, 0, 300)}
    assert 3 <= len(heldout) <= 30 and len(heldout | training) >= 58 and not heldout & training
    assert [p.question for p in few.heldout(2)] == [p.question for p in few.heldout(1000)][:2]


def test_seeds_are_no_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    large = source(monkeypatch, 2**40)
    first, second = ({problem.id for problem in large.draw(seed, 0, 200)} for seed in (1, 2))
    assert len(first) == len(second) == 200 and not first & second
    assert all(int(name.rpartition("-")[2]) % 2 == 0 for name in first | second)
    assert all(int(problem.id.rpartition("-")[2]) % 2 for problem in large.heldout(50))
    assert large.draw(1, 40, 3) == large.draw(1, 0, 50)[40:43]


def test_one_question_is_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    single = source(monkeypatch, 1)
    with pytest.raises(ConfigError, match="too few different problems"):
        single.draw(1, 0, 1)
        single.heldout(1)


def test_options_are_typed_as_the_task_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Config:
        terms: int = 2
        share: float = 0.5
        brackets: bool = True
        seed: int = 0
        words: tuple[str, ...] = ("a",)

    factory = SimpleNamespace(DATASETS={"gcd": (None, Config)})
    monkeypatch.setattr(problems.importlib, "import_module", lambda name: factory)
    selected = problems._options("gcd", {"terms": "3", "share": "1", "brackets": "False"}, "w")
    assert selected == (("brackets", False), ("share", 1.0), ("terms", 3))
    for inputs, words in (
        ({"seed": "1"}, "no option 'seed'.*terms, share, brackets"),
        ({"words": "b"}, "no option 'words'"),
        ({"terms": "two"}, "terms = 'two': not a int"),
        ({"brackets": "1"}, "not a bool"),
    ):
        with pytest.raises(ConfigError, match=words):
            problems._options("gcd", inputs, "w")


def test_the_documentation_lists_what_is_offered_and_refused() -> None:
    page = (Path(__file__).parents[4] / "docs/choice-and-logic.md").read_text(encoding="utf-8")
    judged = page.partition("| judged by")[2].partition("Two options")[0]
    verifiers = {rule.verifier for rule in OFFERED.values()}
    assert set(re.findall(r"`(\w+)`", judged)) - verifiers == set(OFFERED)
    refused = page.partition("| refused")[2].splitlines()
    assert dict(line.strip("| ").split(" | ") for line in refused if line.startswith("| `")) == {
        f"`{task}`": reason for task, reason in REFUSED.items()
    }
