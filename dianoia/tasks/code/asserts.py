"""Split plain asserts: calls of the program run inside the sandbox, comparisons outside.

In: a snippet such as `assert abs(area(2) - 12.566) < 1e-3`. Out: the steps to run inside (`area(2)`), and assertions that
are decided outside on the returned values. A program that sees the comparison could win it: by an `__eq__` that is always
true, by replacing `abs`, by `sys.exit(0)` before it, by reading the expected number.

A plain snippet consists of asserts. The arguments of a call inside are literals, without a name in them: the program
decides what a name means there. Outside, an assert may use literals, comparisons, `and`, `or`, `not`, arithmetic on
numbers, subscripts, and the functions of `_OUTSIDE`. All other snippets are `scripts`.
"""

import ast
import builtins
import math
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from dianoia.sandbox.guest.values import spread
from dianoia.tasks.code.names import parsed
from dianoia.tasks.code.scripts import is_vacuous

Step = tuple[str, str]

_PYTHON = frozenset(dir(builtins))
_NUMBERS = (int, float, complex, Fraction)
_MAX_BIT_PRODUCT = 2**32
"""Largest product of the bit lengths of two integers: about the cost of dividing one by the other."""
_LITERAL_NODES = (
    ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.Starred, ast.keyword,
    ast.operator, ast.unaryop, ast.expr_context,
)  # fmt: skip
"""Nodes of an argument that runs inside."""
_TYPES: Mapping[str, Any] = {
    builtin.__name__: builtin for builtin in (int, float, str, bool, list, tuple, dict, set, bytes)
}
# The program chooses the values that come back: none of these functions may be slow on any value.
_OUTSIDE: Mapping[str, Callable[..., Any]] = {
    "list": list, "tuple": tuple, "set": lambda members=(): set(spread(list(members))),
    "abs": abs, "len": len, "sorted": sorted, "min": min, "max": max,
    "round": lambda number, digits=None: _round(number, digits), "sum": lambda items: _sum(items),
    "isinstance": isinstance, "type": type, "math.isclose": math.isclose, "isclose": math.isclose,
}  # fmt: skip
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_, ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip
_MAX_DIGITS = 400
_PLACEHOLDER = "value "
"""Prefix of the name of a returned value: no name of a program can have a space."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """One `assert`, to be decided once the values of its steps are known."""

    source: str
    values: tuple[int, ...]
    """Numbers of its steps."""
    test: ast.expr

    def holds(self, values: Mapping[int, Any]) -> bool:
        """Return True if it holds for the values of its steps; False if one of them is missing."""
        try:
            return bool(_evaluate(self.test, values))
        except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError):
            return False


class NotPlain(ValueError):
    """The snippet is not plain: it needs a process of its own."""


def split_asserts(
    snippet: str, first: int = 0, declared: Collection[str] = ()
) -> tuple[list[Step], list[Assertion]]:
    """Return steps for the sandbox, numbered from `first`, and the assertions on their values.

    `declared` names are the program's, even if Python has them too. Raises NotPlain for a snippet that cannot be split,
    SyntaxError for text that is not Python.
    """
    steps: list[Step] = []
    assertions = []
    # HumanEval has `assert True`, and snippets import math for `isclose`: neither needs the program.
    for statement in parsed(snippet).body:
        if is_vacuous(statement) or _imports_isclose(statement):
            continue
        if not isinstance(statement, ast.Assert):
            raise NotPlain(type(statement).__name__)
        source, start = ast.unparse(statement), len(steps)
        test = _StepCollector(steps, first, frozenset(declared)).visit(statement.test)
        # The steps of this assert: those that the visitor has added.
        numbers = tuple(range(first + start, first + len(steps)))
        _check(test)
        assertions.append(Assertion(source, numbers, test))
    return steps, assertions


def _imports_isclose(statement: ast.stmt) -> bool:
    return ast.unparse(statement) in ("import math", "from math import isclose")


class _StepCollector(ast.NodeTransformer):
    """Replaces each expression that needs the program by the number of a step, and collects the steps."""

    def __init__(self, steps: list[Step], first: int, declared: frozenset[str]) -> None:
        self.steps, self.first, self.declared = steps, first, declared

    def visit_Call(self, node: ast.Call) -> ast.expr:
        # A call of the program becomes a step; a known function of Python is applied outside, to the returned values.
        if _function(node) not in _OUTSIDE or _function(node) in self.declared:
            return self._step(node)
        node.func = ast.Name(_function(node), ast.Load())  # `math.isclose` becomes one name
        node.args = [self.visit(argument) for argument in node.args]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        # `isinstance(f(2), int)`: the type is looked up outside.
        if node.id in _TYPES and node.id not in self.declared:
            return node
        # A name of Python that is not allowed outside, such as `open`.
        if not self._of_program(node.id):
            raise NotPlain(node.id)
        return self._placeholder(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        raise NotPlain(ast.unparse(node))

    def _step(self, node: ast.Call) -> ast.expr:
        if not self._runs_inside(node):
            raise NotPlain(ast.unparse(node))
        return self._placeholder(node)

    def _placeholder(self, node: ast.expr) -> ast.expr:
        self.steps.append(("value", ast.unparse(node)))
        number = self.first + len(self.steps) - 1
        return ast.Name(f"{_PLACEHOLDER}{number}", ast.Load())

    def _runs_inside(self, node: ast.AST) -> bool:
        """Return True for a call of the program whose arguments are literals or such calls."""
        if not isinstance(node, ast.Call):
            return isinstance(node, _LITERAL_NODES) and all(
                self._runs_inside(part) for part in ast.iter_child_nodes(node)
            )
        function = node.func
        parts = [*node.args, *node.keywords]
        if isinstance(function, ast.Attribute):  # Solution().add(2, 3)
            instance = function.value
            if not (isinstance(instance, ast.Call) and isinstance(instance.func, ast.Name)):
                return False
            # Only `Class(...).method(...)`: other objects would have to be built by code of the test.
            if not instance.func.id[0].isupper() or function.attr.startswith("_"):
                return False
            parts, function = [*parts, *instance.args, *instance.keywords], instance.func
        if not (isinstance(function, ast.Name) and self._of_program(function.id)):
            return False
        return all(self._runs_inside(part) for part in parts)

    def _of_program(self, name: str) -> bool:
        return name in self.declared or name not in _PYTHON


def _function(node: ast.Call) -> str:
    return ast.unparse(node.func)


def _check(node: ast.expr) -> None:
    """Raise NotPlain for an expression that `_evaluate` cannot evaluate, or that does not depend on the program."""
    # An assert that does not depend on the program would pass for any program.
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    if not any(name.id.startswith(_PLACEHOLDER) for name in names):
        raise NotPlain("an assert that calls nothing of the program")
    for part in ast.walk(node):
        if isinstance(part, ast.expr) and not isinstance(part, tuple(_EVALUATORS)):
            raise NotPlain(type(part).__name__)
        if isinstance(part, ast.BinOp) and type(part.op) not in _ARITHMETIC:
            raise NotPlain(type(part.op).__name__)
        if isinstance(part, ast.UnaryOp) and type(part.op) not in _UNARY:
            raise NotPlain(type(part.op).__name__)


Values = Mapping[int, Any]


def _evaluate(node: ast.expr, values: Values) -> Any:
    return _EVALUATORS[type(node)](node, values)


def _all(nodes: Sequence[ast.expr], values: Values) -> list[Any]:
    return [_evaluate(node, values) for node in nodes]


def _name(node: Any, values: Values) -> Any:
    if node.id.startswith(_PLACEHOLDER):
        return values[int(node.id.removeprefix(_PLACEHOLDER))]
    return _TYPES[node.id]


def _call(node: Any, values: Values) -> Any:
    keywords = {word.arg: _evaluate(word.value, values) for word in node.keywords}
    return _OUTSIDE[_function(node)](*_all(node.args, values), **keywords)


def _compare(node: Any, values: Values) -> bool:
    sides = _all([node.left, *node.comparators], values)
    # `a < b < c` is a pair per operator.
    pairs = zip(node.ops, sides, sides[1:], strict=False)
    return all(_COMPARE[type(op)](before, right) for op, before, right in pairs)


def _round(number: Any, digits: Any) -> Any:
    """Round like `round`, but refuse places that would take too long."""
    # `round(x, -10**9)` would compute a power of ten with a billion digits.
    if digits is not None and not -_MAX_DIGITS <= digits <= _MAX_DIGITS:
        raise ValueError("rounding to a place beyond those of numbers")
    if not isinstance(number, (int, float, Fraction)):  # a Decimal may have a billion digits
        raise TypeError("rounding a value that is not a number")
    return round(number, digits)


def _sum(items: Any) -> Any:
    """Sum numbers only: a sum of lists would copy them again and again."""
    if not all(isinstance(item, (int, float)) for item in items):
        raise TypeError("a sum of values that are not numbers")
    return sum(items)


def _arithmetic(node: Any, values: Values) -> Any:
    """Compute on numbers only: `"a" * n` could take all memory."""
    sides = _all([node.left, node.right], values)
    if not all(isinstance(side, _NUMBERS) for side in sides):
        raise TypeError("arithmetic on values that are not numbers")
    # Multiplication and division of long integers take quadratic time.
    if math.prod(side.bit_length() for side in sides if isinstance(side, int)) > _MAX_BIT_PRODUCT:
        raise ValueError("arithmetic on numbers that are too long")
    return _ARITHMETIC[type(node.op)](*sides)


def _bool_op(node: Any, values: Values) -> Any:
    sides = _all(node.values, values)
    return all(sides) if isinstance(node.op, ast.And) else any(sides)


def _slice(node: Any, values: Values) -> slice:
    return slice(
        *(part and _evaluate(part, values) for part in (node.lower, node.upper, node.step))
    )


_EVALUATORS: dict[type[ast.expr], Callable[[Any, Values], Any]] = {
    ast.Constant: lambda node, _: node.value,
    ast.Name: _name,
    ast.List: lambda node, values: _all(node.elts, values),
    ast.Tuple: lambda node, values: tuple(_all(node.elts, values)),
    ast.Set: lambda node, values: set(_all(node.elts, values)),
    ast.Dict: lambda node, values: dict(
        zip(_all(node.keys, values), _all(node.values, values), strict=True)
    ),
    ast.UnaryOp: lambda node, values: _UNARY[type(node.op)](_evaluate(node.operand, values)),
    ast.BinOp: _arithmetic,
    ast.BoolOp: _bool_op,
    ast.Compare: _compare,
    ast.Call: _call,
    ast.Subscript: lambda node, values: _evaluate(node.value, values)[
        _evaluate(node.slice, values)
    ],
    ast.Slice: _slice,
}
