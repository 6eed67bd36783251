"""No program passes by ruling what it is judged with: forms of tests, each with a right and a wrong program."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import ProblemTestsError
from dianoia.base.records import Problem
from dianoia.config import DataSettings
from dianoia.sandbox.sandbox import ForkSandbox, offered
from dianoia.tasks.code import CodeTests, Verdict, code_tests, grade_program
from dianoia.tasks.gold_check import Outcome, check_files
from tests.unit.tasks.code.forms import AGREES, FORMS, LIES
from tests.unit.tasks.code.walls import KINDS


def read(asserts: list[str], wall_seconds: int = 5, **options: Any) -> CodeTests:
    limits = {"wall_seconds": wall_seconds, "cpu_seconds": 3, "memory_bytes": 256 * 2**20}
    gold = json.dumps({"asserts": asserts, "limits": limits, **options})
    return code_tests(Problem("p-7", "?", gold, "code"))


@pytest.fixture(scope="module", params=KINDS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[ForkSandbox]:
    if (reason := offered(request.param)) is not None:
        pytest.skip(f"this machine has no sandbox {request.param!r}: {reason}")
    with_walls = ForkSandbox(request.param)
    yield with_walls
    assert with_walls.replaced == 0
    with_walls.close()


@pytest.mark.parametrize("name", FORMS)
def test_the_right_program_passes(sandbox: ForkSandbox, name: str) -> None:
    form = FORMS[name]
    judgement = grade_program(form.right, read(form.asserts), sandbox)
    assert judgement.verdict is Verdict.PASSED, judgement


@pytest.mark.parametrize("name", FORMS)
def test_the_wrong_program_does_not(sandbox: ForkSandbox, name: str) -> None:
    form = FORMS[name]
    # This one alone runs until it is stopped, so that a test waits for the clock.
    seconds = 1 if name == "a generator without end" else 5
    judgement = grade_program(form.wrong, read(form.asserts, seconds), sandbox)
    assert judgement.verdict is not Verdict.PASSED, judgement
    assert judgement.passed < judgement.total


def test_there_are_enough_of_them() -> None:
    assert len(FORMS) >= 16 + 30


REFUSED = {
    "the program compares": ("assert same(f(2), 4)", "would see the expected value"),
    "the program compares, turned round": ("assert not differ(4, x=f(2))", "would see the expected value"),
    "the program compares, in two steps": ("r = f(2)\nassert same(r, 4)", "would see the expected value"),
    "the program compares, == True": ("assert same(f(2), 4) == True", "would see the expected value"),
    "the program compares, in a loop": (
        "assert all(same(f(n), n) for n in range(3))", "would see the expected value"),
    "the program compares, in a function": (
        "def check(c):\n    assert close(c(2), 4)\ncheck(f)", "would see the expected value"),
    "a package compares": ("assert np.allclose(f(1), 3.0)", "would see the expected value"),
    "the program names the value": ("assert f(3) == EXPECTED", "name of the program"),
    "the program names it in a table": ("assert f(3) == ANSWERS[3]", "name of the program"),
    "the program names it in an object": ("assert f(3) == config.answer", "name of the program"),
    "the program has both sides": ("assert f(3) == reference(3)", "with one another"),
    "the program names it in a sum": ("assert f(3) == EXPECTED + 0", "name of the program"),
    "the program names it in a list": ("assert [f(3)] == [EXPECTED]", "name of the program"),
    "the program names it, sorted": ("assert f(3) == sorted(EXPECTED)", "name of the program"),
    "the program names it in two steps": ("want = EXPECTED\nassert f(3) == want", "name of the program"),
    "the program names it as a module": (
        "import solution\nassert solution.f(3) == solution.EXPECTED", "name of the program"),
    "the program names the module": ("from solution import math\nassert f(1) == math.pi", "name of the program"),
    "the program has both sides, as a module": (
        "import solution\nassert solution.f(3) == solution.right(3)", "with one another"),
    "the program has both sides, in two steps": (
        "want = reference(3)\nhave = f(3)\nassert have == want", "with one another"),
    "the program has both sides, in pairs": ("assert (f(1), f(2)) == (g(1), g(2))", "with one another"),
    "the program has both sides, sorted": ("assert sorted(f(3)) == sorted(g(3))", "with one another"),
    "identity": ("x = [1]\nassert f(x) is x", "it is a copy"),
    "no identity": ("x = [1]\nassert f(x) is not x", "it is a copy"),
    "identity by number": ("x = [1]\nassert id(f(x)) == id(x)", "copies"),
    "in place": ("x = [2, 1]\nf(x)\nassert x == [1, 2]", "programs get copies"),
    "in place, in a function": (
        "def check(c):\n    x = [2, 1]\n    c(x)\n    assert x == [1, 2]\ncheck(f)", "programs get copies"),
    "in place, in one assert": (
        "x = [2, 1]\nassert f(x) is None and x == [1, 2]", "programs get copies"),
    "left alone": ("x = [2, 1]\ny = f(x)\nassert y == [1, 2]\nassert x == [2, 1]", "programs get copies"),
    "in place, a copy of its own": ("x = list('ba')\nf(x)\nassert ''.join(x) == 'ab'", "programs get copies"),
    "evaluates what came back": ("assert eval(f('1+1')) == 2", "eval"),
    "runs what came back": ("exec(f('x = 1'))\nassert x == 1", "exec"),
    "imports what came back": ("m = __import__(f(1))\nassert m", "import"),
    "unpickles what came back": ("import pickle\nassert pickle.loads(f(1)) == 1", "import pickle"),
    "looks into frames": ("import sys\nassert sys._getframe() and f(1) == 1", "_getframe"),
    "looks into the source": ("import inspect\nassert 'for' in inspect.getsource(f)", "import inspect"),
    "reads what is printed": (
        "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n    f(1)\n"
        "assert out.getvalue() == '1'", "redirect_stdout"),
    "exchanges the output": (
        "import io, sys\nsys.stdout = io.StringIO()\nf(1)\nassert sys.stdout.getvalue() == '1'", "stdout"),
    "exchanges names": ("from unittest.mock import patch\nassert f(1) == 1", "import unittest.mock"),
    "a class of the test as argument": (
        "class Node:\n    value = 1\nassert f(Node()) == 1", "own class Node"),
    "everything of an unknown module": ("from os import *\nassert f(1) == 1", "name what is imported"),
    "a package": ("import numpy as np\nassert f(1) == 1", "import numpy"),
    "nothing of the program": ("import math\nassert math.pi > 3", "calls nothing"),
    "only a constant": ("assert True, 'fine'", "calls nothing"),
    "no assert": ("f(1)", "no assert"),
    "a function that nobody calls": ("def check(c):\n    assert c(1) == 1\ng = f", "no assert"),
    "a pair in brackets": ("assert (f(2) == 4, 'wrong')", "whatever the program does"),
    "a lambda": ("assert lambda: f(2) == 4", "whatever the program does"),
    "a generator": ("assert (f(n) == n for n in range(3))", "whatever the program does"),
    "or true": ("assert f(2) == 4 or True", "whatever the program does"),
    "a text": ("assert f'{f(2)} is 4'", "whatever the program does"),
    "a list": ("assert [f(2) == 4]", "whatever the program does"),
    "caught": ("try:\n    assert f(2) == 4\nexcept:\n    pass", "cannot fail"),
    "caught and printed": (
        "try:\n    assert f(2) == 4\nexcept AssertionError as e:\n    print('failed', e)", "cannot fail"),
    "caught, the one that says so too": (
        "try:\n    f(-1)\n    assert False\nexcept Exception:\n    pass", "cannot fail"),
    "no Python": ("assert f(1) ==", "not supported"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_separated_is_refused(name: str) -> None:
    snippet, words = REFUSED[name]
    with pytest.raises(ProblemTestsError, match=words) as error:
        read([snippet])
    assert "'p-7'" in str(error.value) and "asserts" in str(error.value)


ACCEPTED = [
    "assert tuple(f([1])) == tuple(f([1]))",
    "assert f(g(1), 2) == 3",
    "assert is_even(double(3))",
    "assert type(f(1)) is int",
    "assert f(1) is None",
    "assert f(1) is int",
    "try:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass",
    "try:\n    assert f(2) == 4\nexcept Exception as error:\n    raise AssertionError from error",
    "assert f(2) == 4 or f(2) == 5",
    "x = [2, 1]\nassert f(x) == sorted(x)",
    "x = [2, 1]\ny = f(x)\nassert y == sorted(x) and len(y) == len(x)",
    "stack = Stack()\nstack.push(1)\nassert stack.pop() == 1",
    "x = [1]\nstack = Stack()\nstack.extend(x)\nassert stack.items == x",
    "assert CONSTANT == 5",
    "assert decode(encode('a')) == 'a'",
    "assert f(g(1)) == g(f(1))",
    "assert list(map(f, [1])) == [1]",
    "a = f(1)\nb = f(2)\nassert a == b",
    "a = Stack()\nb = Stack()\nassert a.pop() == b.pop()",
    "want = [1]\nassert f(1) == want",
    "root = Node(1)\nassert height(root) == 1",
    "from solution import f as g\nassert g(1) == 1",
    "import solution\nassert solution.f(1) == 1",
    "def test_it():\n    assert f(1) == 1",
    "class Helper:\n    @staticmethod\n    def right(n):\n        return n\nassert f(1) == Helper.right(1)",
    "import re\npattern = re.compile('a')\nassert pattern.match(f(1))",
]


@pytest.mark.parametrize("snippet", ACCEPTED)
def test_what_can_be_separated_is_not(snippet: str) -> None:
    assert read([snippet]).count == 1


@pytest.mark.parametrize("name", LIES)
def test_no_object_that_agrees_with_everything_passes(sandbox: ForkSandbox, name: str) -> None:
    judgement = grade_program(AGREES, read([name]), sandbox)
    assert judgement.verdict is not Verdict.PASSED, judgement


def test_a_file_with_such_a_row_is_refused_by_row(tmp_path: Path) -> None:
    rows = [
        {"question": "Sum.", "tests": {"asserts": [snippet]}}
        for snippet in ("assert f(1) == 1", "assert same(f(2), 4)")
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    first, second = check_files(DataSettings(path=str(file)))
    assert first.outcome is Outcome.UNGRADED
    assert second.outcome is Outcome.UNREADABLE
    assert "row 2" in second.message and "would see the expected value" in second.message
