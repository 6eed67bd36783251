"""Tell whether two expressions have one value: exactly where they are rational, else to as many digits as it takes.

In: two trees. Out: True or False. Two constants are equal if their difference vanishes as the digits grow, which also
tells 1 - 2**-100 from 1 - 2**-99; two expressions with names if they are equal at points that nobody can foresee.

Decisions:
1. Numbers are equal as fractions, without tolerance: 0.333 is not 1/3.
2. An irrational value is met by a decimal number that is it, rounded or cut, to at least six places.
3. Points where neither side is real do not count, unless all are such; where only one side has a value, the two differ.
"""

import hashlib
import random
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from dianoia.tasks.math.arithmetic import (
    Undefined,
    Value,
    below,
    difference,
    is_complex,
    multiplied,
    real_part,
)
from dianoia.tasks.math.evaluate import Evaluator
from dianoia.tasks.math.nodes import (
    Constant,
    Negative,
    Node,
    Number,
    has_constant,
    has_two_signs,
    names_of,
)
from dianoia.tasks.math.verdict import TooLarge

POINTS = 8
FIRST_DIGITS = 30
MOST_DIGITS = 12_000
PLACES = 6
"""Places to which a decimal number has to agree with an irrational value."""
_RANGES = (
    (0.05, 0.95),
    (1.1, 3.0),
    (-0.95, -0.05),
    (3.0, 9.0),
    (-3.0, -1.1),
    (0.2, 2.0),
    (9.0, 30.0),
    (-9.0, -3.0),
)


def equal(left: Node, right: Node) -> bool:
    """Tell whether two expressions are equal.

    Raises:
        TooLarge: they would take too long to compute.
    """
    signs = infinity(left), infinity(right)
    if any(signs):
        return signs[0] == signs[1]
    if left == right and not has_two_signs(left):
        return _has_value(left)
    names = sorted(names_of(left) | names_of(right))
    if not names:
        try:
            return _same_constant(left, right, {}) or _rounded(left, right) or _rounded(right, left)
        except Undefined:
            return False
    return _same_at_points(left, right, names)


def infinity(node: Node) -> int:
    """1 or -1 for infinity with its sign, 0 for anything else."""
    if node == Constant("infinity"):
        return 1
    return -infinity(node.value) if isinstance(node, Negative) else 0


def _has_value(node: Node) -> bool:
    """Tell whether an expression has a value somewhere."""
    names = sorted(names_of(node))
    for point in _points(names, repr(node)) if names else ({},):
        try:
            Evaluator(FIRST_DIGITS, point)(node)
        except Undefined:
            continue
        return True
    return False


# Constants -----------------------------------------------------------------------------------------


def _same_constant(left: Node, right: Node, point: Mapping[str, Fraction]) -> bool:
    """Tell whether both have one value at a point; raises Undefined where either has none."""
    digits = FIRST_DIGITS
    for _ in range(3):
        once, spread, _ = _difference(left, right, point, digits)
        if _is_zero(once) and _is_exact(once):
            return True
        twice, spread, largest = _difference(left, right, point, 2 * digits)
        if _stands(once, twice):
            return False
        if not _vanishes(once, twice, largest, digits):
            raise Undefined("a value that does not settle")
        needed = int(60 + 2.2 * spread)
        if digits >= needed:
            return True
        if needed > MOST_DIGITS:
            raise TooLarge("digits")
        digits = needed
    return True


def _difference(
    left: Node, right: Node, point: Mapping[str, Fraction], digits: int
) -> tuple[Any, float, float]:
    """Left less right, with the spread and the largest part of both."""
    one, other = Evaluator(digits, point), Evaluator(digits, point)
    a, b = one(left), other(right)
    return _less(a, b), max(one.spread, other.spread), max(one.largest, other.largest)


def _less(left: Value, right: Value) -> Any:
    if isinstance(left, list) or isinstance(right, list):
        if not (isinstance(left, list) and isinstance(right, list)):
            raise Undefined("a matrix beside a number")
        if [len(row) for row in left] != [len(row) for row in right]:
            raise Undefined("matrices of two shapes")
        return [
            [difference(a, b) for a, b in zip(r, s, strict=True)]
            for r, s in zip(left, right, strict=True)
        ]
    return difference(left, right)


def _is_exact(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_exact(entry) for row in value for entry in row)
    return isinstance(value, Fraction)


def _is_zero(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_zero(entry) for row in value for entry in row)
    return not value


def _stands(once: Any, twice: Any) -> bool:
    """Tell whether a difference is the same with twice the digits, and so is one."""
    if isinstance(twice, list):
        return any(
            _stands(a, b)
            for r, s in zip(once, twice, strict=True)
            for a, b in zip(r, s, strict=True)
        )
    size = abs(twice)
    return bool(size != 0 and abs(difference(once, twice)) * 4 <= size)


def _vanishes(once: Any, twice: Any, largest: float, digits: int) -> bool:
    """Tell whether a difference is nothing but rounding: far below its largest part, and smaller with twice the digits."""
    if isinstance(twice, list):
        return all(
            _vanishes(a, b, largest, digits)
            for r, s in zip(once, twice, strict=True)
            for a, b in zip(r, s, strict=True)
        )
    return below(twice, largest - 2 * digits + 10) or bool(
        abs(twice) * 10 ** (digits // 3) <= abs(once)
    )


def _rounded(exact: Node, decimal: Node) -> bool:
    """Tell whether a decimal number is an irrational value to at least six places, rounded or cut (decision 2)."""
    inner = decimal.value if isinstance(decimal, Negative) else decimal
    if not (isinstance(inner, Number) and inner.notation == "decimal" and inner.places >= PLACES):
        return False
    value = Evaluator(FIRST_DIGITS + inner.places)(exact)
    if isinstance(value, Fraction | list) or is_complex(value):
        return False
    number = -inner.value if isinstance(decimal, Negative) else inner.value
    return below(difference(value, number), -inner.places)


# Names ---------------------------------------------------------------------------------------------


def _points(names: list[str], seed: str) -> list[dict[str, Fraction]]:
    """Points at which two expressions are compared; the same for the same two expressions."""
    draw = random.Random(hashlib.blake2b(seed.encode(), digest_size=8).digest())
    points = []
    for number in range(POINTS):
        point = {}
        for place, name in enumerate(names):
            low, high = (
                _RANGES[(number + place * 3) % len(_RANGES)] if number % 2 else _RANGES[number]
            )
            point[name] = Fraction(round(draw.uniform(low, high) * 9973), 9973)
        points.append(point)
    return points


def _same_at_points(left: Node, right: Node, names: list[str]) -> bool:
    seed = "".join(sorted((repr(left), repr(right))))
    complex_points = []
    compared = 0
    for point in _points(names, seed):
        sides = [_real_value(side, point) for side in (left, right)]
        if sides[0] != sides[1]:
            return False
        if sides[0] == "undefined":
            continue
        if sides[0] == "complex" and not (has_constant(left, "i") or has_constant(right, "i")):
            complex_points.append(point)
            continue
        compared += 1
        if not _same_or_unsettled(left, right, point):
            return False
    if not compared and complex_points:
        return all(_same_or_unsettled(left, right, point) for point in complex_points)
    return compared > 0


def _same_or_unsettled(left: Node, right: Node, point: Mapping[str, Fraction]) -> bool:
    try:
        return _same_constant(left, right, point)
    except Undefined:
        return False


def _real_value(node: Node, point: Mapping[str, Fraction]) -> str:
    """ "real", "complex" or "undefined"."""
    try:
        value = Evaluator(FIRST_DIGITS, point)(node)
    except Undefined:
        return "undefined"
    entries = [entry for row in value for entry in row] if isinstance(value, list) else [value]
    return "complex" if any(map(is_complex, entries)) else "real"


def same_ratio(left: Node, right: Node) -> int | None:
    """The sign of the constant ratio of two expressions; None where it is none, or zero."""
    names = sorted(names_of(left) | names_of(right))
    if not names:
        return None
    points = _points(names, "".join(sorted((repr(left), repr(right)))))
    first: tuple[Value, Value] | None = None
    compared = 0
    for point in points:
        try:
            values = tuple(Evaluator(2 * FIRST_DIGITS, point)(side) for side in (left, right))
        except Undefined:
            continue
        if any(isinstance(value, list) for value in values):
            return None
        if first is None:
            if not values[0] or not values[1]:
                continue
            first = values[0], values[1]
            continue
        forth, back = multiplied(values[0], first[1]), multiplied(values[1], first[0])
        cross = difference(forth, back)
        if cross and (isinstance(cross, Fraction) or abs(cross) * 10**FIRST_DIGITS > abs(forth)):
            return None
        compared += 1
    if first is None or compared < 2:
        return None
    sign = multiplied(*first)
    return 1 if is_complex(sign) or real_part(sign) > 0 else -1
