"""Whose a name of a test is: the test's own, Python's, or the program's; and where a program's values get to.

In: the test's code as one module. Out: `Names`. Scopes are Python's own (`symtable`); how values flow is followed by
names alone, so a name that holds a program's value anywhere is taken to hold one everywhere.
"""

import ast
import builtins
import importlib
import symtable
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import zip_longest

PROGRAM = "solution"
"""The module that a test may import the program's names from."""
STARRED = frozenset(
    ("bisect", "cmath", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "itertools",
     "json", "math", "operator", "random", "re", "statistics", "string", "typing")
)  # fmt: skip
"""Modules of which a test may import everything."""
_PYTHON = frozenset(dir(builtins)) | {"__name__", "__file__"}

Binding = tuple[ast.expr, frozenset[str]]
"""A value, and the names that may hold it."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a test."""

    program: frozenset[str]
    """Asked of the program: what the test uses and neither the test nor Python defines."""
    imported: frozenset[str]
    """Bound by `from solution import ...`."""
    modules: tuple[str, ...]
    """Of the standard library, used without an import."""
    callables: frozenset[str]
    """Those that may hold a function of the program."""
    tainted: frozenset[str]
    """Those that may hold anything that came from the program."""

    @property
    def of_program(self) -> frozenset[str]:
        """Names that stand for something that the program defines."""
        return self.program | self.imported

    def touched(self, node: ast.AST) -> bool:
        """Whether a value of the program may be part of it."""
        return _holds(node, self.tainted)

    def is_call(self, node: ast.AST) -> bool:
        """Whether it calls the program, or a method of something that came from it."""
        if not isinstance(node, ast.Call):
            return False
        if isinstance(node.func, ast.Attribute):
            return root(node.func) in self.tainted
        return root(node.func) in self.callables


def parsed(source: str) -> ast.Module:
    """The tree of Python code that somebody else wrote; what Python would warn of is not told.

    Raises SyntaxError or ValueError for what is not Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # unknown escapes, until Python 3.12
        try:
            return ast.parse(source)
        except (RecursionError, MemoryError) as error:
            raise ValueError(f"nested too deep ({type(error).__name__})") from error


def root(node: ast.AST) -> str | None:
    """The name that a chain of attributes, subscripts and calls begins with."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def names_of(tree: ast.Module, declared: Collection[str]) -> Names:
    """The names of a test. `declared` ones are the program's, even where Python has them too."""
    own = set(declared)
    imported = frozenset(_imported(tree))
    free = _free(symtable.symtable(ast.unparse(tree), "tests", "exec")) - imported - _starred(tree)
    modules = {
        name
        for name in (free & sys.stdlib_module_names) - own
        if not any(_is_name(node, name) for node in _outside_attributes(tree))
    }
    program = frozenset(free - modules - (_PYTHON - own))
    bindings = list(_bindings(tree))
    callables = _flow(bindings, program | imported, _hands_on)
    tainted = _flow([*bindings, *_returns(tree)], callables, _holds)
    return Names(program, imported, tuple(sorted(modules)), callables, tainted)


def _free(table: symtable.SymbolTable) -> set[str]:
    """Names that are looked up in the module's scope and that nothing there binds."""
    used: set[str] = set()
    tables = [table]
    for scope in tables:
        tables += scope.get_children()
        used |= {
            symbol.get_name()
            for symbol in scope.get_symbols()
            if symbol.is_referenced() and (scope is table or symbol.is_global())
        }
    bound = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }
    bound |= {
        symbol.get_name()
        for scope in tables
        for symbol in scope.get_symbols()
        if symbol.is_declared_global() and symbol.is_assigned()
    }
    return used - bound


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == PROGRAM:
            yield from (alias.asname or alias.name for alias in node.names if alias.name != "*")
        if isinstance(node, ast.Import):
            yield from (alias.asname or PROGRAM for alias in node.names if alias.name == PROGRAM)


def _starred(tree: ast.Module) -> set[str]:
    """Names that `from math import *` binds. Raises ValueError for a module that is not on the list."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.names[0].name == "*"
            and node.module != PROGRAM
        ):
            if node.module not in STARRED:
                raise ValueError(f"from {node.module} import *; name what is imported")
            module = importlib.import_module(node.module)
            names |= set(
                getattr(module, "__all__", None) or (n for n in vars(module) if n[0] != "_")
            )
    return names


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _outside_attributes(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node but those that an attribute is taken from, as `math` in `math.pi`."""
    for node in ast.walk(tree):
        children = ast.iter_child_nodes(node)
        yield from () if isinstance(node, ast.Attribute) else children


def _flow(
    bindings: list[Binding],
    start: frozenset[str],
    passes: Callable[[ast.AST, Collection[str]], bool],
) -> frozenset[str]:
    """All names that something of `start` may get to."""
    reached = set(start)
    while True:
        more = {name for value, names in bindings if passes(value, reached) for name in names}
        if more <= reached:
            return frozenset(reached)
        reached |= more


def _holds(node: ast.AST, names: Collection[str]) -> bool:
    return any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))


def _hands_on(node: ast.AST, names: Collection[str]) -> bool:
    """Whether its value may be one of the names itself, and not only be made with it."""
    if isinstance(node, (ast.Tuple, ast.List)):
        return any(_hands_on(item, names) for item in node.elts)
    return isinstance(node, ast.Name) and node.id in names


def _bindings(tree: ast.Module) -> Iterator[Binding]:
    """Assignments of every form, loops, and arguments of the test's own functions."""
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            yield node.value, frozenset().union(*map(_targets, node.targets))
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
            if node.value is not None:
                yield node.value, _targets(node.target)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            yield node.iter, _targets(node.target)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            yield node.context_expr, _targets(node.optional_vars)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) in functions:
            yield from _arguments(node, functions[ast.unparse(node.func)])


def _targets(node: ast.AST) -> frozenset[str]:
    """Names that an assignment to it changes, `a` of `a[0] = 1` among them."""
    return frozenset(part.id for part in ast.walk(node) if isinstance(part, ast.Name))


def _arguments(call: ast.Call, function: ast.FunctionDef) -> Iterator[Binding]:
    parameters = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
    for value, name in zip_longest(call.args, parameters[: len(call.args)]):
        if name is not None:
            yield value, frozenset({name})
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.value, frozenset({keyword.arg})


def _returns(tree: ast.Module) -> Iterator[Binding]:
    """What a function of the test returns is held by its name."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    yield node.value, frozenset({function.name})
