"""Arithmetic on exact fractions and on mpmath's real and complex numbers of any precision.

In: numbers, or matrices of them as lists of rows. Out: their sums, products, powers and roots, exact if all operands are
exact. Bounds are checked before anything large is computed.
"""

import math
from fractions import Fraction
from typing import Any

import mpmath

from dianoia.tasks.math.verdict import TooLarge

MAX_BITS = 60_000
"""Bits of an exact numerator or denominator; a larger power is computed with mpmath, to the precision in use."""
MAX_LOGARITHM = 60_000
"""Natural logarithm of a value: nothing above e**60000 or below e**-60000 is computed."""
MAX_ROOT = 64
"""Largest denominator of an exponent that is read as a root, so that (-8)^(1/3) is -2. Other powers are on the principal
branch."""
CONTEXT = mpmath.MPContext()
"""The precision, `CONTEXT.dps` in decimal digits, is set by `Evaluator`. mpmath's own global context
is not touched."""

Value = Any
"""A Fraction, an mpf or mpc of `CONTEXT`, or a matrix of these as a list of rows."""


class Undefined(ValueError):
    """The expression has no value here."""


def are_exact(*values: Value) -> bool:
    """Return True if all values are fractions."""
    return all(isinstance(value, Fraction) for value in values)


def bounded(value: Fraction) -> Fraction:
    """Return the fraction. Raises TooLarge if its numerator or denominator is too long."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 4 * MAX_BITS:
        raise TooLarge("fraction")
    return value


def shape(matrix: list[list[Value]]) -> tuple[int, int]:
    """Return the number of rows and of columns."""
    return len(matrix), len(matrix[0])


def exact_root(radicand: Fraction, degree: int) -> Fraction | None:
    """Return the root of a fraction that is not negative; None if it is irrational."""
    parts = []
    for part in (radicand.numerator, radicand.denominator):
        root = _whole_root(part, degree)
        if root is None:
            return None
        parts.append(root)
    return Fraction(*parts)


def _whole_root(number: int, degree: int) -> int | None:
    """Return the root of a whole number if it is whole, else None; by binary search, as floats are too coarse."""
    if number < 2:
        return number
    if degree == 2:
        root = math.isqrt(number)
        return root if root * root == number else None
    # The root would be below 2, or the search too long.
    if number.bit_length() < degree or number.bit_length() > 2000:
        return None
    # The root of a number of n bits is below 2 to the n / degree, rounded up.
    low, high = 1, 1 << (number.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle**degree < number else (low, middle)
    return low if low**degree == number else None


def is_complex(value: Value) -> bool:
    """Return True if a value is not real. An imaginary part below the rounding error does not count."""
    if isinstance(value, Fraction):
        return False
    imaginary = abs(CONTEXT.im(value))
    return bool(
        imaginary > abs(CONTEXT.re(value)) * CONTEXT.mpf(10) ** (-CONTEXT.dps // 2)
        and imaginary > CONTEXT.mpf(10) ** (-CONTEXT.dps // 2)
    )


def difference(lhs: Value, rhs: Value) -> Value:
    """Return lhs minus rhs."""
    if are_exact(lhs, rhs):
        return lhs - rhs
    return inexact(lhs) - inexact(rhs)


def is_below(value: Value, exponent: float) -> bool:
    """Return True if the absolute value of a number is below ten to an exponent."""
    if isinstance(value, Fraction):
        # Rounded down, so that it is never more lenient than the exponent.
        return abs(value) < Fraction(10) ** math.floor(exponent)
    return bool(abs(value) < CONTEXT.mpf(10) ** exponent)


def real_part(value: Value) -> Value:
    """Return the real part of a number."""
    return value if isinstance(value, Fraction) else CONTEXT.re(value)


def inexact(value: Value) -> Value:
    """Return a number as mpmath's type, rounded to the precision of `CONTEXT`."""
    return (
        CONTEXT.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value
    )


# Arithmetic ----------------------------------------------------------------------------------------


def add(lhs: Value, rhs: Value) -> Value:
    """Return the sum of two numbers or matrices. Raises Undefined for matrices of different shapes."""
    if isinstance(lhs, list) or isinstance(rhs, list):
        if not (isinstance(lhs, list) and isinstance(rhs, list) and shape(lhs) == shape(rhs)):
            raise Undefined("matrices of different shapes")
        return [
            [add(a, b) for a, b in zip(r, s, strict=True)] for r, s in zip(lhs, rhs, strict=True)
        ]
    return bounded(lhs + rhs) if are_exact(lhs, rhs) else inexact(lhs) + inexact(rhs)


def multiply(lhs: Value, rhs: Value) -> Value:
    """Return the product of two numbers or matrices. Raises Undefined for matrices whose shapes do not fit."""
    if isinstance(lhs, list) and isinstance(rhs, list):
        if shape(lhs)[1] != shape(rhs)[0]:
            raise Undefined("matrices of different shapes")
        # Rows of the first matrix by columns of the second.
        columns = list(zip(*rhs, strict=True))
        return [[_dot(row, column) for column in columns] for row in lhs]
    if isinstance(lhs, list):
        return [[multiply(entry, rhs) for entry in row] for row in lhs]
    if isinstance(rhs, list):
        return multiply(rhs, lhs)
    return bounded(lhs * rhs) if are_exact(lhs, rhs) else (inexact(lhs) * inexact(rhs))


def _dot(row: list[Value], column: tuple[Value, ...]) -> Value:
    total: Value = Fraction(0)
    for a, b in zip(row, column, strict=True):
        total = add(total, multiply(a, b))
    return total


def matrix_power(base: list[list[Value]], exponent: Value) -> Value:
    """Return a power of a matrix with an exponent from 1 to 8. Raises Undefined for other exponents."""
    if not isinstance(exponent, Fraction) or exponent.denominator != 1 or not 1 <= exponent <= 8:
        raise Undefined("a power of a matrix")
    total: Value = base
    for _ in range(int(exponent) - 1):
        total = multiply(total, base)
    return total


def power(base: Value, exponent: Value) -> Value:
    """Return a power, exact if it is rational. Raises Undefined for powers of zero, TooLarge for huge ones."""
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
        # A fractional exponent is a root, real if the degree is odd: (-8)^(1/3) is -2.
        root = root_of(exponent.denominator, base)
        return whole_power(root, exponent.numerator)
    # Bound the logarithm of the result before computing it. 4 is more than the angle of a complex base, pi.
    real_base, real_exponent = inexact(base), inexact(exponent)
    logarithm = CONTEXT.log(abs(real_base)) if real_base != 0 else CONTEXT.mpf(0)
    if abs(real_exponent) * (abs(logarithm) + 4) > MAX_LOGARITHM:
        raise TooLarge("power")
    return CONTEXT.power(real_base, real_exponent)


def whole_power(base: Value, exponent: int) -> Value:
    """Return a power with a whole exponent, exact up to MAX_BITS. Raises Undefined, TooLarge."""
    if isinstance(base, Fraction):
        # Bits of the result, before it is computed.
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(exponent) <= MAX_BITS or abs(base) == 1:
            return base ** (exponent % 2 if abs(base) == 1 else exponent)  # 1 and -1 to any power
    real = inexact(base)
    if real == 0:
        raise Undefined("a power of zero")
    if (
        abs(exponent) > 10**12
        or abs(exponent) * (abs(float(CONTEXT.mag(real))) + 1) > MAX_LOGARITHM
    ):
        raise TooLarge("power")
    return real**exponent


def root_of(degree: int, radicand: Value) -> Value:
    """Return a root: exact if it is rational, real if the degree is odd, else on the principal branch."""
    if degree < 1 or degree > 10**6:
        raise Undefined("a root of this degree")
    if isinstance(radicand, Fraction):
        # The real root: of -8 it is -2, and not the principal one, 1 + 1.73i.
        if radicand < 0 and degree % 2:
            return -root_of(degree, -radicand)
        if radicand >= 0 and (exact := exact_root(radicand, degree)) is not None:
            return exact
    real = inexact(radicand)
    if degree % 2 and degree > 1 and not CONTEXT.im(real) and real < 0:
        return -CONTEXT.root(-real, degree)
    return CONTEXT.sqrt(real) if degree == 2 else CONTEXT.root(real, degree)
