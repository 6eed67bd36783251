"""Grade wrong programs: a verifier that pays one of them would teach it.

In: rows of a set whose reference programs are right. Out: one `WrongProgram` per program that was run, in order.

Wrong programs are made from a problem's own right one: each is wrong whatever the tests ask for, unless they ask for nothing. They
are what models write and what reinforcement learning finds: a function without a body, another value, a process that ends
before the tests do, a loop without an end.
"""

import ast
import copy
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dianoia.base.records import Problem
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.code.names import parsed
from dianoia.tasks.gold_check import PROGRAMS, Graded, Outcome

ENDLESS = 4
"""Problems on which a program that never ends is run: each takes the whole time limit."""
_THREADS = 8


@dataclass(frozen=True, slots=True)
class WrongProgram:
    """A wrong program with its grade."""

    row: str
    """File and row, or set and id."""
    kind: str
    """What is wrong with it, such as `exits early`."""
    score: float | None
    """1: it passed as right."""

    @property
    def refused(self) -> bool:
        """True if it was graded, and not as right."""
        return self.score is not None and self.score < 1.0


def check_wrong(rows: Iterable[Graded]) -> Iterator[WrongProgram]:
    """Grade the wrong programs of every row whose reference program is right; other rows are passed over."""
    programs = list(_programs(rows))
    with ThreadPoolExecutor(_THREADS) as threads:
        scores = threads.map(lambda item: VERIFIERS["code"](item[0].problem, item[2]), programs)
        for (graded, fault, _), score in zip(programs, scores, strict=True):
            yield WrongProgram(graded.row, fault, score)


def _programs(rows: Iterable[Graded]) -> Iterator[tuple[Graded, str, str]]:
    """Yield each wrong program with its row and its kind."""
    endless = 0
    for graded in rows:
        if graded.outcome is not Outcome.RIGHT or graded.problem is None:
            continue
        if graded.problem.verifier != "code":
            continue
        columns = (graded.problem.columns.get(name) for name in PROGRAMS)
        program = next(text for text in columns if isinstance(text, str) and text.strip())
        for fault, wrong in wrong_programs(graded.problem, program).items():
            endless += fault == NEVER_ENDS
            if fault != NEVER_ENDS or endless <= ENDLESS:
                yield graded, fault, wrong


# How wrong programs are made -----------------------------------------------------------------------

NEVER_ENDS = "never ends"
"""The kind that costs the whole time limit of a run."""
_BODIES = {
    "returns nothing": "pass",
    "exits early": "import sys\nsys.exit(0)",
    "ends the process": "import os\nos._exit(0)",
    NEVER_ENDS: "while True:\n    pass",
}
_OTHER_VALUE = "returns another value"
# Every value becomes one that is not equal to it, and not close to it either.
_CHANGED = """
_right_function = {name}

def _another(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float, complex)):
        return value + 1
    if isinstance(value, str):
        return value + "?"
    if isinstance(value, (list, tuple)):
        return value + type(value)([None])
    if isinstance(value, (set, frozenset)):
        return value | {{"?"}}
    if isinstance(value, dict):
        return {{**value, "?": None}}
    return 0 if value is None else None

def {name}(*arguments, **named):
    return _another(_right_function(*arguments, **named))
"""


def wrong_programs(problem: Problem, program: str) -> dict[str, str]:
    """Return wrong programs by kind, made from a right one; none for a program that is no Python.

    Where the tests call a function, only that function is wrong; else the whole program is replaced.
    """
    try:
        tree = parsed(program)
    except (SyntaxError, ValueError):
        return {}
    name = _called(problem, tree)
    if name is None:
        # It reads standard input and prints; without a print every output is missing.
        return {fault.replace("returns", "prints"): f"{body}\n" for fault, body in _BODIES.items()}
    programs = {fault: _with_body(tree, name, body) for fault, body in _BODIES.items()}
    if any(getattr(node, "name", None) == name for node in tree.body):
        programs[_OTHER_VALUE] = f"{program}\n{_CHANGED.format(name=name)}"
    return programs


def _called(problem: Problem, tree: ast.Module) -> str | None:
    """Return the name of the function that the tests call, if the program defines it; None for a program of input and output."""
    tests = problem.columns.get("tests")
    tests = tests if isinstance(tests, Mapping) else {}
    defined = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    names = [str(name) for name in tests.get("program_names") or ()]
    # `Solution().solve` is the method `solve`.
    names += [str(call.get("function", "")).rpartition(".")[2] for call in tests.get("calls") or ()]
    called = next((name for name in names if name in defined), None)
    if called is None and tests.get("asserts") and defined:
        texts = "\n".join(map(str, tests["asserts"]))
        called = next((name for name in reversed(defined) if name in texts), None)
    return called


def _with_body(tree: ast.Module, name: str, body: str) -> str:
    """Return a program with another body of one function."""
    changed = copy.deepcopy(tree)
    functions: list[Any] = [
        node
        for node in ast.walk(changed)
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    for function in functions:
        function.body = parsed(body).body
    return ast.unparse(changed)
