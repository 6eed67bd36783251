"""Plain assertions, taken apart: calls with written values run inside the sandbox, everything else outside.

In: a snippet such as `assert abs(area(2) - 12.566) < 1e-3`. Out: the steps to run inside
(`area(2)`), and what is left to be decided outside on the values that come back. A program that
sees the comparison could win it: by an `__eq__` that is always true, by exchanging `abs`, by
`sys.exit(0)` before it, by reading the number.

A plain snippet holds asserts only. A call inside has arguments that are written out, without a name in them: a name
would be looked up where the program rules. Outside, an assert may use literals, comparisons, `and`, `or`, `not`,
arithmetic on numbers, subscripts, and the functions of `_OUTSIDE`. Everything else is `scripts`.
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
_MOST_WORK = 2**32
"""Product of the lengths of two whole numbers in bits: about what dividing one by the other takes."""
_WRITTEN = (
    ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.Starred, ast.keyword,
    ast.operator, ast.unaryop, ast.expr_context,
)  # fmt: skip
"""What an argument that runs inside is written with."""
_TYPES: Mapping[str, Any] = {
    kind.__name__: kind for kind in (int, float, str, bool, list, tuple, dict, set, bytes)
}
# What comes back from a program is chosen by it: none of these may be slow on any value.
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
_MOST_DIGITS = 400
_PLACEHOLDER = "value "  # with a space, which no name of a program can have


@dataclass(frozen=True, slots=True)
class Assertion:
    """One `assert`: what to decide once its values are known."""

    source: str
    values: tuple[int, ...]
    """Numbers of the steps whose values it needs."""
    test: ast.expr

    def holds(self, values: Mapping[int, Any]) -> bool:
        """Whether it holds for the values of its steps; False where one of them is missing."""
        try:
            return bool(_evaluate(self.test, values))
        except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError):
            return False


class NotPlain(ValueError):
    """The snippet needs a process of its own."""


def take_apart(
    snippet: str, first: int = 0, declared: Collection[str] = ()
) -> tuple[list[Step], list[Assertion]]:
    """Steps for the sandbox, numbered from `first`, and the assertions that wait for them.

    `declared` names are the program's, even where Python has them too. Raises NotPlain for anything that is not
    taken apart, SyntaxError for what is not Python.
    """
    steps: list[Step] = []
    assertions = []
    for statement in parsed(snippet).body:
        if is_vacuous(statement) or _imports_isclose(statement):
            continue
        if not isinstance(statement, ast.Assert):
            raise NotPlain(type(statement).__name__)
        source, before = ast.unparse(statement), len(steps)
        test = _Inside(steps, first, frozenset(declared)).visit(statement.test)
        used = tuple(range(first + before, first + len(steps)))
        _check(test)
        assertions.append(Assertion(source, used, test))
    return steps, assertions


def _imports_isclose(statement: ast.stmt) -> bool:
    return ast.unparse(statement) in ("import math", "from math import isclose")


class _Inside(ast.NodeTransformer):
    """Replaces what needs the program by the number of the step that will find its value."""

    def __init__(self, steps: list[Step], first: int, declared: frozenset[str]) -> None:
        self.steps, self.first, self.declared = steps, first, declared

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if _function(node) not in _OUTSIDE or _function(node) in self.declared:
            return self._step(node)
        node.func = ast.Name(_function(node), ast.Load())  # math.isclose as one name
        node.args = [self.visit(argument) for argument in node.args]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in _TYPES and node.id not in self.declared:
            return node
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
        """Whether it is a call of the program in which every value is written out."""
        if not isinstance(node, ast.Call):
            return isinstance(node, _WRITTEN) and all(
                self._runs_inside(part) for part in ast.iter_child_nodes(node)
            )
        function = node.func
        parts = [*node.args, *node.keywords]
        if isinstance(function, ast.Attribute):  # Solution().add(2, 3)
            made = function.value
            if not (isinstance(made, ast.Call) and isinstance(made.func, ast.Name)):
                return False
            if not made.func.id[0].isupper() or function.attr.startswith("_"):
                return False
            parts, function = [*parts, *made.args, *made.keywords], made.func
        if not (isinstance(function, ast.Name) and self._of_program(function.id)):
            return False
        return all(self._runs_inside(part) for part in parts)

    def _of_program(self, name: str) -> bool:
        return name in self.declared or name not in _PYTHON


def _function(node: ast.Call) -> str:
    return ast.unparse(node.func)


def _check(node: ast.expr) -> None:
    """NotPlain for an expression that `_evaluate` does not know, or that needs no program."""
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    if not any(name.id.startswith(_PLACEHOLDER) for name in names):
        raise NotPlain("an assert that calls nothing of the program")
    for part in ast.walk(node):
        if isinstance(part, ast.expr) and not isinstance(part, tuple(_RULES)):
            raise NotPlain(type(part).__name__)
        if isinstance(part, ast.BinOp) and type(part.op) not in _ARITHMETIC:
            raise NotPlain(type(part.op).__name__)
        if isinstance(part, ast.UnaryOp) and type(part.op) not in _UNARY:
            raise NotPlain(type(part.op).__name__)


Values = Mapping[int, Any]


def _evaluate(node: ast.expr, values: Values) -> Any:
    return _RULES[type(node)](node, values)


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
    pairs = zip(node.ops, sides, sides[1:], strict=False)
    return all(_COMPARE[type(op)](left, right) for op, left, right in pairs)


def _round(number: Any, digits: Any) -> Any:
    """As `round`, but not to places that take for ever."""
    if digits is not None and not -_MOST_DIGITS <= digits <= _MOST_DIGITS:
        raise ValueError("rounding to a place that no number has")
    if not isinstance(number, (int, float, Fraction)):  # a Decimal may have a billion digits
        raise TypeError("rounding something that is no number")
    return round(number, digits)


def _sum(items: Any) -> Any:
    """As `sum`, of numbers only: lists would be copied again and again."""
    if not all(isinstance(item, (int, float)) for item in items):
        raise TypeError("a sum of something that is no number")
    return sum(items)


def _arithmetic(node: Any, values: Values) -> Any:
    """On numbers only: `"a" * n` could take all the memory there is."""
    sides = _all([node.left, node.right], values)
    if not all(isinstance(side, _NUMBERS) for side in sides):
        raise TypeError("arithmetic on something that is no number")
    if math.prod(side.bit_length() for side in sides if isinstance(side, int)) > _MOST_WORK:
        raise ValueError("arithmetic on numbers that are too long")
    return _ARITHMETIC[type(node.op)](*sides)


def _either(node: Any, values: Values) -> Any:
    sides = _all(node.values, values)
    return all(sides) if isinstance(node.op, ast.And) else any(sides)


def _slice(node: Any, values: Values) -> slice:
    return slice(
        *(part and _evaluate(part, values) for part in (node.lower, node.upper, node.step))
    )


_RULES: dict[type[ast.expr], Callable[[Any, Values], Any]] = {
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
    ast.BoolOp: _either,
    ast.Compare: _compare,
    ast.Call: _call,
    ast.Subscript: lambda node, values: _evaluate(node.value, values)[
        _evaluate(node.slice, values)
    ],
    ast.Slice: _slice,
}
