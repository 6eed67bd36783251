"""Tests in a process of their own, in every sandbox: what is exchanged with the program, and what happens if either ends."""

import os
import signal
from collections.abc import Iterator

import pytest

from dianoia.sandbox.sandbox import (
    STRONG,
    UNSANDBOXED,
    Ending,
    Examination,
    ForkSandbox,
    Limits,
    Outcome,
    Program,
    offered,
)

LIMITS = Limits(wall_seconds=2.0, cpu_seconds=2.0, memory_bytes=256 * 2**20)
NAMES = ("f", "g", "Stack")


@pytest.fixture(scope="module", params=(*STRONG, UNSANDBOXED))
def box(request: pytest.FixtureRequest) -> Iterator[ForkSandbox]:
    if (reason := offered(request.param)) is not None:
        pytest.skip(f"this machine has no sandbox {request.param!r}: {reason}")
    sandbox = ForkSandbox(request.param)
    yield sandbox
    sandbox.close()


def examine(
    box: ForkSandbox, source: str, *units: str, limits: Limits = LIMITS
) -> tuple[Outcome, list[str]]:
    """Run a program with units of tests; return its outcome and the outcome of each unit."""
    program, tests = box.examine(Program(source), Examination(units, NAMES), limits)
    assert tests.exit_code == 0, tests
    return program, [result for _, result, _ in tests.results]


def test_values_cross_as_copies_and_objects_stay(box: ForkSandbox) -> None:
    source = """
def f(x):
    x.append(3)
    return x
class Stack:
    def __init__(self): self.items = []
    def push(self, item): self.items.append(item)
"""
    program, outcomes = examine(
        box, source, "x = [1]\nassert f(x) == [1, 3]\nassert x == [1]",
        "s = Stack()\ns.push(x)\nassert s.items == [[1]]\nx.append(2)\nassert s.items == [[1]]",
        "s.items.append(9)\nassert s.items == [[1]]", "assert s == s", "assert s", "assert s in [s, 1]", "len(s)",
    )  # fmt: skip
    assert outcomes == ["passed", "passed", "passed", "error", "error", "passed", "error"]
    assert (program.ending, program.exit_code) == (Ending.FINISHED, 0)


def test_tests_may_reuse_names_of_the_program(box: ForkSandbox) -> None:
    source = "def f(n): return n\nhelper = len = lambda *a: 99\ndef g(): return 5"
    _, outcomes = examine(
        box, source, "def helper(n): return n", "assert helper(1) == f(1) and len([1]) == 1", "assert other",
    )  # fmt: skip
    assert outcomes == ["passed", "passed", "error"]


@pytest.mark.parametrize(
    ("source", "ending"),
    [
        ("def f(): import os; os._exit(0)", Ending.FINISHED),
        ("import os; os._exit(0)", Ending.FINISHED),
        ("def f(): import ctypes; ctypes.string_at(0)", Ending.CRASHED),
        ("def f(): return bytearray(10**11)", Ending.OUT_OF_MEMORY),
        ("def f():\n    while True: pass", Ending.TIMED_OUT),
        ("import time\ntime.sleep(60)", Ending.TIMED_OUT),
        ("1 / 0", Ending.FINISHED),
    ],
)
def test_a_program_that_ends_early_is_reported_as_gone(
    box: ForkSandbox, source: str, ending: Ending
) -> None:
    wall = 0.5 if ending is Ending.TIMED_OUT else 10.0
    limits = Limits(wall_seconds=wall, cpu_seconds=5.0, memory_bytes=256 * 2**20)
    program, outcomes = examine(
        box, source, "try:\n    f()\nexcept Exception:\n    pass", "assert True", limits=limits
    )
    assert program.ending is ending
    assert outcomes == ["gone"], "whatever the tests make of it, and none of the others is run"


def test_endless_tests_are_stopped(box: ForkSandbox) -> None:
    limits = Limits(wall_seconds=0.3, cpu_seconds=2.0)
    _, tests = box.examine(Program("f = 1"), Examination(("while True: pass",), NAMES), limits)
    assert tests.ending is Ending.TIMED_OUT and tests.results == ()


def test_warm_processes_that_died_are_replaced() -> None:
    sandbox = ForkSandbox(UNSANDBOXED)
    assert examine(sandbox, "def f(): return 1", "assert f() == 1")[1] == ["passed"]
    assert sandbox._tests is not None
    for process in (sandbox._process, sandbox._tests._process):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert examine(sandbox, "def f(): return 1", "assert f() == 1")[1] == ["passed"]
    assert (sandbox.replaced, sandbox._tests.replaced) == (1, 1)
    sandbox.close()
    assert sandbox._tests._process.poll() is not None


def test_no_file_stays_open(box: ForkSandbox) -> None:
    examine(box, "def f(): return 1", "assert f() == 1")
    before = os.dup(0)  # the lowest number that is free
    os.close(before)
    for _ in range(5):
        examine(box, "def f(): return 1", "assert f() == 1")
    after = os.dup(0)
    os.close(after)
    assert after == before


def test_a_function_of_the_tests_runs_with_the_tests(box: ForkSandbox) -> None:
    source = """
def f(function, *items): return [function(item) for item in items]
def g(function):
    try: return function()
    except ZeroDivisionError as error: return str(error)
"""
    _, outcomes = examine(
        box, source, "seen = []\ndef note(n):\n    seen.append(n)\n    return n + 1",
        "assert f(note, 1, 2) == [2, 3] and seen == [1, 2]", "assert f(str, 1) == ['1'] and f(len, 'ab') == [2]",
        "assert g(lambda: 1 / 0) == 'division by zero'", "assert f(lambda n: f(note, n), 5) == [[6]]",
        "assert f(seen.append, 7) == [None] and seen[-1] == 7",
        "class Own: pass\nf(Own())",
    )  # fmt: skip
    assert outcomes == ["passed"] * 6 + ["error"]


def test_exceptions_arrive_as_pythons_own(box: ForkSandbox) -> None:
    source = """
class Mine(ValueError): pass
class Odd(BaseException): pass
def f(name): raise {'mine': Mine('no'), 'key': KeyError('k'), 'stop': StopIteration(1), 'odd': Odd(), 'exit': SystemExit(0),
    'unicode': UnicodeDecodeError('utf-8', b'x', 0, 1, 'bad'), 'assert': AssertionError('a')}[name]
"""
    caught = "try:\n    f({name!r})\nexcept {error_class} as error:\n    assert type(error) is {error_class}\nelse:\n    assert False"
    units = [
        caught.format(name=name, error_class=error_class)
        for name, error_class in (
            ("mine", "ValueError"), ("key", "KeyError"), ("stop", "RuntimeError"), ("odd", "RuntimeError"),
            ("exit", "RuntimeError"), ("unicode", "UnicodeError"), ("assert", "AssertionError"),
        )
    ]  # fmt: skip
    assert examine(box, source, *units)[1] == ["passed"] * len(units)
