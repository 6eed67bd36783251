"""Refuse tests that cannot be hidden from the program, or that cannot fail.

In: the test's code as one module, and to whom its names belong. Out: nothing, or ValueError that says what to write instead.
Tests come from the user: they are checked for mistakes, not for malice. docs/sandbox.md has the list.
"""

import ast
import builtins
import sys
from collections.abc import Iterator, Sequence

from dianoia.tasks.code.names import PROGRAM, Names, root

# Expressions that make a new mutable object in the test.
_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.Call)
_NEEDS_PROCESS = (
    "only a test in the program's own process could; a program there could change the test"
)
_REFUSED_NAMES = {
    "eval": "would run text of the program next to the expected values",
    "exec": "would run text of the program next to the expected values",
    "compile": "would run text of the program next to the expected values",
    "__import__": "write an import statement",
    "globals": "looks into names; call the program's functions by name",
    "locals": "looks into names; call the program's functions by name",
    "redirect_stdout": f"reads what the program prints: {_NEEDS_PROCESS}; test by cases",
    "redirect_stderr": f"reads what the program prints: {_NEEDS_PROCESS}; test by cases",
    "monkeypatch": f"changes the program's names: {_NEEDS_PROCESS}",
    "capsys": f"reads what the program prints: {_NEEDS_PROCESS}; test by cases",
}
_REFUSED_STREAMS = {"stdin", "stdout", "stderr", "_getframe", "settrace", "setprofile", "modules"}
_REFUSED_MODULES = {
    "builtins", "code", "ctypes", "dill", "doctest", "gc", "importlib", "inspect", "marshal", "multiprocessing", "pickle",
    "pkgutil", "runpy", "shelve", "socket", "subprocess", "unittest",
}  # fmt: skip


def refuse(names: Names, whole: ast.Module) -> None:
    """Raise ValueError for the first of a test's statements that is refused."""
    _Refusals(names, whole).visit(whole)


class _Refusals(ast.NodeVisitor):
    """Refuses tests that the program would decide, or that do not work across two processes."""

    def __init__(self, names: Names, whole: ast.Module) -> None:
        self.names, self.whole = names, whole
        self.bound_to_displays = {
            target.id
            for node in ast.walk(whole)
            if isinstance(node, ast.Assign)
            and isinstance(node.value, _DISPLAYS)
            and not names.touched(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        # For `_resolve`: a name with one assignment stands for its value.
        self.assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(whole):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.assigned.setdefault(node.targets[0].id, []).append(node.value)
        # For `_refuse_in_place_change`: the program gets copies of these, and the test would look at the originals.
        self.arguments_of_program = {
            argument.id
            for node in ast.walk(whole)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and names.is_call(node)
            for argument in node.args
            if isinstance(argument, ast.Name)
        }

    def visit_Name(self, node: ast.Name) -> None:
        # Wherever the name stands: `run = eval` is as good as a call.
        if node.id in _REFUSED_NAMES:
            raise ValueError(f"{node.id} {_REFUSED_NAMES[node.id]}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        # Of sys alone: a class of the test may have an attribute `modules`.
        if node.attr in _REFUSED_STREAMS and root(node) == "sys":
            raise ValueError(f"sys.{node.attr}: {_NEEDS_PROCESS}")
        if (
            node.attr in _REFUSED_NAMES
            and not self.names.touched(node.value)
            and root(node) != "re"
        ):
            raise ValueError(f"{ast.unparse(node)} {_REFUSED_NAMES[node.attr]}")
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            _check_module(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        _check_module(node.module or ".")
        for alias in node.names:
            if alias.name in _REFUSED_NAMES:
                raise ValueError(f"{alias.name} {_REFUSED_NAMES[alias.name]}")

    def visit_Assert(self, node: ast.Assert) -> None:
        # `assert (f(2) == 4, "message")` is a frequent mistake: a tuple is always true.
        if _always_holds(node.test):
            raise ValueError(
                f"assert {ast.unparse(node.test)} holds whatever the program does; write what has to be true, and a "
                "message after a comma without brackets"
            )
        for part in _verdicts(node.test):
            self._refuse_inside_decision(part)
            self._refuse_in_place_change(part)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        # `expected = f(2); assert g(2) == expected` compares two functions of the program as well.
        sides = [self._resolve(side) for side in (node.left, *node.comparators)]
        if any(isinstance(op, (ast.Is, ast.IsNot)) for op in node.ops):
            self._refuse_identity([node.left, *node.comparators])
        # Resolved before: a name that the test gives to a constant of the program is seen through.
        constants = [side for side in sides if self._is_program_constant(side)]
        # `assert f(2) == EXPECTED` with EXPECTED of the program: it would choose the expected value.
        if constants and any(self.names.touched(side) for side in sides if side not in constants):
            raise ValueError(
                f"{ast.unparse(constants[0])} is a name of the program, which would choose the expected value; write the "
                "value, or assign it in the test"
            )
        # `assert f(2) == g(2)` with both of the program: equal wrong results would pass.
        functions = [self._functions(side) for side in sides]
        if (
            all(functions)
            and len(frozenset[str]().union(*functions)) > 1
            # The same function on both sides is a law, such as f(a) == f(b), and can fail.
            and not functions[0] & functions[-1]
        ):
            raise ValueError(
                f"{ast.unparse(node)} compares functions of the program with one another, so that it would choose "
                "both sides; define the one that is right in the test"
            )
        self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        asserts = any(
            isinstance(part, ast.Assert) for child in node.body for part in ast.walk(child)
        )
        if asserts and any(map(_swallows, node.handlers)):
            raise ValueError(
                "an assert in a try whose except catches it and does nothing, so that it cannot fail; name the exception "
                "that is expected of the program"
            )
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id == "id" and self.names.touched(node):
            raise ValueError("id(...) of a value of the program: values come back as copies")
        if self.names.is_call(node):
            self._refuse_own_objects([*node.args, *(word.value for word in node.keywords)])
        self.generic_visit(node)

    def _refuse_own_objects(self, arguments: Sequence[ast.expr]) -> None:
        """Refuse objects of the test's own classes as arguments: the program's process does not have these classes."""
        # Values cross as JSON-like data; the class is not defined on the other side.
        classes = {node.name for node in ast.walk(self.whole) if isinstance(node, ast.ClassDef)}
        for argument in arguments:
            for part in ast.walk(argument):
                if isinstance(part, ast.Name) and part.id in classes:
                    raise ValueError(
                        f"an object of the test's own class {part.id} as an argument; only plain values and functions "
                        "reach a program"
                    )

    def _refuse_inside_decision(self, part: ast.expr) -> None:
        """Refuse a call of the program with a value of the program and the expected value as arguments."""
        if not (isinstance(part, ast.Call) and self.names.is_call(part)):
            return
        arguments = [*part.args, *(word.value for word in part.keywords)]
        # `check(f(2), 4)` with `check` of the program: it would see both and return True.
        if len(arguments) > 1 and any(self.names.touched(argument) for argument in arguments):
            raise ValueError(
                f"the program would see the expected value in {ast.unparse(part)}, since the test does not define "
                f"{ast.unparse(part.func)}; write f(x) == value, or define it in the test"
            )

    def _refuse_in_place_change(self, part: ast.expr) -> None:
        """Refuse a test of what the program did to an argument: it gets a copy."""
        if self.names.touched(part):
            return
        for name in ast.walk(part):
            if (
                isinstance(name, ast.Name)
                and name.id in self.bound_to_displays & self.arguments_of_program
            ):
                raise ValueError(
                    f"{ast.unparse(part)} asks what the program did to {name.id}, and programs get copies; test what "
                    "it returns"
                )

    def _refuse_identity(self, sides: Sequence[ast.expr]) -> None:
        """Refuse `is` between values of which one came from the program."""
        if any(isinstance(side, ast.Constant) or _is_type(side) for side in sides):
            return
        if any(self.names.is_call(side) or _is_tainted_name(side, self.names) for side in sides):
            raise ValueError(
                "`is` between values of which one came from the program: it is a copy; write =="
            )

    def _resolve(self, side: ast.expr) -> ast.expr:
        """Return the expression that a name stands for, if it is assigned once."""
        # Chains of assignments are short; the bound ends cycles.
        for _ in range(3):
            values = self.assigned.get(side.id, []) if isinstance(side, ast.Name) else []
            if len(values) != 1 or not self.names.touched(side):
                break
            side = values[0]
        return side

    def _functions(self, side: ast.expr) -> set[str]:
        """Return the program's functions that an expression calls.

        Empty if a value of the test is part of the expression, or a value of unclear origin.
        """
        if isinstance(side, (ast.Tuple, ast.List)) and side.elts:
            parts = [self._functions(part) for part in side.elts]
            return set().union(*parts) if all(parts) else set()
        if (
            not isinstance(side, ast.Call)
            or root(side) in self.names.tainted - self.names.of_program
        ):
            return set()
        calls = [part.func for part in ast.walk(side) if isinstance(part, ast.Call)]
        return {ast.unparse(part) for part in calls if root(part) in self.names.of_program}

    def _is_program_constant(self, side: ast.expr) -> bool:
        """Return True for a value that the program defines under a name, without a call of the program."""
        if any(self.names.is_call(part) for part in ast.walk(side)):
            return False
        return any(
            isinstance(part, ast.Name) and part.id in self.names.of_program
            for part in ast.walk(side)
        )


def _is_type(side: ast.expr) -> bool:
    return isinstance(side, ast.Name) and isinstance(getattr(builtins, side.id, None), type)


def _is_tainted_name(side: ast.expr, names: Names) -> bool:
    return isinstance(side, ast.Name) and side.id in names.tainted


def _verdicts(test: ast.expr) -> Iterator[ast.expr]:
    """Yield the parts of an assert whose values decide it: of `a and not b`, for example, `a` and `b`."""
    if isinstance(test, ast.BoolOp):
        for part in test.values:
            yield from _verdicts(part)
    elif isinstance(test, ast.UnaryOp):
        yield from _verdicts(test.operand)
    elif (
        isinstance(test, ast.Call)
        and isinstance(test.func, ast.Name)
        and test.func.id in ("bool", "all", "any", "int")
    ):
        for part in test.args:
            yield from _verdicts(part)
    elif isinstance(test, (ast.List, ast.Tuple)):
        for part in test.elts:
            yield from _verdicts(part)
    elif isinstance(test, (ast.GeneratorExp, ast.ListComp)):
        yield from _verdicts(test.elt)
    elif isinstance(test, ast.Compare) and any(
        isinstance(side, ast.Constant) and side.value in (True, False)
        for side in (test.left, *test.comparators)
    ):
        for part in (test.left, *test.comparators):
            yield from _verdicts(part)
    else:
        yield test


def _always_holds(test: ast.expr) -> bool:
    """Return True for an expression that is true by its form alone, such as `(f(2) == 4, "message")`."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        return any(_always_holds(part) or _is_true(part) for part in test.values)
    if isinstance(test, (ast.Tuple, ast.List, ast.Set)):
        return bool(test.elts)
    if isinstance(test, ast.Dict):
        return bool(test.keys)
    return isinstance(test, (ast.Lambda, ast.GeneratorExp, ast.JoinedStr))


def _is_true(part: ast.expr) -> bool:
    return isinstance(part, ast.Constant) and bool(part.value)


def _swallows(handler: ast.ExceptHandler) -> bool:
    """Return True if the handler catches a failed assert and does nothing that a test could depend on."""
    caught = (
        {part.id for part in ast.walk(handler.type) if isinstance(part, ast.Name)}
        if handler.type
        else {"Exception"}
    )
    if not caught & {"AssertionError", "Exception", "BaseException"}:
        return False
    idle = (ast.Pass, ast.Continue, ast.Expr)
    return all(isinstance(statement, idle) for statement in handler.body)


def _check_module(name: str) -> None:
    top = name.partition(".")[0]
    if top in _REFUSED_MODULES:
        raise ValueError(f"import {name}: {_NEEDS_PROCESS}")
    if top != PROGRAM and top not in sys.stdlib_module_names:
        raise ValueError(
            f"import {name}, which programs and tests do not have; there is the standard library, and the program's "
            f"own names need no import (`from {PROGRAM} import f` works)"
        )
