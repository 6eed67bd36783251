"""Sets of real numbers in one form: intervals, single numbers, unions, conditions on one name.

In: trees. Out: a `RealSet`, or None for a tree that is no set of real numbers with known ends; `same_set` compares two. An
inequality in one name is the set of the numbers that satisfy it: `x < 3` is (-infinity, 3).
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from dianoia.tasks.math.arithmetic import Undefined, difference, inexact, is_complex, real_part
from dianoia.tasks.math.equal import infinity
from dianoia.tasks.math.evaluation import Evaluator
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
_EQUAL_DIGITS = 60
"""Ends that agree to so many significant digits are one end."""
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
    """The end of an interval: a number, or infinity (`infinite` is 1 or -1). Ends that agree to 60 digits are equal."""

    __slots__ = ("infinite", "value")

    def __init__(self, value: Any, infinite: int = 0) -> None:
        self.value, self.infinite = value, infinite

    def __lt__(self, other: "End") -> bool:
        # Infinity has no value to subtract.
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
        # Relative to the size of the value: sqrt(2) computed in two ways differs in its last digits.
        apart = difference(self.value, other.value)
        return not apart or bool(
            abs(inexact(apart)) * 10**_EQUAL_DIGITS <= abs(inexact(self.value))
        )

    # Approximate equality is not transitive, so that no hash can agree with it.
    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class RealSet:
    """A set of real numbers: a membership function, which is constant between neighbouring ends."""

    holds: Callable[[End], bool]
    ends: tuple[End, ...]
    name: str | None = None
    """The variable of an inequality."""


def real_set(node: Node) -> RealSet | None:
    """Return the set of real numbers that a tree describes; None if it describes none."""
    if isinstance(node, Boxed):
        return real_set(node.content)
    if isinstance(node, Bracketed):
        return _interval(node)
    if isinstance(node, SetOf):
        return _set_of_numbers(node)
    if isinstance(node, SetOperation):
        return _combined(node.operation, real_set(node.left), real_set(node.right))
    # Z, N, Q and C have no ends; `compare` compares them by name.
    if isinstance(node, NumberSet) and node.name in _NAMED_SETS:
        low, high = (None if end is None else End(Fraction(end)) for end in _NAMED_SETS[node.name])
        return _between(low, high)
    if isinstance(node, Words):
        return {
            "all real numbers": _between(None, None),
            "no solution": RealSet(lambda _: False, ()),
        }.get(node.text)
    if isinstance(node, Relation):
        return _solution_set(node)
    if isinstance(node, Builder):
        # {x | y > 2} is no condition on x.
        inner = real_set(node.condition)
        return inner if inner is not None and inner.name in (None, node.variable) else None
    return _joined_conditions(node) if isinstance(node, Listing) else None


def is_set_like(node: Node) -> bool:
    """Return True if a tree can only be a set: (1,2] is an interval, (1,2) may be a pair."""
    return isinstance(node, SetOperation | NumberSet | Builder) or (
        isinstance(node, Bracketed) and (node.opening, node.closing) in (("(", "]"), ("[", ")"))
    )


def same_set(lhs: RealSet, rhs: RealSet) -> bool:
    """Return True if two sets hold the same real numbers.

    Membership is constant between neighbouring ends, so it is enough to test every end and one number between each two.
    """
    if lhs.name and rhs.name and lhs.name != rhs.name:
        return False
    # x < 3 and (-infinity, 3) are equal: only two names have to agree.
    ends = _sorted((*lhs.ends, *rhs.ends))
    return all(
        lhs.holds(number) == rhs.holds(number)
        for number in (*(end for end in ends if not end.infinite), *_between_neighbours(ends))
    )


def _sorted(ends: tuple[End, ...]) -> list[End]:
    """Return the ends in ascending order without repeats, with both infinities."""
    ordered: list[End] = []
    for end in sorted((*ends, End(None, -1), End(None, 1))):
        if not ordered or ordered[-1] != end:
            ordered.append(end)
    return ordered


def _between_neighbours(ends: list[End]) -> list[End]:
    """Return a number between every two neighbouring ends."""
    numbers = []
    for low, high in pairwise(ends):
        if low.infinite and high.infinite:
            # No ends at all: any number will do.
            numbers.append(End(Fraction(0)))
        elif low.infinite:
            numbers.append(End(high.value - 1))
        elif high.infinite:
            numbers.append(End(low.value + 1))
        else:
            numbers.append(End(difference(low.value, difference(low.value, high.value) / 2)))
    return numbers


# Construction ---------------------------------------------------------------------------------------------


def _number(node: Node) -> End | None:
    """Return a constant as an end; None if it has names or no real value."""
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
    """Return the interval of two bracketed numbers; None if it is empty, closed at infinity, or no interval."""
    # A closed bracket at infinity is no interval, and one without members (2, 1) is taken for a point.
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
    """Return the interval between two ends; None stands for infinity."""
    first, last = low or End(None, -1), high or End(None, 1)

    # The membership function is a closure, so that sets combine without a case for each pair of types.
    def holds(number: End) -> bool:
        above = first < number or (first == number and not low_open)
        return above and (number < last or (number == last and not high_open))

    return RealSet(holds, (first, last))


def _set_of_numbers(node: SetOf) -> RealSet | None:
    """Return the set of some numbers; None if a member is no real number."""
    numbers = [_number(item) for item in node.items]
    if any(number is None or number.infinite for number in numbers):
        return None
    members = [number for number in numbers if number is not None]
    return RealSet(lambda number: any(number == member for member in members), tuple(members))


def _combined(operation: str, lhs: RealSet | None, rhs: RealSet | None) -> RealSet | None:
    """Return the union ("cup"), intersection ("cap") or difference ("minus") of two sets; None if they have two names."""
    if lhs is None or rhs is None or (lhs.name and rhs.name and lhs.name != rhs.name):
        return None
    rules: dict[str, Callable[[End], bool]] = {
        "cup": lambda number: lhs.holds(number) or rhs.holds(number),
        "cap": lambda number: lhs.holds(number) and rhs.holds(number),
        "minus": lambda number: lhs.holds(number) and not rhs.holds(number),
    }
    return RealSet(rules[operation], (*lhs.ends, *rhs.ends), lhs.name or rhs.name)


def _solution_set(node: Relation) -> RealSet | None:
    """Return the numbers for which a chain of inequalities in one name holds: 1 < x <= 3; None for other relations."""
    parts, signs = node.parts, node.signs
    if signs == ("in",) and isinstance(parts[0], Name):
        members = real_set(parts[1])
        return None if members is None else RealSet(members.holds, members.ends, parts[0].text)
    # Equations are no inequalities, and x = 5 is a value.
    if not all(sign in _FLIPPED for sign in signs):
        return None
    # A chain is the intersection of its links.
    intersection: RealSet | None = None
    for lhs, sign, rhs in zip(parts, signs, parts[1:], strict=False):
        part = _half_line(lhs, sign, rhs)
        if part is None:
            return None
        intersection = part if intersection is None else _combined("cap", intersection, part)
        if intersection is None:
            return None
    return intersection


def _half_line(lhs: Node, sign: str, rhs: Node) -> RealSet | None:
    """Return the solutions of one inequality between a name and a number, in either order."""
    # 3 > x as x < 3.
    if isinstance(rhs, Name) and not isinstance(lhs, Name):
        lhs, sign, rhs = rhs, _FLIPPED[sign], lhs
    end = _number(rhs)
    if not isinstance(lhs, Name) or end is None:
        return None
    if sign == "ne":
        # x ≠ 3: the real line without a point.
        line, point = _between(None, None), RealSet(lambda number: number == end, (end,))
        solutions = _combined("minus", line, point)
    elif sign in ("<", "le"):
        solutions = _between(None, end, True, sign == "<")
    else:
        solutions = _between(end, None, sign == ">", True)
    return None if solutions is None else RealSet(solutions.holds, solutions.ends, lhs.text)


def _joined_conditions(node: Listing) -> RealSet | None:
    """Return the union of conditions joined by "or" and of listed intervals, the intersection of those joined by "and".

    None for other lists: `x > 1, x < 3` may mean either, and (1,2), (3,4) may be points.
    """
    if node.joint == "signs":
        return None
    sets = [real_set(item) for item in node.items]
    conditions = [isinstance(item, Relation) for item in node.items]
    if any(part is None for part in sets):
        return None
    if node.joint == "," and (any(conditions) or not all(map(is_set_like, node.items))):
        return None
    # "x > 1 and x < 3" intersects, "(1,2) and (3,4)" lists two intervals.
    operation = "cap" if node.joint == "and" and all(conditions) else "cup"
    if (
        operation == "cup"
        and not any(conditions)
        and not all(isinstance(item, Bracketed | SetOperation | SetOf) for item in node.items)
    ):
        return None
    result = sets[0]
    for part in sets[1:]:
        result = _combined(operation, result, part)
    return result


def speaks_of_sets(node: Node) -> bool:
    """Return True if a tree, or an item of a list, can only be a set or is an inequality."""
    if isinstance(node, Listing):
        return any(map(speaks_of_sets, node.items))
    return is_set_like(node) or (isinstance(node, Relation) and "=" not in node.signs)
