"""Find out to whom each name of a test belongs (the test, Python or the program), and which names hold a program's values.

In: the test's code as one module. Out: `Names`. Scopes are Python's own (`symtable`). The flow of values is followed by name
alone: a name that holds a program's value anywhere counts as holding one everywhere.
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
"""The module name under which a test may import the program's names."""
STAR_MODULES = frozenset(
    ("bisect", "cmath", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "itertools",
     "json", "math", "operator", "random", "re", "statistics", "string", "typing")
)  # fmt: skip
"""Modules from which a test may import `*`."""
_PYTHON = frozenset(dir(builtins)) | {"__name__", "__file__"}

Binding = tuple[ast.expr, frozenset[str]]
"""A value, and the names that may hold it."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a test."""

    program: frozenset[str]
    """Names that the test uses and neither the test nor Python defines: the program has to define them."""
    imported: frozenset[str]
    """Names bound by `from solution import ...`."""
    modules: tuple[str, ...]
    """Modules of the standard library that are used without an import."""
    callables: frozenset[str]
    """Names that may hold a function of the program."""
    tainted: frozenset[str]
    """Names that may hold a value that came from the program."""

    @property
    def of_program(self) -> frozenset[str]:
        """Names of functions and classes that the program defines."""
        return self.program | self.imported

    def touched(self, node: ast.AST) -> bool:
        """Return True if a value of the program may be part of the expression."""
        return _holds(node, self.tainted)

    def is_call(self, node: ast.AST) -> bool:
        """Return True for a call of the program, or of a method of a value that came from it."""
        if not isinstance(node, ast.Call):
            return False
        if isinstance(node.func, ast.Attribute):
            return root(node.func) in self.tainted
        return root(node.func) in self.callables


def parsed(source: str) -> ast.Module:
    """Parse Python code of a user or a data set without Python's warnings about it.

    Raises SyntaxError or ValueError for text that is not Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # unknown escapes, until Python 3.12
        try:
            return ast.parse(source)
        except (RecursionError, MemoryError) as error:
            raise ValueError(f"nested too deep ({type(error).__name__})") from error


def root(node: ast.AST) -> str | None:
    """Return the name at the start of a chain of attributes, subscripts and calls."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def names_of(tree: ast.Module, declared: Collection[str]) -> Names:
    """Return the names of a test. `declared` names are the program's, even if Python has them too."""
    declared = set(declared)
    imported = frozenset(_imported(tree))
    free = (
        _free(symtable.symtable(ast.unparse(tree), "tests", "exec"))
        - imported
        - _star_imported(tree)
    )
    # A module that is used only as `math.sqrt` is imported for the test; as a bare name it is the program's.
    modules = {
        name
        for name in (free & sys.stdlib_module_names) - declared
        if not any(_is_name(node, name) for node in _outside_attributes(tree))
    }
    # All other unbound names are the program's, unless Python has them.
    program = frozenset(free - modules - (_PYTHON - declared))
    bindings = list(_bindings(tree))
    # A function reaches a name only by plain assignment; a value also by any expression that contains it.
    callables = _flow(bindings, program | imported, _may_be)
    # Starts from the functions: each call of them returns a value of the program.
    tainted = _flow([*bindings, *_returns(tree)], callables, _holds)
    return Names(program, imported, tuple(sorted(modules)), callables, tainted)


def _free(table: symtable.SymbolTable) -> set[str]:
    """Return the names that are looked up in the module's scope and not bound there."""
    used: set[str] = set()
    tables = [table]
    for scope in tables:  # the list grows while it is walked
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
    # `global x` in a function binds the name in the module too.
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


def _star_imported(tree: ast.Module) -> set[str]:
    """Return the names that `from math import *` binds. Raises ValueError for a module that is not in STAR_MODULES."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.names[0].name == "*"
            and node.module != PROGRAM
        ):
            if node.module not in STAR_MODULES:
                raise ValueError(f"from {node.module} import *; name what is imported")
            # Only modules of the list are imported here, in the process that trains: they run no code of others.
            module = importlib.import_module(node.module)
            names |= set(
                getattr(module, "__all__", None) or (n for n in vars(module) if n[0] != "_")
            )
    return names


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _outside_attributes(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield all nodes except the objects of attributes, such as `math` in `math.pi`."""
    for node in ast.walk(tree):
        children = ast.iter_child_nodes(node)
        yield from () if isinstance(node, ast.Attribute) else children


def _flow(
    bindings: list[Binding],
    start: frozenset[str],
    passes: Callable[[ast.AST, Collection[str]], bool],
) -> frozenset[str]:
    """Return all names that a value of the names `start` may reach."""
    reached = set(start)
    # Repeated until nothing changes, since bindings come in any order.
    while True:
        new = {name for value, names in bindings if passes(value, reached) for name in names}
        if new <= reached:
            return frozenset(reached)
        reached |= new


def _holds(node: ast.AST, names: Collection[str]) -> bool:
    return any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))


def _may_be(node: ast.AST, names: Collection[str]) -> bool:
    """Return True if the value may be one of the names itself, not only be computed from it."""
    if isinstance(node, (ast.Tuple, ast.List)):
        return any(_may_be(item, names) for item in node.elts)
    return isinstance(node, ast.Name) and node.id in names


def _bindings(tree: ast.Module) -> Iterator[Binding]:
    """Yield assignments of all forms, loops, and arguments of the test's own functions."""
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
        # A call of the test's own function binds its parameters.
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) in functions:
            yield from _arguments(node, functions[ast.unparse(node.func)])


def _targets(node: ast.AST) -> frozenset[str]:
    """Return the names that an assignment to the node changes, such as `a` in `a[0] = 1`."""
    return frozenset(part.id for part in ast.walk(node) if isinstance(part, ast.Name))


def _arguments(call: ast.Call, function: ast.FunctionDef) -> Iterator[Binding]:
    parameters = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
    # More arguments than parameters go to *args, which has no single name.
    for value, name in zip_longest(call.args, parameters[: len(call.args)]):
        if name is not None:
            yield value, frozenset({name})
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.value, frozenset({keyword.arg})


def _returns(tree: ast.Module) -> Iterator[Binding]:
    """Yield the returned values of the test's functions, bound to the function's name."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    yield node.value, frozenset({function.name})
