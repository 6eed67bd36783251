"""Numbers of two kinds in one arithmetic: exact fractions, and mpmath's real and complex numbers of any precision.

In: numbers, or matrices of them as lists of rows. Out: their sums, products, powers and roots, exact where all are;
bounds are checked before anything large is computed.
"""

import math
from fractions import Fraction
from typing import Any

import mpmath

from dianoia.tasks.math.verdict import TooLarge

MAX_BITS = 60_000
"""Of an exact numerator or denominator; what is larger is computed to the digits asked for."""
MAX_LOGARITHM = 60_000
"""Of a value: nothing above e**60000 or below e**-60000 is computed."""
MAX_ROOT = 64
"""Denominator of an exponent that is taken for a root, so that (-8)^(1/3) is -2; others are powers on the principal branch."""
CONTEXT = mpmath.MPContext()

Value = Any
"""A Fraction, an mpf or mpc of `CONTEXT`, or a matrix of these as a list of rows."""


class Undefined(ValueError):
    """An expression that has no value here."""


def are_exact(*values: Value) -> bool:
    """Tell whether all are fractions."""
    return all(isinstance(value, Fraction) for value in values)


def bounded(value: Fraction) -> Fraction:
    """A fraction of a bearable size; raises TooLarge for others."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 4 * MAX_BITS:
        raise TooLarge("fraction")
    return value


def shape(matrix: list[list[Value]]) -> tuple[int, int]:
    """Rows and columns."""
    return len(matrix), len(matrix[0])


def exact_root(radicand: Fraction, degree: int) -> Fraction | None:
    """The root of a fraction, if it is one."""
    parts = []
    for part in (radicand.numerator, radicand.denominator):
        root = _whole_root(part, degree)
        if root is None:
            return None
        parts.append(root)
    return Fraction(*parts)


def _whole_root(number: int, degree: int) -> int | None:
    """The whole root of a whole number; None where it is none."""
    if number < 2:
        return number
    if degree == 2:
        root = math.isqrt(number)
        return root if root * root == number else None
    if number.bit_length() < degree or number.bit_length() > 2000:
        return None
    low, high = 1, 1 << (number.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle**degree < number else (low, middle)
    return low if low**degree == number else None


def is_complex(value: Value) -> bool:
    """Tell whether a value is not real, rounding aside."""
    if isinstance(value, Fraction):
        return False
    imaginary = abs(CONTEXT.im(value))
    return bool(
        imaginary > abs(CONTEXT.re(value)) * CONTEXT.mpf(10) ** (-CONTEXT.dps // 2)
        and imaginary > CONTEXT.mpf(10) ** (-CONTEXT.dps // 2)
    )


def difference(left: Value, right: Value) -> Value:
    """Left less right."""
    if are_exact(left, right):
        return left - right
    return inexact(left) - inexact(right)


def below(value: Value, exponent: float) -> bool:
    """Tell whether a number is smaller than ten to an exponent, its sign aside."""
    if isinstance(value, Fraction):
        return abs(value) < Fraction(10) ** math.floor(exponent)
    return bool(abs(value) < CONTEXT.mpf(10) ** exponent)


def real_part(value: Value) -> Value:
    """The real part of a number."""
    return value if isinstance(value, Fraction) else CONTEXT.re(value)


def inexact(value: Value) -> Value:
    """A number as mpmath has it."""
    return (
        CONTEXT.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value
    )


# Arithmetic ----------------------------------------------------------------------------------------


def added(left: Value, right: Value) -> Value:
    """The sum of two numbers or matrices."""
    if isinstance(left, list) or isinstance(right, list):
        if not (isinstance(left, list) and isinstance(right, list) and shape(left) == shape(right)):
            raise Undefined("matrices of different shapes")
        return [
            [added(a, b) for a, b in zip(r, s, strict=True)]
            for r, s in zip(left, right, strict=True)
        ]
    return bounded(left + right) if are_exact(left, right) else inexact(left) + inexact(right)


def multiplied(left: Value, right: Value) -> Value:
    """The product of two numbers or matrices."""
    if isinstance(left, list) and isinstance(right, list):
        if shape(left)[1] != shape(right)[0]:
            raise Undefined("matrices of different shapes")
        columns = list(zip(*right, strict=True))
        return [[_dot(row, column) for column in columns] for row in left]
    if isinstance(left, list):
        return [[multiplied(entry, right) for entry in row] for row in left]
    if isinstance(right, list):
        return multiplied(right, left)
    return bounded(left * right) if are_exact(left, right) else (inexact(left) * inexact(right))


def _dot(row: list[Value], column: tuple[Value, ...]) -> Value:
    total: Value = Fraction(0)
    for a, b in zip(row, column, strict=True):
        total = added(total, multiplied(a, b))
    return total


def matrix_power(base: list[list[Value]], exponent: Value) -> Value:
    """A small whole power of a matrix."""
    if not isinstance(exponent, Fraction) or exponent.denominator != 1 or not 1 <= exponent <= 8:
        raise Undefined("a power of a matrix")
    total: Value = base
    for _ in range(int(exponent) - 1):
        total = multiplied(total, base)
    return total


def raised(base: Value, exponent: Value) -> Value:
    """A power, exact where it can be."""
    if not base:
        if isinstance(exponent, Fraction) and exponent > 0:
            return Fraction(0)
        raise Undefined("a power of zero")
    if isinstance(exponent, Fraction) and exponent.denominator == 1:
        return whole_power(base, int(exponent))
    if (
        isinstance(exponent, Fraction)
        and isinstance(base, Fraction)
        and exponent.denominator <= MAX_ROOT
    ):
        root = rooted(exponent.denominator, base)
        return whole_power(root, exponent.numerator)
    real_base, real_exponent = inexact(base), inexact(exponent)
    logarithm = CONTEXT.log(abs(real_base)) if real_base != 0 else CONTEXT.mpf(0)
    if abs(real_exponent) * (abs(logarithm) + 4) > MAX_LOGARITHM:
        raise TooLarge("power")
    return CONTEXT.power(real_base, real_exponent)


def whole_power(base: Value, exponent: int) -> Value:
    """A power with a whole exponent, exact while it is not large."""
    if isinstance(base, Fraction):
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(exponent) <= MAX_BITS or abs(base) == 1:
            return base ** (exponent % 2 if abs(base) == 1 else exponent)
    real = inexact(base)
    if real == 0:
        raise Undefined("a power of zero")
    if (
        abs(exponent) > 10**12
        or abs(exponent) * (abs(float(CONTEXT.mag(real))) + 1) > MAX_LOGARITHM
    ):
        raise TooLarge("power")
    return real**exponent


def rooted(degree: int, radicand: Value) -> Value:
    """A root; exact where it is rational, real where the degree is odd."""
    if degree < 1 or degree > 10**6:
        raise Undefined("a root of this degree")
    if isinstance(radicand, Fraction):
        if radicand < 0 and degree % 2:
            return -rooted(degree, -radicand)
        if radicand >= 0 and (exact := exact_root(radicand, degree)) is not None:
            return exact
    real = inexact(radicand)
    if degree % 2 and degree > 1 and not CONTEXT.im(real) and real < 0:
        return -CONTEXT.root(-real, degree)
    return CONTEXT.sqrt(real) if degree == 2 else CONTEXT.root(real, degree)
