"""Tests as LiveCodeBench publishes them: read, bounded, and never run while they are unpacked."""

import base64
import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import ProblemFileError
from dianoia.base.records import Problem
from dianoia.config import DataSettings
from dianoia.tasks.catalog import VERIFIERS, problem_source
from dianoia.tasks.code import code_tests
from dianoia.tasks.data import code_sets
from tests.unit.tasks.data.data_files import write

CASES = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
CALLS = [{"input": "[1, 2]\n3", "output": "6", "testtype": "functional"}]
STARTER = "class Solution:\n    def total(self, a: List[int], b: int) -> int:\n        "


def packed(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def row(**options: Any) -> dict[str, Any]:
    return {
        "question_title": "Sum", "question_content": "Add them.", "platform": "atcoder",
        "question_id": "abc_a", "contest_date": "2024-01-01", "starter_code": "", "difficulty": "easy",
        "public_test_cases": json.dumps(CASES), "private_test_cases": packed(json.dumps(CASES * 2)),
        "metadata": "{}", **options,
    }  # fmt: skip


def read(tmp_path: Path, **options: Any) -> Problem:
    file = write(tmp_path / "rows.jsonl", [row(**options)])
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
    extra = {
        "starter_code": STARTER,
        "metadata": '{"func_name": "total"}',
        "private_test_cases": "",
    }
    problem = read(tmp_path, public_test_cases=json.dumps(CALLS), **extra)
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
    ("extra", "message"),
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
def test_what_cannot_be_read(tmp_path: Path, extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemFileError) as caught:
        read(tmp_path, **extra)
    assert message in str(caught.value) and "rows.jsonl, row 1" in str(caught.value)


def test_what_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_sets, "MAX_BYTES", 1000)
    with pytest.raises(ProblemFileError, match="MiB unpacked"):
        read(tmp_path, private_test_cases=packed(" " * 5000))


# As the set's own checker grades -----------------------------------------------------------------

OUTPUTS = [
    ("1", "1.0", True),
    ("0.5", "0.50", True),
    ("1 2 3", "1  2 3", True),
    ("1e3", "1000", True),
    ("  7\n", "7", True),
    ("7\n\n", "7", True),
    ("a \n b", "a\nb", True),
    ("0.1 yes", "0.1 yes", True),
    ("Infinity", "inf", True),
    ("1_000", "1000", True),
    ("0.30000000000000004", "0.3", False),
    ("1", "2", False),
    ("yes", "YES", False),
    ("a  b", "a b", False),
    ("1 2", "1\n2", False),
    ("1\n\n2", "1\n2", False),
    ("1 2 3", "1 2", False),
    ("nan", "NaN", False),
    ("sNaN", "1", False),
    ("", "1", False),
    ("1e999999999", "2e999999999", False),
]


@pytest.mark.parametrize(("value", "expected", "right"), OUTPUTS)
def test_output_is_compared_as_decimals_by_line(
    tmp_path: Path, value: str, expected: str, right: bool
) -> None:
    cases = json.dumps([{"input": "", "output": expected, "testtype": "stdin"}])
    problem = read(tmp_path, public_test_cases=cases, private_test_cases="")
    assert VERIFIERS["code"](problem, f"print({value!r}, end='')") == float(right)


def called(tmp_path: Path, output: str, **options: Any) -> Problem:
    calls = [{"input": "[1, 2]\n3", "output": output, "testtype": "functional"}]
    about = {
        "starter_code": STARTER,
        "metadata": '{"func_name": "total"}',
        "private_test_cases": "",
    }
    return read(tmp_path, public_test_cases=json.dumps(calls), **{**about, **options})


VALUES = [
    ("6", "6", True),
    ("6.0", "6", True),
    ("True", "1", True),
    ("(1, 2)", "[1, 2]", True),
    ("[1.0, 2]", "[1, 2]", True),
    ("Counter('aab')", '{"a": 2, "b": 1}', True),
    ("OrderedDict(a=1)", '{"a": 1}', True),
    ("None", "null", True),
    ("'6'", "6", False),
    ("[(1, 2)]", "[[1, 2]]", False),
    ("{1, 2}", "[1, 2]", False),
    ("(x for x in [1, 2])", "[1, 2]", False),
    ("{1: 2}", '{"1": 2}', False),
    ("0.1 + 0.2", "0.3", False),
    ("print(6)", "6", False),
]


@pytest.mark.parametrize(("value", "expected", "right"), VALUES)
def test_values_are_compared_by_equality(
    tmp_path: Path, value: str, expected: str, right: bool
) -> None:
    program = f"class Solution:\n    def total(self, a, b):\n        return {value}"
    assert VERIFIERS["code"](called(tmp_path, expected), program) == float(right)


HEAD = "class Solution:\n    def total(self, a: List[int], b: int) -> int:\n"
WITHOUT_IMPORTS = {
    "List": HEAD + "        return sum(a) + b",
    "Optional and Dict": HEAD + "        c: Optional[Dict[int, Set[int]]] = None\n        return sum(a) + b",
    "Counter": HEAD + "        return sum(Counter(a).elements()) + b",
    "defaultdict and deque": HEAD + "        d = defaultdict(int)\n        d[0] = sum(deque(a))\n        return d[0] + b",
    "ceil, inf, gcd": HEAD + "        assert gcd(4, 6) == 2 and inf > 1\n        return ceil(sum(a) - 0.5) + b",
    "cache": HEAD + "        @cache\n        def s(i): return 0 if i == len(a) else a[i] + s(i + 1)\n        return s(0) + b",
    "lru_cache and reduce": HEAD + "        @lru_cache(None)\n        def s(i): return i\n        return s(reduce(lambda x, y: x + y, a)) + b",
    "heapq and bisect": HEAD + "        h = list(a)\n        heapify(h)\n        heappush(h, b)\n        assert bisect_left(h, 0) == 0\n        return sum(heappop(h) for _ in range(3))",
    "itertools": HEAD + "        return list(accumulate(a))[-1] + len(list(pairwise([1, 2]))) * b",
    "modules": HEAD + "        math.sqrt(4), collections.Counter(), heapq, functools, itertools, re, sys, string, bisect\n        return sum(a) + b",
    "string and re": HEAD + "        assert ascii_lowercase[0] == 'a' and findall('[0-9]', 'a1') == ['1']\n        return sum(a) + b",
    "pow is Python's own": HEAD + "        return sum(a) + pow(b, 5, 240)",
    "a function instead of a class": "def total(a, b): return sum(a) + b",
    "recursion to 5,000": HEAD + "        def s(n): return 0 if n == 0 else 1 + s(n - 1)\n        return s(5000) - 4994",
    "cached recursion to 5,000": HEAD + "        @cache\n        def s(n): return 0 if n == 0 else 1 + s(n - 1)\n        return s(5000) - 4994",
    "state in the object": "class Solution:\n    def __init__(self): self.calls = 0\n"
    "    def total(self, a, b):\n        self.calls += 1\n        return sum(a) + b if self.calls == 1 else 0",
    "a main guard": HEAD + "        return sum(a) + b\nif __name__ == '__main__':\n    print(Solution().total([1], 2))",
}  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_IMPORTS)
def test_a_program_starts_with_the_names_of_the_checker(tmp_path: Path, name: str) -> None:
    assert VERIFIERS["code"](called(tmp_path, "6"), WITHOUT_IMPORTS[name]) == 1.0


@pytest.mark.parametrize(
    "program",
    [
        "a, b = map(int, input().split())\nprint(a + b)\nexit(1)",
        "a, b = map(int, input().split())\nprint(a + b)\nsys.exit(0)",
        "def main():\n    print(sum(map(int, sys.stdin.readline().split())))\nif __name__ == '__main__':\n    main()",
        "print(sum(map(int, open(0).read().split())))",
        "def s(n): return 0 if n == 0 else 1 + s(n - 1)\nprint(s(5000) - 5000 + sum(map(int, input().split())))",
        "import sys\nsys.setrecursionlimit(10**6)\nprint(sum(map(int, sys.stdin.read().split())))",
    ],
)
def test_programs_on_standard_input(tmp_path: Path, program: str) -> None:
    problem = read(tmp_path)
    assert VERIFIERS["code"](problem, program) == 1.0
    assert VERIFIERS["code"](problem, program + "\n1 / 0") in (0.0, float("exit" in program))
    assert VERIFIERS["code"](problem, program.replace("print(", "print(1 + ")) == 0.0
