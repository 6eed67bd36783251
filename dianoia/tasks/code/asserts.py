"""Assertions, taken apart: the program's calls run inside the sandbox, everything else outside.

In: a snippet such as `assert abs(area(2) - 12.566) < 1e-3`. Out: the steps to run inside
(`area(2)`), and what is left to be decided outside on the values that come back. A program that
sees the comparison could win it: by an `__eq__` that is always true, by exchanging `abs`, by
`sys.exit(0)` before it, by reading the number.

A snippet holds imports, assignments and asserts. Outside, an assert may use literals, comparisons,
`and`, `or`, `not`, arithmetic on numbers, subscripts, and the functions of `_OUTSIDE`.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dianoia.runtime.box.values import spread

Step = tuple[str, str]

_SET_UP = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
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
_DECIDES = (ast.Compare, ast.BoolOp, ast.IfExp, ast.Lambda, ast.GeneratorExp, ast.NamedExpr)
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


def take_apart(snippet: str, first: int = 0) -> tuple[list[Step], list[Assertion]]:
    """Steps for the sandbox, numbered from `first`, and the assertions that wait for them.

    Raises ValueError, saying what is not supported, for anything this module cannot keep outside.
    """
    steps: list[Step] = []
    assertions = []
    for statement in ast.parse(snippet).body:
        if isinstance(statement, ast.Assert):
            before = len(steps)
            if _hands_over(statement.test):
                raise ValueError("the program would see the expected value; write f(x) == value")
            test = _Inside(steps, first).visit(statement.test)
            used = tuple(range(first + before, first + len(steps)))
            _check(test)
            assertions.append(Assertion(ast.unparse(statement), used, test))
        elif isinstance(statement, _SET_UP):
            steps.append(("do", ast.unparse(statement)))
        else:
            raise ValueError(
                f"a {type(statement).__name__} statement; use imports, assignments and asserts"
            )
    return steps, assertions


class _Inside(ast.NodeTransformer):
    """Replaces what needs the program by the number of the step that will find its value."""

    def __init__(self, steps: list[Step], first: int) -> None:
        self.steps, self.first = steps, first

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if _function(node) not in _OUTSIDE:
            return self._step(node)
        node.func = ast.Name(_function(node), ast.Load())  # math.isclose as one name
        node.args = [self.visit(argument) for argument in node.args]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return node if node.id in _TYPES else self._step(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self._step(node)

    def _step(self, node: ast.expr) -> ast.expr:
        # `all(f(i) == i for i in x)` as a whole would be decided inside.
        if any(isinstance(part, _DECIDES) for part in ast.walk(node)):
            raise ValueError("a comparison or a loop inside a call; write one assert a case")
        self.steps.append(("value", ast.unparse(node)))
        number = self.first + len(self.steps) - 1
        return ast.Name(f"{_PLACEHOLDER}{number}", ast.Load())


def _hands_over(test: ast.expr) -> bool:
    """Whether it is a bare call around another one, as in `assert same(f(2), 4)`."""
    if isinstance(test, ast.UnaryOp):
        return _hands_over(test.operand)
    if not isinstance(test, ast.Call) or _function(test) in _OUTSIDE:
        return False
    inner = [test.func, *test.args, *(word.value for word in test.keywords)]
    return any(isinstance(part, ast.Call) for node in inner for part in ast.walk(node))


def _function(node: ast.Call) -> str:
    return ast.unparse(node.func)


def _check(node: ast.expr) -> None:
    """ValueError for an expression that `_evaluate` does not know, or that needs no program."""
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    if not any(name.id.startswith(_PLACEHOLDER) for name in names):
        raise ValueError("an assert that calls nothing of the program")
    for part in ast.walk(node):
        if isinstance(part, ast.expr) and not isinstance(part, tuple(_RULES)):
            raise ValueError(f"{type(part).__name__} in an assert; write it out, one assert a case")
        if isinstance(part, ast.BinOp) and type(part.op) not in _ARITHMETIC:
            raise ValueError(f"{type(part.op).__name__} in an assert; write its result")
        if isinstance(part, ast.UnaryOp) and type(part.op) not in _UNARY:
            raise ValueError(f"{type(part.op).__name__} in an assert; write its result")


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
    return round(number, digits)


def _sum(items: Any) -> Any:
    """As `sum`, of numbers only: lists would be copied again and again."""
    if not all(isinstance(item, (int, float)) for item in items):
        raise TypeError("a sum of something that is no number")
    return sum(items)


def _arithmetic(node: Any, values: Values) -> Any:
    """On numbers only: `"a" * n` could take all the memory there is."""
    sides = _all([node.left, node.right], values)
    if not all(isinstance(side, (int, float)) for side in sides):
        raise TypeError("arithmetic on something that is no number")
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
