"""Functions by name, on numbers and matrices.

In: values (`arithmetic`). Out: values. Branches are the principal ones. A pole raises `Undefined`. Arguments are bounded
before anything is computed; larger ones raise `TooLarge`.
"""

import math
from collections.abc import Callable
from fractions import Fraction

from dianoia.tasks.math.arithmetic import (
    CONTEXT,
    Undefined,
    Value,
    add,
    are_exact,
    inexact,
    multiply,
    power,
    root_of,
    shape,
)
from dianoia.tasks.math.verdict import TooLarge

MAX_FACTORIAL = 3000
MAX_BINOMIAL = 3000
"""Upper number of a binomial coefficient."""


def _tangent(value: Value) -> Value:
    # pi/2 is rounded, so that at the pole the cosine is tiny and not zero.
    if abs(CONTEXT.cos(value)) < CONTEXT.mpf(10) ** (-CONTEXT.dps // 2):
        raise Undefined("a pole")
    return CONTEXT.tan(value)


def _reciprocal(function: Callable[[Value], Value]) -> Callable[[Value], Value]:
    def compute(value: Value) -> Value:
        bottom = function(value)
        if abs(bottom) < CONTEXT.mpf(10) ** (-CONTEXT.dps // 2):
            raise Undefined("a pole")
        return 1 / bottom

    return compute


def _logarithm(value: Value) -> Value:
    if value == 0:
        raise Undefined("the logarithm of zero")
    return CONTEXT.log(value)


TRANSCENDENTAL: dict[str, Callable[[Value], Value]] = {
    "sin": CONTEXT.sin,
    "cos": CONTEXT.cos,
    "tan": _tangent,
    "cot": lambda value: _reciprocal(CONTEXT.sin)(value) * CONTEXT.cos(value),
    "sec": _reciprocal(CONTEXT.cos),
    "csc": _reciprocal(CONTEXT.sin),
    "arcsin": CONTEXT.asin,
    "arccos": CONTEXT.acos,
    "arctan": CONTEXT.atan,
    "arccot": lambda value: CONTEXT.pi / 2 - CONTEXT.atan(value),
    "arcsec": lambda value: CONTEXT.acos(1 / value),
    "arccsc": lambda value: CONTEXT.asin(1 / value),
    "sinh": CONTEXT.sinh,
    "cosh": CONTEXT.cosh,
    "tanh": CONTEXT.tanh,
    "coth": _reciprocal(CONTEXT.tanh),
    "arcsinh": CONTEXT.asinh,
    "arccosh": CONTEXT.acosh,
    "arctanh": CONTEXT.atanh,
    "ln": _logarithm,
    "exp": CONTEXT.exp,
}
"""Functions that take one number in mpmath's type."""


def _log(base: Value, value: Value) -> Value:
    bottom = _logarithm(inexact(base))
    if bottom == 0:
        raise Undefined("a logarithm to the base of one")
    return _logarithm(inexact(value)) / bottom


def _factorial(value: Value) -> Value:
    if isinstance(value, Fraction) and value.denominator == 1:
        if value < 0:
            raise Undefined("the factorial of a negative number")
        if value > MAX_FACTORIAL:
            raise TooLarge("factorial")
        return Fraction(math.factorial(int(value)))
    # n! for real n by the gamma function.
    real = inexact(value)
    if abs(real) > 300:
        raise TooLarge("factorial")
    return CONTEXT.gamma(real + 1)


def _binomial(upper: Value, lower: Value) -> Value:
    # Exact for whole numbers, else by gamma functions: binom(n, 2) at a random point n.
    if are_exact(upper, lower) and upper.denominator == lower.denominator == 1 and upper >= 0:
        if upper > MAX_BINOMIAL:
            raise TooLarge("binomial")
        return Fraction(math.comb(int(upper), int(lower)) if lower >= 0 else 0)
    upper_value, lower_value = inexact(upper), inexact(lower)
    if abs(upper_value) > 300 or abs(lower_value) > 300:
        raise TooLarge("binomial")
    return CONTEXT.binomial(upper_value, lower_value)


def _absolute(value: Value) -> Value:
    return abs(value) if isinstance(value, Fraction) else abs(inexact(value))


def _rounded(down: bool) -> Callable[[Value], Value]:
    def compute(value: Value) -> Value:
        if isinstance(value, Fraction):
            return Fraction(math.floor(value) if down else math.ceil(value))
        real = inexact(value)
        if CONTEXT.im(real) or abs(real) > 10**40:
            raise Undefined("a floor")
        # A value that is whole but for rounding is that whole number: floor(sqrt(2)^2) is 2.
        nearest = CONTEXT.nint(real)
        if abs(real - nearest) < CONTEXT.mpf(10) ** (-CONTEXT.dps // 2):
            return Fraction(int(nearest))
        return Fraction(int(CONTEXT.floor(real) if down else CONTEXT.ceil(real)))

    return compute


def _on_integers(function: Callable[..., int]) -> Callable[..., Value]:
    def compute(*values: Value) -> Value:
        # gcd and lcm are defined for whole numbers only.
        if not are_exact(*values) or any(value.denominator != 1 for value in values):
            raise Undefined("a divisor of what is no whole number")
        return Fraction(function(*map(int, values)))

    return compute


def _extreme(largest: bool) -> Callable[..., Value]:
    def compute(*values: Value) -> Value:
        # Complex numbers have no order.
        if any(not isinstance(value, Fraction) and CONTEXT.im(value) for value in values):
            raise Undefined("a maximum of complex numbers")
        # Compared as rounded numbers, and returned as it came: an exact one stays exact.
        return (max if largest else min)(values, key=inexact)

    return compute


def _degree(value: Value) -> Value:
    return inexact(value) * CONTEXT.pi / 180


def _root(degree: Value, radicand: Value) -> Value:
    if isinstance(degree, Fraction) and degree.denominator == 1:
        return root_of(int(degree), radicand)
    return power(radicand, 1 / degree)


def _sign(value: Value) -> Value:
    real = inexact(value)
    return Fraction((real > 0) - (real < 0))


EXACT_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "root": _root,
    "log": _log,
    "log10": lambda value: _log(Fraction(10), value),
    "factorial": _factorial,
    "binom": _binomial,
    "abs": _absolute,
    "floor": _rounded(True),
    "ceil": _rounded(False),
    "gcd": _on_integers(math.gcd),
    "lcm": _on_integers(math.lcm),
    "max": _extreme(True),
    "min": _extreme(False),
    "degree": _degree,
    "sgn": _sign,
}
"""Functions that take numbers of either type and are exact on fractions where they can be."""

MAX_DETERMINANT = 5
"""Rows of a determinant: the expansion by minors takes factorially many products."""


def _determinant(matrix: Value) -> Value:
    if not isinstance(matrix, list) or shape(matrix)[0] != shape(matrix)[1]:
        raise Undefined("a determinant")
    if len(matrix) > MAX_DETERMINANT:
        raise TooLarge("determinant")
    if len(matrix) == 1:
        return matrix[0][0]
    # Expansion along the first row.
    total: Value = Fraction(0)
    for column, entry in enumerate(matrix[0]):
        minor = [[*row[:column], *row[column + 1 :]] for row in matrix[1:]]
        term = multiply(entry, _determinant(minor))
        total = add(total, multiply(term, Fraction((-1) ** column)))
    return total


def _transposed(matrix: Value) -> Value:
    if not isinstance(matrix, list):
        raise Undefined("the transpose of a number")
    return [list(column) for column in zip(*matrix, strict=True)]


MATRIX_FUNCTIONS: dict[str, Callable[..., Value]] = {"det": _determinant, "transpose": _transposed}
