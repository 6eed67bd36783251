"""Tests that are more than calls with written values: their code runs whole, in a process without the program.

In: snippets of Python, and the names that are the program's. Out: a `Script`, the units that process runs one after
another, or ValueError that says what of a test cannot be kept from the program. See docs/sandbox.md.

Only the program's functions are called in the program's own process, with copies of their arguments; so a
test cannot see what a program prints, changes in place or compares by itself, and is refused where it asks for that
(`refusals`).
"""

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dianoia.sandbox.sandbox import Examination
from dianoia.tasks.code.names import Names, names_of, parsed, root
from dianoia.tasks.code.refusals import refuse

_SET_UP = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Pass)


@dataclass(frozen=True, slots=True)
class Unit:
    """A test, and what sets it up."""

    source: str
    is_test: bool
    """Not for set-up that no test follows."""
    shown: str
    """The test alone, for people."""


@dataclass(frozen=True, slots=True)
class Script:
    """All tests of a problem that run in a process of their own."""

    units: tuple[Unit, ...]
    names: tuple[str, ...]
    modules: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of tests."""
        return sum(unit.is_test for unit in self.units)

    def examination(self) -> Examination:
        """What the process of the tests is given."""
        return Examination(tuple(unit.source for unit in self.units), self.names, self.modules)


@lru_cache(maxsize=256)
def read_script(
    snippets: tuple[str, ...], setup: str = "", declared: tuple[str, ...] = ()
) -> Script:
    """The units of a problem's tests; `setup` runs first, and tests nothing.

    Raises ValueError for what cannot be kept from the program, SyntaxError for what is not Python.
    """
    trees = [parsed(text) for text in (setup, *snippets)]
    whole = ast.Module([statement for tree in trees for statement in tree.body], [])
    names = names_of(whole, declared)
    if not names.of_program:
        raise ValueError("it calls nothing of the program")
    refuse(names, whole)
    statements = [(node, False) for node in trees[0].body]
    statements += [(node, True) for tree in trees[1:] for node in tree.body]
    units = [*_units(statements, names), *_uncalled(whole)]
    if not any(unit.is_test for unit in units):
        raise ValueError("there is no assert in it, or none in a function that it calls")
    return Script(tuple(units), tuple(sorted(names.program)), names.modules)


def is_vacuous(statement: ast.stmt) -> bool:
    """Whether it is an assert of a constant that holds, such as HumanEval's `assert True, "..."`."""
    return (
        isinstance(statement, ast.Assert)
        and isinstance(statement.test, ast.Constant)
        and bool(statement.test.value)
    )


def _units(statements: Sequence[tuple[ast.stmt, bool]], names: Names) -> Iterator[Unit]:
    """A unit for each test, with the statements that stand between it and the one before."""
    functions = {
        node.name
        for node, _ in statements
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(p, ast.Assert) for p in ast.walk(node))
    }
    before: list[str] = []
    for node, may_test in statements:
        before.append(ast.unparse(node))
        if may_test and not is_vacuous(node) and _tests(node, functions):
            yield Unit("\n".join(before), True, before[-1])
            before = []
    if before:
        yield Unit("\n".join(before), False, before[-1])


def _tests(node: ast.stmt, functions: Collection[str]) -> bool:
    if isinstance(node, _SET_UP):
        return False
    return any(
        isinstance(part, ast.Assert) or (isinstance(part, ast.Call) and root(part) in functions)
        for part in ast.walk(node)
    )


def _uncalled(whole: ast.Module) -> Iterator[Unit]:
    """Functions that a test runner would call: their names begin with `test`."""
    used = {node.id for node in ast.walk(whole) if isinstance(node, ast.Name)}
    for node in whole.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            arguments = node.args
            if node.name not in used and not (arguments.args or arguments.posonlyargs):
                yield Unit(f"{node.name}()", True, f"{node.name}()")
