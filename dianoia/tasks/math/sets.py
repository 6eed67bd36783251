"""Sets of real numbers compared by their members: intervals, single numbers, unions, conditions on one name.

In: trees. Out: a `RealSet`, or None where a tree is no set of real numbers whose ends are known; whether two hold the
same numbers. An inequality in one name is the set of the numbers that fulfil it: `x < 3` is (-infinity, 3).
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from dianoia.tasks.math.arithmetic import Undefined, difference, inexact, is_complex, real_part
from dianoia.tasks.math.equal import infinity
from dianoia.tasks.math.evaluate import Evaluator
from dianoia.tasks.math.nodes import (
    Boxed,
    Bracketed,
    Builder,
    Listing,
    Name,
    Node,
    NumberSet,
    Quantity,
    Relation,
    SetOf,
    SetOperation,
    Words,
    names_of,
)

_DIGITS = 80
_CLOSE = 60
_FLIPPED = {"<": ">", ">": "<", "le": "ge", "ge": "le", "ne": "ne"}
_NAMED_SETS = {
    "R": (None, None),
    "R^+": (0, None),
    "R^{+}": (0, None),
    "R_+": (0, None),
    "R_{+}": (0, None),
    "R^-": (None, 0),
    "R^{-}": (None, 0),
}


class End:
    """A number as the end of an interval, or infinity; ends within 10**-60 of one another are one."""

    __slots__ = ("infinite", "value")

    def __init__(self, value: Any, infinite: int = 0) -> None:
        self.value, self.infinite = value, infinite

    def __lt__(self, other: "End") -> bool:
        if self.infinite or other.infinite:
            return self.infinite < other.infinite
        return self != other and bool(difference(self.value, other.value) < 0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, End):
            return NotImplemented
        if self.infinite or other.infinite:
            return self.infinite == other.infinite
        if isinstance(self.value, Fraction) and isinstance(other.value, Fraction):
            return self.value == other.value
        apart = difference(self.value, other.value)
        return not apart or bool(abs(inexact(apart)) * 10**_CLOSE <= abs(inexact(self.value)))

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class RealSet:
    """Real numbers, by a rule that tells members; the rule changes at its ends only."""

    holds: Callable[[End], bool]
    ends: tuple[End, ...]
    name: str | None = None
    """The name that an inequality speaks of."""


def real_set(node: Node) -> RealSet | None:
    """The set of real numbers that a tree describes; None where it is none."""
    if isinstance(node, Boxed):
        return real_set(node.content)
    if isinstance(node, Bracketed):
        return _interval(node)
    if isinstance(node, SetOf):
        return _of_members(node)
    if isinstance(node, SetOperation):
        return _combined(node.operation, real_set(node.left), real_set(node.right))
    if isinstance(node, NumberSet) and node.name in _NAMED_SETS:
        low, high = (None if end is None else End(Fraction(end)) for end in _NAMED_SETS[node.name])
        return _between(low, high)
    if isinstance(node, Words):
        return {
            "all real numbers": _between(None, None),
            "no solution": RealSet(lambda _: False, ()),
        }.get(node.text)
    if isinstance(node, Relation):
        return _fulfilling(node)
    if isinstance(node, Builder):
        inner = real_set(node.condition)
        return inner if inner is not None and inner.name in (None, node.variable) else None
    return _of_conditions(node) if isinstance(node, Listing) else None


def is_set_like(node: Node) -> bool:
    """Tell whether a tree can only be a set."""
    return isinstance(node, SetOperation | NumberSet | Builder) or (
        isinstance(node, Bracketed) and (node.opening, node.closing) in (("(", "]"), ("[", ")"))
    )


def same_set(left: RealSet, right: RealSet) -> bool:
    """Tell whether two sets hold the same real numbers."""
    if left.name and right.name and left.name != right.name:
        return False
    ends = _sorted((*left.ends, *right.ends))
    return all(
        left.holds(number) == right.holds(number)
        for number in (*(end for end in ends if not end.infinite), *_inner(ends))
    )


def _sorted(ends: tuple[End, ...]) -> list[End]:
    """The ends in order, infinities first and last, none twice."""
    ordered: list[End] = []
    for end in sorted((*ends, End(None, -1), End(None, 1))):
        if not ordered or ordered[-1] != end:
            ordered.append(end)
    return ordered


def _inner(ends: list[End]) -> list[End]:
    """A number between every two neighbours."""
    numbers = []
    for low, high in pairwise(ends):
        if low.infinite and high.infinite:
            numbers.append(End(Fraction(0)))
        elif low.infinite:
            numbers.append(End(high.value - 1))
        elif high.infinite:
            numbers.append(End(low.value + 1))
        else:
            numbers.append(End(difference(low.value, difference(low.value, high.value) / 2)))
    return numbers


# Parts ---------------------------------------------------------------------------------------------


def _number(node: Node) -> End | None:
    """A constant as an end; None where it has names or no real value."""
    if sign := infinity(node):
        return End(None, sign)
    if names_of(node) or isinstance(node, Bracketed | SetOf | Quantity):
        return None
    try:
        value = Evaluator(_DIGITS)(node)
    except Undefined:
        return None
    if isinstance(value, list) or is_complex(value):
        return None
    return End(real_part(value))


def _interval(node: Bracketed) -> RealSet | None:
    if len(node.items) != 2 or node.opening not in "([":
        return None
    low, high = map(_number, node.items)
    if (low and low.infinite and node.opening == "[") or (
        high and high.infinite and node.closing == "]"
    ):
        return None
    if (
        low is None
        or high is None
        or (not low < high and not (low == high and node.opening + node.closing == "[]"))
    ):
        return None
    return _between(low, high, node.opening == "(", node.closing == ")")


def _between(
    low: End | None, high: End | None, low_open: bool = True, high_open: bool = True
) -> RealSet:
    first, last = low or End(None, -1), high or End(None, 1)

    def holds(number: End) -> bool:
        above = first < number or (first == number and not low_open)
        return above and (number < last or (number == last and not high_open))

    return RealSet(holds, (first, last))


def _of_members(node: SetOf) -> RealSet | None:
    numbers = [_number(item) for item in node.items]
    if any(number is None or number.infinite for number in numbers):
        return None
    members = [number for number in numbers if number is not None]
    return RealSet(lambda number: any(number == member for member in members), tuple(members))


def _combined(operation: str, left: RealSet | None, right: RealSet | None) -> RealSet | None:
    if left is None or right is None or (left.name and right.name and left.name != right.name):
        return None
    rules: dict[str, Callable[[End], bool]] = {
        "cup": lambda number: left.holds(number) or right.holds(number),
        "cap": lambda number: left.holds(number) and right.holds(number),
        "minus": lambda number: left.holds(number) and not right.holds(number),
    }
    return RealSet(rules[operation], (*left.ends, *right.ends), left.name or right.name)


def _fulfilling(node: Relation) -> RealSet | None:
    """The numbers for which a relation in one bare name holds."""
    parts, signs = node.parts, node.signs
    if signs == ("in",) and isinstance(parts[0], Name):
        members = real_set(parts[1])
        return None if members is None else RealSet(members.holds, members.ends, parts[0].text)
    if not all(sign in _FLIPPED for sign in signs):
        return None
    whole: RealSet | None = None
    for left, sign, right in zip(parts, signs, parts[1:], strict=False):
        part = _half_line(left, sign, right)
        if part is None:
            return None
        whole = part if whole is None else _combined("cap", whole, part)
        if whole is None:
            return None
    return whole


def _half_line(left: Node, sign: str, right: Node) -> RealSet | None:
    if isinstance(right, Name) and not isinstance(left, Name):
        left, sign, right = right, _FLIPPED[sign], left
    end = _number(right)
    if not isinstance(left, Name) or end is None:
        return None
    if sign == "ne":
        everything, point = _between(None, None), RealSet(lambda number: number == end, (end,))
        half = _combined("minus", everything, point)
    else:
        below = sign in ("<", "le")
        is_open = sign in ("<", ">")
        half = _between(None, end, True, is_open) if below else _between(end, None, is_open, True)
    return None if half is None else RealSet(half.holds, half.ends, left.text)


def _of_conditions(node: Listing) -> RealSet | None:
    """Conditions joined by "or" make a union, by "and" an intersection; intervals side by side a union."""
    if node.joint == "signs":
        return None
    sets = [real_set(item) for item in node.items]
    conditions = [isinstance(item, Relation) for item in node.items]
    if any(part is None for part in sets):
        return None
    if node.joint == "," and (any(conditions) or not all(map(is_set_like, node.items))):
        return None
    operation = "cap" if node.joint == "and" and all(conditions) else "cup"
    if (
        operation == "cup"
        and not any(conditions)
        and not all(isinstance(item, Bracketed | SetOperation | SetOf) for item in node.items)
    ):
        return None
    whole = sets[0]
    for part in sets[1:]:
        whole = _combined(operation, whole, part)
    return whole


def speaks_of_sets(node: Node) -> bool:
    """Tell whether a tree, or a member of it, is a set or an inequality."""
    if isinstance(node, Listing):
        return any(map(speaks_of_sets, node.items))
    return is_set_like(node) or (isinstance(node, Relation) and "=" not in node.signs)
