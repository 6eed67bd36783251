"""Decide whether two expressions are equal: exactly if they are rational, else with as many digits as it takes.

In: two trees. Out: True or False. Two constants are equal if their difference vanishes as the precision grows, which also
tells 1 - 2**-100 from 1 - 2**-99. Two expressions with names are equal if they are equal at random points, which are drawn
from a hash of the expressions, so that an answer cannot be made to agree at just these points.

Decisions:
1. Numbers are equal as fractions, without tolerance: 0.333 is not 1/3.
2. A decimal number equals an irrational value if it is that value, rounded or truncated, to at least six places.
3. Points at which neither side is real do not count, unless there are no others. If only one side has a value at a point,
   the two differ.
"""

import hashlib
import random
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from dianoia.tasks.math.arithmetic import (
    Undefined,
    Value,
    difference,
    is_below,
    is_complex,
    multiply,
    real_part,
)
from dianoia.tasks.math.evaluation import Evaluator
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
"""Random points at which two expressions are compared."""
FIRST_DIGITS = 30
MOST_DIGITS = 12_000
PLACES = 6
"""Decimal places to which a number has to agree with an irrational value."""
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
"""Ranges from which the coordinates of points are drawn: inside and outside the domains of roots, logarithms and arcsin."""


def equal(lhs: Node, rhs: Node) -> bool:
    """Return True if two expressions are equal. Without a value at any point they are not, even to themselves: 5/0.

    Raises:
        TooLarge: they would take too long to compute.
    """
    # Infinity has no value that could be subtracted.
    signs = infinity(lhs), infinity(rhs)
    if any(signs):
        return signs[0] == signs[1]
    # Written alike: equal, if there is a value at all.
    if lhs == rhs and not has_two_signs(lhs):
        return _has_value(lhs)
    # Of all names on both sides: x + y - y is x.
    names = sorted(names_of(lhs) | names_of(rhs))
    if not names:
        try:
            return _same_constant(lhs, rhs, {}) or _rounded(lhs, rhs) or _rounded(rhs, lhs)
        except Undefined:
            return False
    return _same_at_points(lhs, rhs, names)


def infinity(node: Node) -> int:
    """Return 1 or -1 for infinity and its negative, 0 for any other node."""
    if node == Constant("infinity"):
        return 1
    return -infinity(node.value) if isinstance(node, Negative) else 0


def _has_value(node: Node) -> bool:
    """Return True if an expression has a value at one of the points at least."""
    names = sorted(names_of(node))
    for point in _points(names, repr(node)) if names else ({},):
        try:
            Evaluator(FIRST_DIGITS, point)(node)
        except Undefined:
            continue
        return True
    return False


# Constants -----------------------------------------------------------------------------------------


def _same_constant(lhs: Node, rhs: Node, point: Mapping[str, Fraction]) -> bool:
    """Return True if both have one value at a point.

    Raises:
        Undefined: either side has no value, or their difference neither stays nor vanishes.
        TooLarge: telling them apart would take more than MOST_DIGITS digits.
    """
    digits = FIRST_DIGITS
    for _ in range(3):
        coarse, spread, _ = _difference(lhs, rhs, point, digits)
        if _is_zero(coarse) and _is_exact(coarse):
            return True
        # With twice the digits a true difference stays, and a rounding error shrinks.
        fine, spread, largest = _difference(lhs, rhs, point, 2 * digits)
        if _is_stable(coarse, fine):
            return False
        if not _vanishes(coarse, fine, largest, digits):
            raise Undefined("a value that does not settle")
        # Both sides agree to `digits` digits. Parts that are 10**spread large or small could still hide a difference.
        needed = int(60 + 2.2 * spread)
        if digits >= needed:
            return True
        if needed > MOST_DIGITS:
            raise TooLarge("digits")
        digits = needed
    return True


def _difference(
    lhs: Node, rhs: Node, point: Mapping[str, Fraction], digits: int
) -> tuple[Any, float, float]:
    """Return lhs minus rhs, with the largest `spread` and the largest `largest` of the two evaluations."""
    left_evaluator, right_evaluator = Evaluator(digits, point), Evaluator(digits, point)
    result = _minus(left_evaluator(lhs), right_evaluator(rhs))
    spread = max(left_evaluator.spread, right_evaluator.spread)
    return result, spread, max(left_evaluator.largest, right_evaluator.largest)


def _minus(lhs: Value, rhs: Value) -> Any:
    """Return lhs minus rhs, numbers or matrices. Raises Undefined if their shapes differ."""
    if isinstance(lhs, list) or isinstance(rhs, list):
        if not (isinstance(lhs, list) and isinstance(rhs, list)):
            raise Undefined("a matrix and a number")
        if [len(row) for row in lhs] != [len(row) for row in rhs]:
            raise Undefined("matrices of two shapes")
        return [
            [difference(a, b) for a, b in zip(r, s, strict=True)]
            for r, s in zip(lhs, rhs, strict=True)
        ]
    return difference(lhs, rhs)


def _is_exact(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_exact(entry) for row in value for entry in row)
    return isinstance(value, Fraction)


def _is_zero(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_zero(entry) for row in value for entry in row)
    return not value


def _is_stable(coarse: Any, fine: Any) -> bool:
    """Return True if a difference is about the same with twice the digits, and so not a rounding error."""
    if isinstance(fine, list):
        return any(
            _is_stable(a, b)
            for r, s in zip(coarse, fine, strict=True)
            for a, b in zip(r, s, strict=True)
        )
    size = abs(fine)
    return bool(size != 0 and abs(difference(coarse, fine)) * 4 <= size)


def _vanishes(coarse: Any, fine: Any, largest: float, digits: int) -> bool:
    """Return True if a difference is only rounding error: far below its parts, or much smaller with twice the digits."""
    if isinstance(fine, list):
        return all(
            _vanishes(a, b, largest, digits)
            for r, s in zip(coarse, fine, strict=True)
            for a, b in zip(r, s, strict=True)
        )
    # The error of `fine` is at most 10**(largest - 2 * digits); 10 digits are a margin for what operations add to it.
    return is_below(fine, largest - 2 * digits + 10) or bool(
        abs(fine) * 10 ** (digits // 3) <= abs(coarse)
    )


def _rounded(exact: Node, decimal: Node) -> bool:
    """Return True if a decimal number is an irrational value, rounded or truncated to six places or more (decision 2)."""
    inner = decimal.value if isinstance(decimal, Negative) else decimal
    if not (isinstance(inner, Number) and inner.notation == "decimal" and inner.places >= PLACES):
        return False
    # FIRST_DIGITS beyond the places of the decimal, so that rounding cannot decide.
    value = Evaluator(FIRST_DIGITS + inner.places)(exact)
    if isinstance(value, Fraction | list) or is_complex(value):
        return False
    number = -inner.value if isinstance(decimal, Negative) else inner.value
    return is_below(difference(value, number), -inner.places)


# Names ---------------------------------------------------------------------------------------------


def _points(names: list[str], seed: str) -> list[dict[str, Fraction]]:
    """Return the points at which two expressions are compared, the same for one `seed`: the expressions as text."""
    rng = random.Random(hashlib.blake2b(seed.encode(), digest_size=8).digest())
    points = []
    for number in range(POINTS):
        point = {}
        for index, name in enumerate(names):
            # At even points all names share a range, at odd ones each has its own.
            low, high = (
                _RANGES[(number + index * 3) % len(_RANGES)] if number % 2 else _RANGES[number]
            )
            # A fraction with a prime denominator: rational expressions stay exact and rarely hit a pole.
            point[name] = Fraction(round(rng.uniform(low, high) * 9973), 9973)
        points.append(point)
    return points


def _same_at_points(lhs: Node, rhs: Node, names: list[str]) -> bool:
    """Return True if two expressions with names are equal at every point that counts (decision 3)."""
    seed = "".join(sorted((repr(lhs), repr(rhs))))
    complex_points = []
    compared = 0
    for point in _points(names, seed):
        # x^2/x and x differ only at 0, which is no random point; ln(x^2) and 2 ln(x) differ for all negative x.
        sides = [_type_of_value(side, point) for side in (lhs, rhs)]
        if sides[0] != sides[1]:
            return False
        if sides[0] == "undefined":
            continue
        # Branches of complex functions are conventions, so such points are kept back unless i is in the answer.
        if sides[0] == "complex" and not (has_constant(lhs, "i") or has_constant(rhs, "i")):
            complex_points.append(point)
            continue
        compared += 1
        if not _is_same(lhs, rhs, point):
            return False
    if not compared and complex_points:
        return all(_is_same(lhs, rhs, point) for point in complex_points)
    return compared > 0


def _is_same(lhs: Node, rhs: Node, point: Mapping[str, Fraction]) -> bool:
    """Return True if both have one value at a point; False also if that cannot be decided."""
    try:
        return _same_constant(lhs, rhs, point)
    except Undefined:
        return False


def _type_of_value(node: Node, point: Mapping[str, Fraction]) -> str:
    """Return "real", "complex" or "undefined" for the value of an expression at a point."""
    try:
        value = Evaluator(FIRST_DIGITS, point)(node)
    except Undefined:
        return "undefined"
    entries = [entry for row in value for entry in row] if isinstance(value, list) else [value]
    return "complex" if any(map(is_complex, entries)) else "real"


def same_ratio(lhs: Node, rhs: Node) -> int | None:
    """Return the sign of the ratio of two expressions, 1 or -1, if it is the same number at all points and not zero.

    None in any other case: `2x - 2y` and `y - x` have the ratio -2 and so the sign -1, `x` and `x^2` have none.
    """
    names = sorted(names_of(lhs) | names_of(rhs))
    if not names:
        return None
    points = _points(names, "".join(sorted((repr(lhs), repr(rhs)))))
    first: tuple[Value, Value] | None = None
    compared = 0
    for point in points:
        try:
            values = tuple(Evaluator(2 * FIRST_DIGITS, point)(side) for side in (lhs, rhs))
        except Undefined:
            continue
        if any(isinstance(value, list) for value in values):
            return None
        if first is None:
            # A zero has no ratio: take another point as the first.
            if not values[0] or not values[1]:
                continue
            first = values[0], values[1]
            continue
        # The ratio is that of the first point if lhs * first rhs = rhs * first lhs. Without division, since rhs may be 0.
        product, other_product = multiply(values[0], first[1]), multiply(values[1], first[0])
        deviation = difference(product, other_product)
        if deviation and (
            isinstance(deviation, Fraction) or abs(deviation) * 10**FIRST_DIGITS > abs(product)
        ):
            return None
        compared += 1
    if first is None or compared < 2:
        return None
    sign = multiply(*first)
    return 1 if is_complex(sign) or real_part(sign) > 0 else -1
