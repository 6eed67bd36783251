"""Answers made to keep the judge busy: what is decided outside the sandbox takes no longer than usual."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from dianoia.base.records import Problem
from dianoia.sandbox.guest import program_process as guest
from dianoia.sandbox.guest.values import decode, encode
from dianoia.sandbox.sandbox import (
    LANGUAGES,
    STRONG,
    UNSANDBOXED,
    Ending,
    ForkSandbox,
    Limits,
    Outcome,
    Program,
    offered,
)
from dianoia.tasks.code import Verdict, code_tests, extract_program, grade_program
from dianoia.tasks.code.asserts import split_asserts
from dianoia.tasks.code.run_tests import _TAGS

PRIME = 2**61 - 1
"""Whole numbers that differ by it have the same hash."""
COLLIDING = [number * PRIME for number in range(20_000)]


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 5, "seconds; the square of the length would be minutes"


def test_a_fence_that_backtracks() -> None:
    for line in ("```" + "a" * 190_000 + "`", "```" + " " * 190_000 + "`", "```a\n" * 30_000):
        assert extract_program(line) in (line, None, "")


@pytest.mark.parametrize("tag", ["set", "frozenset", "dict"])
def test_sets_and_dictionaries_whose_members_collide_are_refused(tag: str) -> None:
    inside = [[key, 0] for key in COLLIDING] if tag == "dict" else COLLIDING
    with pytest.raises(ValueError, match="same hash"):
        decode(json.dumps({tag: inside}))


def test_ordinary_sets_and_dictionaries_come_through() -> None:
    large = {("a", number) for number in range(5000)} | {number / 7 for number in range(5000)}
    assert decode(encode(large)) == large
    table = {number: str(number) for number in range(5000)}
    assert decode(encode(table)) == table


@pytest.mark.parametrize(
    ("snippet", "value"),
    [
        ("assert set(f(1)) == {1, 2}", COLLIDING),
        ("assert sum(f(1), []) == [1]", [[1]] * 100_000),
        ("assert round(f(1), f(2)) == 1", -(10**9)),
        ("assert sorted(f(1)) == [1]", list(range(10**5, 0, -1))),
    ],
)
def test_functions_outside_are_quick_on_every_value(snippet: str, value: object) -> None:
    steps, (assertion,) = split_asserts(snippet)
    assert assertion.holds(dict.fromkeys(range(len(steps)), value)) is False


def test_functions_outside_still_work() -> None:
    for snippet, value in (
        ("assert set(f(1)) == {0, 1}", [0, 1] * 500),
        ("assert sum(f(1)) == 6", [1, 2, 3.0]),
        ("assert round(f(1), 2) == 1.23", 1.2345),
        ("assert round(f(1)) == 1", 1.2345),
    ):
        _, (assertion,) = split_asserts(snippet)
        assert assertion.holds({0: value}), snippet


def test_a_language_has_a_runner_and_names_for_its_fences() -> None:
    """The seam for another language: these three have to know it."""
    assert set(LANGUAGES) == set(guest.RUNNERS) == set(_TAGS)


# Work on an answer is bounded, and counts as the program's time -----------------------------------

LONG = '"' + "a" * 900_000 + '"'


def nested(tag: str, levels: int) -> str:
    """Sets inside one another around a long text, each with more members than are looked at one by one."""
    text = LONG
    for _ in range(levels):
        text = json.dumps({tag: list(range(33))})[:-2] + f", {text}]}}"
    return text


SLOW = {
    "sets around a long text": nested("frozenset", 300),
    "tuples around a long text in a set": '{"set": [' + nested("tuple", 150) + "]}",
    "few sets around a long text": nested("frozenset", 7),
    "dictionaries with tables as keys": '{"dict": [[' + nested("frozenset", 60) + ", 1]]}",
    "lists without a bottom": "[" * 400_000 + "]" * 400_000,
    "sets without a bottom": '{"frozenset": [' * 50_000 + "]}" * 50_000,
    "numbers with one hash": json.dumps({"set": COLLIDING}),
    "tuples with one hash": json.dumps({"set": [{"tuple": [n, 1]} for n in COLLIDING]}),
    "decimals with one hash": json.dumps({"set": [{"Decimal": f"1e{PRIME}{n}"} for n in range(9000)]}),
    "a whole number of a million digits": json.dumps({"int": "0x" + "f" * 10**6}),
    "a fraction of long numbers": json.dumps({"Fraction": ["0x" + "f" * 400_000, "0x" + "e" * 400_001]}),
    "fractions": json.dumps([{"Fraction": ["0x" + "f" * 5000, "0x" + "e" * 4999]}] * 90),
    "a decimal without end": json.dumps({"Decimal": "9" * 900_000}),
    "a range without end": json.dumps({"range": ["0x0", "0x" + "f" * 20, "0x1"]}),
    "numbers that are none": "[" + "NaN, " * 150_000 + "NaN]",
    "sets of numbers that are none": '{"set": [' + "NaN, " * 9000 + "NaN]}",
}  # fmt: skip


@pytest.mark.parametrize("name", SLOW)
def test_no_value_keeps_its_reader_busy(name: str) -> None:
    started = time.thread_time()
    with suppress(ValueError):
        value = decode(SLOW[name])
        for snippet in (
            "set(f(1)) == {1}",
            "sorted(f(1)) == [1]",
            "round(f(1)) == 1",
            "f(1) // 7 == 1",
            "-5 in f(1)",
        ):
            _, (assertion,) = split_asserts(f"assert {snippet}")
            assert assertion.holds({0: value}) is False
    assert time.thread_time() - started < 2


BUSY = [
    "x = 'a' * 900_000\nfor _ in range(300): x = frozenset([*range(33), x])\ndef f(n): return x",
    "x = 'a' * 900_000\nfor _ in range(150): x = (x, 1)\ndef f(n): return {x}",
    "x = [k * (2**61 - 1) for k in range(20_000)]\ndef f(n): return set(x[:40]) or x",
    "def f(n): return 16 ** 250_000",
    "def f(n): return list(range(10**5, 0, -1))",
    "def f(n): return range(10**18)",
    "def f(n): return [[]] * 200_000",
    'import os\nos.write(3, b\'[0, "value", "1"]\\n\' * 50_000)\ndef f(n): return 0',
]


@pytest.mark.parametrize("snippet", ["assert f(1) == 2", "n = 1\nassert f(n) == n + 1"])
@pytest.mark.parametrize("source", BUSY)
def test_no_program_keeps_the_judge_busy(source: str, snippet: str) -> None:
    name = next((name for name in STRONG if offered(name) is None), UNSANDBOXED)
    tests = code_tests(Problem("p", "?", json.dumps({"asserts": [snippet]}), "code"))
    sandbox = ForkSandbox(name)
    started = time.thread_time()
    judgement = grade_program(source, tests, sandbox)
    used = time.thread_time() - started
    sandbox.close()
    assert judgement.verdict is not Verdict.PASSED
    assert used < 2, judgement


class Late:
    """A sandbox whose programs end a hundredth of a second before their time is up."""

    name = "late"

    def __init__(self, stdout: str = "", value: str = "") -> None:
        self.said = stdout, ((0, "value", value),) if value else ()

    def run(self, program: Program, limits: Limits) -> Outcome:
        stdout, results = self.said
        return Outcome(Ending.FINISHED, 0, stdout, "", results, limits.wall_seconds - 0.01, 0.1)


def test_the_time_of_the_comparison_counts() -> None:
    numbers = list(range(150_000))
    call = {"calls": [{"function": "f", "arguments": [], "expected": numbers}]}
    case = {"cases": [{"input": "", "output": "\n".join(f"{n} " for n in numbers)}]}
    tables = (
        (call, Late(value=json.dumps(numbers))),
        (case | {"tolerance": 1e-6}, Late("\n".join(f"{n}.0" for n in numbers))),
    )
    for table, sandbox in tables:
        tests = code_tests(Problem("p", "?", json.dumps(table), "code"))
        assert grade_program("x", tests, sandbox).verdict is Verdict.TIMED_OUT  # type: ignore[arg-type]
    short = {"cases": [{"input": "", "output": "1"}]}
    tests = code_tests(Problem("p", "?", json.dumps(short), "code"))
    assert grade_program("x", tests, Late("1")).verdict is Verdict.PASSED  # type: ignore[arg-type]
