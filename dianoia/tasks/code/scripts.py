"""Read tests that are more than calls with literal arguments: their code runs in a process without the program.

In: snippets of Python, and the names that are the program's. Out: a `Script` of units that this process runs one after
another, or ValueError that says which part of a test cannot be hidden from the program. See docs/sandbox.md.

Only the program's functions run in the program's own process, with copies of their arguments. So a test cannot see what a
program prints, changes in place or compares itself; a test that depends on that is refused (`refusals`).
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
    """A test with its set-up."""

    source: str
    is_test: bool
    """False for set-up that no test follows."""
    test: str
    """The test alone, for messages."""


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
        """Return the input of the process that runs the tests."""
        return Examination(tuple(unit.source for unit in self.units), self.names, self.modules)


@lru_cache(maxsize=256)
def read_script(
    snippets: tuple[str, ...], setup: str = "", declared: tuple[str, ...] = ()
) -> Script:
    """Return the units of a problem's tests; `setup` runs first, and tests nothing.

    Raises ValueError for tests that cannot be hidden from the program, SyntaxError for text that is not Python.
    """
    # All snippets are one module: they may share imports and helper functions.
    trees = [parsed(text) for text in (setup, *snippets)]
    whole = ast.Module([statement for tree in trees for statement in tree.body], [])
    names = names_of(whole, declared)
    if not names.of_program:
        raise ValueError("it calls nothing of the program")
    # Raises ValueError for a test that the program could decide.
    refuse(names, whole)
    # Statements of the set-up never count as tests.
    statements = [(node, False) for node in trees[0].body]
    statements += [(node, True) for tree in trees[1:] for node in tree.body]
    units = [*_units(statements, names), *_uncalled(whole)]
    if not any(unit.is_test for unit in units):
        raise ValueError("there is no assert in it, or none in a function that it calls")
    return Script(tuple(units), tuple(sorted(names.program)), names.modules)


def is_vacuous(statement: ast.stmt) -> bool:
    """Return True for an assert of a constant that holds, such as HumanEval's `assert True, "..."`."""
    return (
        isinstance(statement, ast.Assert)
        and isinstance(statement.test, ast.Constant)
        and bool(statement.test.value)
    )


def _units(statements: Sequence[tuple[ast.stmt, bool]], names: Names) -> Iterator[Unit]:
    """Yield a unit per test, with the statements between it and the test before."""
    # A call of a function with an assert in it is a test, too.
    functions = {
        node.name
        for node, _ in statements
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(p, ast.Assert) for p in ast.walk(node))
    }
    sources: list[str] = []
    for node, may_test in statements:
        sources.append(ast.unparse(node))
        if may_test and not is_vacuous(node) and _tests(node, functions):
            yield Unit("\n".join(sources), True, sources[-1])
            sources = []
    # Set-up after the last test still has to run without an error.
    if sources:
        yield Unit("\n".join(sources), False, sources[-1])


def _tests(node: ast.stmt, functions: Collection[str]) -> bool:
    if isinstance(node, _SET_UP):
        return False
    return any(
        isinstance(part, ast.Assert) or (isinstance(part, ast.Call) and root(part) in functions)
        for part in ast.walk(node)
    )


def _uncalled(whole: ast.Module) -> Iterator[Unit]:
    """Yield the functions that pytest would call: their names begin with `test`, and the test does not call them."""
    used = {node.id for node in ast.walk(whole) if isinstance(node, ast.Name)}
    for node in whole.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            arguments = node.args
            if node.name not in used and not (arguments.args or arguments.posonlyargs):
                yield Unit(f"{node.name}()", True, f"{node.name}()")
