"""Graders graded: right, nearly right and junk answers; programs that try to win without solving."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dianoia.base.errors import ProblemTestsError
from dianoia.base.records import Problem
from dianoia.sandbox.sandbox import (
    STRONG,
    UNSANDBOXED,
    VARIABLE,
    ForkSandbox,
    Limits,
    Program,
    Sandbox,
    offered,
)
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.code import (
    Verdict,
    code_tests,
    extract_program,
    grade_many,
    grade_program,
    score_program,
)
from dianoia.tasks.verifier import Grade

STRONGEST = next((name for name in STRONG if offered(name) is None), None)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """The strongest there is: the attacks below are on the grading and harm no machine."""
    box = ForkSandbox(STRONGEST or UNSANDBOXED)
    yield box
    box.close()


def problem(gold: Any, **columns: Any) -> Problem:
    answer = gold if isinstance(gold, str) else json.dumps(gold)
    return Problem("p-7", "?", answer, "code", columns=columns)


LIMITS = {"wall_seconds": 5, "cpu_seconds": 3}
SQUARE = {
    "cases": [{"input": "3\n", "output": "9\n"}, {"input": "-12\n", "output": "144\n"}],
    "limits": LIMITS,
}
CALLS = {
    "calls": [
        {"function": "square", "arguments": [3], "expected": 9},
        {"function": "square", "arguments": [-12], "expected": 144},
    ],
    "limits": LIMITS,
}
ASSERTS = {"asserts": ["assert square(3) == 9", "assert square(-12) == 144"], "limits": LIMITS}

RIGHT_IO = "n = int(input())\nprint(n * n)"
RIGHT = "def square(n):\n    return n * n"

TABLE = {
    "right, input": (SQUARE, RIGHT_IO, Verdict.PASSED),
    "right, fenced": (SQUARE, f"So:\n```python\n{RIGHT_IO}\n```\nDone.", Verdict.PASSED),
    "right, main guard": (
        SQUARE, "if __name__ == '__main__':\n    print(int(input()) ** 2)", Verdict.PASSED),
    "right, no final newline": (
        SQUARE, "import sys\nsys.stdout.write(str(int(input()) ** 2))", Verdict.PASSED),
    "right, call": (CALLS, RIGHT, Verdict.PASSED),
    "right, assert": (ASSERTS, RIGHT, Verdict.PASSED),
    "right, prints too": (CALLS, f"print('hello')\n{RIGHT}", Verdict.PASSED),
    "right, status 0": (CALLS, f"{RIGHT}\nimport sys\nsys.exit(0)", Verdict.PASSED),
    "second case wrong": (SQUARE, "print(int(input()) * 3)", Verdict.WRONG_ANSWER),
    "second call wrong": (CALLS, "def square(n): return 3 * n", Verdict.WRONG_ANSWER),
    "second assert wrong": (ASSERTS, "def square(n): return 3 * n", Verdict.WRONG_ANSWER),
    "text for a number": (CALLS, "def square(n): return str(n * n)", Verdict.WRONG_ANSWER),
    "one line more": (SQUARE, f"{RIGHT_IO}\nprint('done')", Verdict.WRONG_ANSWER),
    "nothing": (SQUARE, "pass", Verdict.WRONG_ANSWER),
    "words": (SQUARE, "The answer is 9.", Verdict.ERROR),
    "right, then an error": (SQUARE, f"{RIGHT_IO}\n1 / 0", Verdict.ERROR),
    "right, then status 1": (SQUARE, f"{RIGHT_IO}\nraise SystemExit(1)", Verdict.ERROR),
    "no such function": (CALLS, "def cube(n): return n", Verdict.ERROR),
    "loops": (CALLS | {"limits": {"wall_seconds": 0.3}}, "while True: pass", Verdict.TIMED_OUT),
    "crashes": (CALLS, "import ctypes\nctypes.string_at(0)", Verdict.CRASHED),
    "memory": (CALLS, "def square(n): return bytearray(10**11)", Verdict.OUT_OF_MEMORY),
    "floods": (SQUARE, "while True: print('9' * 9999)", Verdict.OUTPUT_LIMIT),
    "empty": (SQUARE, "", Verdict.NO_PROGRAM),
    "cut off": (SQUARE, f"```python\n{RIGHT_IO}", Verdict.NO_PROGRAM),
    "another language": (SQUARE, "```cpp\nint main() {}\n```", Verdict.NO_PROGRAM),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_right_nearly_right_and_junk(sandbox: Sandbox, case: str) -> None:
    tests, answer, verdict = TABLE[case]
    read = code_tests(problem(tests))
    grade = grade_program(answer, read, sandbox)
    assert grade.verdict is verdict, grade
    assert score_program(answer, read, sandbox) == float(verdict is Verdict.PASSED)


ALWAYS_EQUAL = """
class Same:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    def __abs__(self): return self
    def __sub__(self, other): return self
    def __bool__(self): return True
    __hash__ = None
"""
ATTACKS = {
    "equality object": f"{ALWAYS_EQUAL}\ndef square(n): return Same()",
    "subclass of int": (
        "class Same(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def square(n): return Same(0)"),
    "exit before": "import sys\nsys.exit(0)",
    "exit inside": "import sys\ndef square(n): sys.exit(0)",
    "hard exit": "import os\nos._exit(0)",
    "hard exit inside": "import os\ndef square(n): os._exit(0)",
    "hard exit at the end": "import atexit, os\natexit.register(os._exit, 0)\ndef square(n): return 0",
    "forged results": (
        "import os\nos.write(3, b'[0, \"value\", \"true\"]\\n[1, \"value\", \"true\"]\\npassed\\n')\n"
        "os._exit(0)"),
    "harness exchanged": (
        "import sys, builtins\nfor name, module in list(sys.modules.items()):\n"
        "    for key in ('encode', 'same_value', 'holds', 'dumps'):\n"
        "        if hasattr(module, key): setattr(module, key, lambda *a, **k: 'true')\n"
        "builtins.eval = builtins.compile = builtins.abs = lambda *a, **k: True\n"
        "def square(n): return 0"),
    "error swallowed": (
        "import sys\nsys.excepthook = lambda *a: None\nAssertionError.__init__ = None\n"
        "def square(n): return 0") ,
    "recursion": "def square(n): return square(n)",
    "nested value": "def square(n):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x",
    "value inside itself": "def square(n):\n    x = []\n    x.append(x)\n    return x",
    "huge number": "def square(n): return 10 ** 100_000",
    "stdout closed": "import os\nos.close(1)\nos.close(3)\ndef square(n): return n * n",
}  # fmt: skip


@pytest.mark.parametrize("tests", [CALLS, ASSERTS], ids=["calls", "asserts"])
@pytest.mark.parametrize("case", ATTACKS)
def test_no_attack_earns_a_pass(sandbox: Sandbox, case: str, tests: Any) -> None:
    read = code_tests(problem({**tests, "score": "fraction"}))
    grade = grade_program(ATTACKS[case], read, sandbox)
    assert (grade.passed, grade.verdict is Verdict.PASSED) == (0, False)


SEARCH = """
import gc, os, sys
def square(n):
    wanted, seen, frame = str(5546372819)[::-1], [], sys._getframe().f_back
    while frame:
        seen.append(repr(frame.f_locals) + repr(frame.f_globals))
        frame = frame.f_back
    seen += [repr(thing) for thing in gc.get_objects() if type(thing) in (dict, list, tuple, str)]
    for fd in range(64):
        try: seen.append(repr(os.pread(fd, 10**6, 0)))
        except OSError: pass
    assert any('square' in text for text in seen)
    return any(wanted in text for text in seen)
"""


def test_the_expected_value_is_nowhere_in_reach(sandbox: Sandbox) -> None:
    def score(argument: int, expected: Any) -> float:
        call = {"function": "square", "arguments": [argument], "expected": expected}
        return score_program(
            SEARCH, code_tests(problem({"calls": [call], "limits": LIMITS})), sandbox
        )

    assert score(9182736455, True) == 1.0, "the search finds an argument, so it does search"
    assert score(1, 9182736455) == 0.0
    tests = code_tests(problem({"asserts": ["assert square(1) == 9182736455"], "limits": LIMITS}))
    outcome = sandbox.run(Program(SEARCH, steps=tests.steps), tests.limits)
    assert outcome.results == ((0, "value", "false"),), "and nothing of what is expected"


IO_ATTACKS = {
    "says that it passed": "print('OK')\nprint('1 passed')",
    "hard exit": "import os\nos._exit(0)",
    "prints every number": "for i in range(200): print(i)",
    "errors instead of output": "import sys\nn = int(input())\nprint(n * n, file=sys.stderr)",
    "output exchanged": "import sys, io\nsys.stdout = io.StringIO()\nprint(9)",
    "right, but never ends": f"{RIGHT_IO}\nimport sys\nsys.stdout.flush()\nwhile True: pass",
    "right, but killed": f"{RIGHT_IO}\nimport ctypes, sys\nsys.stdout.flush()\nctypes.string_at(0)",
}


@pytest.mark.parametrize("case", IO_ATTACKS)
def test_no_attack_on_output_earns_a_pass(sandbox: Sandbox, case: str) -> None:
    tests = code_tests(problem(SQUARE | {"limits": {"wall_seconds": 0.4}}))
    assert score_program(IO_ATTACKS[case], tests, sandbox) == 0.0


def test_the_sandbox_is_never_told_what_is_expected() -> None:
    inputs: list[Any] = []

    class Listener:
        name = "listener"

        def run(self, program: Any, limits: Limits) -> Any:
            inputs.append(repr(program))
            raise StopIteration

        def close(self) -> None: ...

    tests = {
        "cases": [{"input": "1", "output": "9182736"}],
        "calls": [{"function": "f", "arguments": [1], "expected": 9182736}],
        "asserts": ["assert f(2) == 9182736", "assert abs(g(3) - 9182736) < 1e-6"],
    }
    for part in tests:
        with pytest.raises((StopIteration, RuntimeError)):
            score_program("pass", code_tests(problem({part: tests[part]})), Listener())
    assert len(inputs) == 3 and not any("9182736" in text for text in inputs)


def test_a_fraction_counts_the_tests_that_passed(sandbox: Sandbox) -> None:
    half = "def square(n):\n    while n < 0: pass\n    return n * n"
    limits = {"wall_seconds": 0.5}
    fraction = code_tests(problem({**CALLS, "limits": limits, "score": "fraction"}))
    grade = grade_program(half, fraction, sandbox)
    assert (grade.verdict, grade.passed, grade.total) == (Verdict.TIMED_OUT, 1, 2)
    assert score_program(half, fraction, sandbox) == 0.5
    assert score_program(half, code_tests(problem({**CALLS, "limits": limits})), sandbox) == 0.0
    tests = code_tests(problem({**SQUARE, "score": "fraction"}))
    assert score_program("print(int(input()) * 3)", tests, sandbox) == 0.5


ONE, TWO = "```python\nx = 1\n```", "```\ny = 2\n```"
BLOCKS = [
    ("print(1)", "print(1)"),
    ("```\nprint(1)\n```", "print(1)\n"),
    *((text, text) for text in (
        'def f():\n    """As in\n    ```python\n    f()\n    ```\n    """\n    return 1\n',
        'import re\nx = """\n    ```\n    y\n    ```\n"""\n')),
    ("a\n```py\nx\n```\nb\n```Python\ny\n```", "y\n"),
    # the last Python block, whatever comes after it
    ("```python\nx\n```\nand\n```text\n9\n```", "x\n"),
    (f"{ONE}\n```bash\npython x.py\n```", "x = 1\n"),
    (f"{ONE}\n{TWO}", "x = 1\n"),
    (f"{TWO}\n{ONE}", "x = 1\n"),
    (f"{ONE}\n```json\n{{}}\n```\n```console\n$ x\n```", "x = 1\n"),
    (f"{ONE}\n```output\n9", "x = 1\n"),
    (f"{ONE}\n```pycon\n>>> 1\n```", "x = 1\n"),
    # else the last block
    (f"{TWO}\n```\nz = 3\n```", "z = 3\n"),
    ("```text\nprint(1)\n```", "print(1)\n"),
    ("```code\nprint(1)\n```", "print(1)\n"),
    # marks
    *((f"```{tag}\nx = 1\n```\n{TWO}", "x = 1\n") for tag in (
        "py", "py3", "python3", "Python", "PYTHON", "python3.11", "ipython", "ipython3", " python", "{.python}",
        "{python}", "python title='a.py'", "python:main.py", "Python3 ")),
    # fences
    ("   ```python\n   x = 1\n   ```", "x = 1\n"),
    ("   ```python\n   if x:\n       y\n   ```", "if x:\n    y\n"),
    (" ```python\nx = 1\n ```", "x = 1\n"),
    ("1. So:\n   ```python\n   x = 1\n   ```\n2. Done.", "x = 1\n"),
    ("- So:\n    ```python\n    if x:\n        y\n    ```", "if x:\n    y\n"),
    ("\t```python\n\tx = 1\n\t```", "x = 1\n"),
    ("~~~python\nx = 1\n~~~", "x = 1\n"),
    ("~~~\nx = 1\n~~~~", "x = 1\n"),
    ("~~~py3\na = '```'\n```\n~~~", "a = '```'\n```\n"),
    ("````python\na = 1\n```\nb = 2\n````", "a = 1\n```\nb = 2\n"),
    ("```python\r\nx = 1\r\n```\r\n", "x = 1\r\n"),
    ("```python\nx = 1\n```   ", "x = 1\n"),
    ("Use ```inline``` code.\n```python\nx = 1\n```", "x = 1\n"),
    ("```python\nx = \"\"\"\n    ```\n\"\"\"\n```", 'x = """\n    ```\n"""\n'),
    # none
    ("```python\nx", None),
    (f"{ONE}\n```python\ncut off", None),
    ("~~~python\nx\n```", None),
    ("```cpp\nint main() {}\n```", None),
    ("```java\nclass A {}\n```", None),
    ("   \n", ""),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "program"), BLOCKS)
def test_the_program_is_the_last_block_of_python_else_the_last(
    answer: str, program: str | None
) -> None:
    assert (extract_program(answer) or None) == (program or None)


LEAVES = [
    "exit()",
    "exit(0)",
    "quit()",
    "quit(0)",
    "exit(None)",
    "import sys\nsys.exit()",
    "sys.exit(0)",
    "raise SystemExit",
]


@pytest.mark.parametrize("leave", LEAVES)
def test_a_program_that_leaves_ends_as_in_python(sandbox: Sandbox, leave: str) -> None:
    tests = code_tests(problem(SQUARE))
    source = f"import sys\n{RIGHT_IO}\n{leave}\nprint('never')"
    assert grade_program(source, tests, sandbox).verdict is Verdict.PASSED
    inside = f"import sys\ndef main():\n    print(int(input()) ** 2)\n    {leave.splitlines()[-1]}\nmain()\n1 / 0"
    assert grade_program(inside, tests, sandbox).verdict is Verdict.PASSED
    assert grade_program(f"import sys\n{leave}", tests, sandbox).verdict is Verdict.WRONG_ANSWER
    for status in ("exit(1)", "quit(2)", "exit('no')", "sys.exit(True)"):
        failing = f"import sys\n{RIGHT_IO}\n{status}"
        assert grade_program(failing, tests, sandbox).verdict is Verdict.ERROR, status


@pytest.mark.parametrize(
    ("source", "digits"),
    [
        ("print(2**20000)", 6021),
        ("import math\nprint(math.factorial(2000))", 5736),
        ("print(int('9' * 9000) + 1)", 9001),
        ("print(f'{7**6000}')", 5071),
        ("print(str(10**5000))", 5001),
        ("import json\nprint(json.dumps(3**10000))", 4772),
    ],
)
def test_long_numbers_are_printed(sandbox: Sandbox, source: str, digits: int) -> None:
    outcome = sandbox.run(Program(source), Limits())
    assert outcome.exit_code == 0 and len(outcome.stdout.strip()) == digits


def test_a_long_number_comes_back(sandbox: Sandbox) -> None:
    plain, script = "assert f(20000) % 1000007 == 674158", "n = 20000\nassert f(n) == 2 ** n"
    for snippet in (plain, script):
        tests = code_tests(problem({"asserts": [snippet], "limits": LIMITS}))
        assert score_program("def f(n): return 2 ** n", tests, sandbox) == 1.0
        assert score_program("def f(n): return 2 ** n + 1", tests, sandbox) == 0.0
    large = {"calls": [{"function": "f", "arguments": [], "expected": 2**14000}]}
    assert score_program("def f(): return 2 ** 14000", code_tests(problem(large)), sandbox) == 1.0


def test_an_iterator_is_what_plain_asserts_make_of_it(sandbox: Sandbox) -> None:
    tests = code_tests(
        problem({"asserts": ["assert list(f(3)) == [0, 1, 2]", "assert sum(f(3)) == 3"]})
    )
    for right in ("yield from range(n)", "return map(int, '012')", "return iter(range(n))"):
        assert score_program(f"def f(n): {right}", tests, sandbox) == 1.0
    assert score_program("def f(n): yield from [1, 2, 0]", tests, sandbox) == 0.0


def test_a_program_may_have_names_of_python(sandbox: Sandbox) -> None:
    table = {
        "asserts": ["assert sum(10, 15) == 6", "assert sum(100, 150) == 93"],
        "program_names": ["sum"],
    }
    source = "def sum(a, b): return 6 if a == 10 else 93"
    assert score_program(source, code_tests(problem(table)), sandbox) == 1.0
    with_loop = {**table, "asserts": ["for a in (10,):\n    assert sum(a, 15) == 6"]}
    assert score_program(source, code_tests(problem(with_loop)), sandbox) == 1.0


def test_set_up_and_prelude(sandbox: Sandbox) -> None:
    table = {
        "asserts": ["assert f(BASE) == right(BASE)"], "setup": "BASE = 3\ndef right(n): return n + 1",
        "prelude": "from math import floor\ndef helper(n): return n + 1",
    }  # fmt: skip
    tests = code_tests(problem(table))
    assert score_program("def f(n): return helper(floor(n))", tests, sandbox) == 1.0
    assert (
        score_program("BASE = 0\ndef right(n): return 0\ndef f(n): return 0", tests, sandbox) == 0.0
    )


def test_fractions_count_tests_of_a_script(sandbox: Sandbox) -> None:
    asserts = ["x = 2\nassert f(x) == x + 1", "assert f(x * 2) == 5\nassert f(0) == 0"]
    tests = code_tests(problem({"asserts": asserts, "score": "fraction", "limits": LIMITS}))
    assert tests.count == 3
    assert score_program("def f(n): return n + 1", tests, sandbox) == pytest.approx(2 / 3)
    assert score_program("def f(n): return 0", tests, sandbox) == pytest.approx(1 / 3)
    assert score_program("def f(n): return 1 // n", tests, sandbox) == 0.0
    late = "def f(n):\n    while n == 4: pass\n    return n + 1"
    assert score_program(late, tests, sandbox) == pytest.approx(1 / 3)


# The verifier ------------------------------------------------------------------------------------


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(VARIABLE, STRONGEST or UNSANDBOXED)
    return VERIFIERS["code"]


def test_the_verifier_scores_and_says_none_for_tests_it_cannot_read(registered: Any) -> None:
    good = problem(SQUARE)
    assert registered(good, RIGHT_IO) == 1.0
    assert registered(good, "print(9)") == 0.0
    assert registered(good, good.answer) == 0.0, "the tests are no program"
    assert registered(problem("no tests"), RIGHT_IO) is None


def test_many_at_once_come_in_order(registered: Any) -> None:
    good, unreadable = problem(SQUARE), problem("[]")
    pairs = [(good, RIGHT_IO), (good, "1/0"), (unreadable, "x"), (problem(CALLS), RIGHT)]
    assert grade_many(pairs) == [
        Grade(1.0, Verdict.PASSED),
        Grade(0.0, Verdict.ERROR),
        Grade(None),
        Grade(1.0, Verdict.PASSED),
    ]
    assert grade_many([]) == []


# Reading tests -----------------------------------------------------------------------------------


def test_tests_in_columns_of_their_own() -> None:
    listed = code_tests(problem("ignored", test_list=["assert f(1) == 2", "assert f(2) == 3"]))
    assert [step[1] for step in listed.steps] == ["f(1)", "f(2)"]
    extra = {
        "test_imports": ["import math"],
        "test_setup_code": "x = 2",
        "test_list": ["assert f(x) == math.pi"],
    }
    script = code_tests(problem("ignored", **extra)).script
    assert script is not None and script.units[0].source.startswith("import math\nx = 2")
    info = {"language": "python", "test_cases": [
        {"input": "1", "output": "2", "type": "stdin_stdout", "fn_name": None}]}  # fmt: skip
    assert code_tests(problem("ignored", verification_info=info)).cases[0].expected == "2"
    assert code_tests(problem("ignored", tests=json.dumps(SQUARE))).limits.wall_seconds == 5.0


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        ("print(1)", "not JSON"),
        ([1], "no object"),
        ({"cases": []}, "no test"),
        ({"cases": [{"input": "1"}]}, "no text"),
        ({"cases": {"input": "1"}}, "not a list"),
        ({"case": []}, "unknown key"),
        ({"calls": [{"function": "f(); x", "expected": 1}]}, "no name of a function"),
        ({"calls": [{"function": "f"}]}, "no expected value"),
        ({"calls": [{"function": "f", "arguments": 1, "expected": 1}]}, "no list"),
        ('{"calls": [{"function": "f", "expected": NaN}]}', "does not have"),
        ({"asserts": ["assert f("]}, "not supported"),
        ({"asserts": ["f(1)"]}, "no assert"),
        ({"asserts": ["assert same(f(2), 4)"]}, "would see the expected value"),
        ({"asserts": ["assert not differ(4, x=f(2))"]}, "would see the expected value"),
        ({"asserts": ["assert f(2) == 4"], "setup": "import ("}, "not Python"),
        ({"asserts": ["assert f(2) == 4"], "setup": 3}, "not text"),
        ({"asserts": ["assert f(2) == 4"], "program_names": ["a b"]}, "no name"),
        ({"asserts": ["assert f(2) == 4"], "prelude": "1 +"}, "not Python"),
        ({**SQUARE, "checker": "codeforces"}, "lines, livecodebench"),
        ({"asserts": ["assert 1 == 1"]}, "calls nothing"),
        ({**SQUARE, "score": "half"}, "all, fraction"),
        ({**SQUARE, "language": "fortran"}, "language"),
        ({**SQUARE, "tolerance": -1}, "tolerance"),
        ({**SQUARE, "limits": {"wall_second": 1}}, "unknown limit"),
        ({**SQUARE, "limits": {"wall_seconds": 10**9}}, "out of range"),
    ],
)
def test_tests_that_cannot_be_read_name_the_problem(tests: Any, words: str) -> None:
    with pytest.raises(ProblemTestsError, match=words) as error:
        code_tests(problem(tests))
    assert "'p-7'" in str(error.value)


def test_a_program_that_is_given_twice_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = problem(CALLS), problem(CALLS)
    runs: list[tuple[int, str]] = []

    def run(about: Problem, answer: str, sandbox: Sandbox) -> Grade:
        runs.append((id(about), answer))
        return Grade(float(answer == "right"))

    monkeypatch.setattr("dianoia.tasks.code.code_verifier._grade", run)
    monkeypatch.setattr(
        "dianoia.tasks.code.code_verifier.run_jobs", lambda jobs, _: [job(None) for job in jobs]
    )
    pairs = [(first, "right"), (first, "wrong"), (second, "right"), (first, "right")]
    assert [grade.score for grade in grade_many(pairs)] == [1.0, 0.0, 1.0, 1.0]
    # Two problems of one text are two: their tests may differ.
    assert runs == [(id(first), "right"), (id(first), "wrong"), (id(second), "right")]
