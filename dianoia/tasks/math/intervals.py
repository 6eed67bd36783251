"""Sets of real numbers compared by their members: intervals, single numbers, unions of these.

In: two sets as sympy has them. Out: whether they hold the same numbers, or None where that cannot be said so easily
(names, decimals, other sets). sympy's own comparison of two unions takes a hundred times as long.
"""

from itertools import pairwise
from math import isinf
from typing import Any, NamedTuple

import sympy


class _Piece(NamedTuple):
    """An interval; a single number is one from itself to itself."""

    low: float
    high: float
    low_open: bool
    high_open: bool

    def holds(self, number: float) -> bool:
        above = self.low < number or (self.low == number and not self.low_open)
        return above and (number < self.high or (number == self.high and not self.high_open))


def same_members(left: Any, right: Any) -> bool | None:
    """Whether two sets hold the same real numbers; None where nobody can say."""
    one, other = _pieces(left), _pieces(right)
    if one is None or other is None:
        return None
    ends = sorted({end for piece in (*one, *other) for end in piece[:2]})
    between = [_between(low, high) for low, high in pairwise(ends)]
    return all(
        any(piece.holds(number) for piece in one) == any(piece.holds(number) for piece in other)
        for number in (*ends, *between)
    )


def _between(low: float, high: float) -> float:
    if isinf(low):
        return 0.0 if isinf(high) else high - 1
    return low + 1 if isinf(high) else (low + high) / 2


def _pieces(value: Any) -> list[_Piece] | None:
    """The intervals that a set consists of."""
    if isinstance(value, sympy.Union):
        found = [_pieces(part) for part in value.args]
        return None if None in found else [piece for part in found for piece in part or ()]
    if isinstance(value, sympy.Interval):
        ends = _number(value.start), _number(value.end)
        sides = [bool(value.left_open), bool(value.right_open)]
        return None if None in ends else [_Piece(*ends, *sides)]  # type: ignore[arg-type]
    if isinstance(value, sympy.FiniteSet):
        numbers = [_number(part) for part in value.args]
        return None if None in numbers else [_Piece(n, n, False, False) for n in numbers]  # type: ignore[arg-type]
    return None


def _number(value: Any) -> float | None:
    """To twelve places, so that two ways of writing a number give one; None for names and decimals."""
    if not isinstance(value, sympy.Expr) or value.has(sympy.Float) or not value.is_extended_real:
        return None
    try:
        return float(f"{float(sympy.N(value, 30)):.12g}")
    except (ArithmeticError, TypeError, ValueError):
        return None
