"""Values of expressions: exact fractions where they are rational, else as many digits as asked for.

In: a tree (`nodes`), values for its names. Out: a `Fraction`, or an mpmath number. Bounds are checked before anything
is computed, so that no expression can become large: what exceeds them raises `TooLarge`. An expression without a value
(a division by zero, a logarithm of zero) raises `Undefined`.

mpmath (real and complex numbers of any precision) computes roots, powers and functions on their principal branches; odd
roots of negative numbers are real, as people mean them.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import mpmath

from dianoia.tasks.math.nodes import (
    Apply,
    Boxed,
    Call,
    Constant,
    Matrix,
    Name,
    Negative,
    Node,
    Number,
    Power,
    Product,
    Quantity,
    Quotient,
    Signed,
    Sum,
)
from dianoia.tasks.math.verdict import TooLarge

MAX_FACTORIAL = 3000
MAX_BINOMIAL = 3000
MAX_BITS = 60_000
"""Of an exact numerator or denominator; what is larger is computed to the digits asked for."""
MAX_LOGARITHM = 60_000
"""Of a value: nothing above e**60000 or below e**-60000 is computed."""
MAX_STEPS = 4_000
"""Nodes evaluated for one value."""
_CONTEXT = mpmath.MPContext()

Value = Any
"""A Fraction, or an mpf or mpc of `_CONTEXT`."""


class Undefined(ValueError):
    """An expression that has no value here."""


class Evaluator:
    """Evaluates expressions to so many digits, at one point.

    Args:
        digits: decimal digits of what is not rational.
        names: a value for each name.
        sign: which sign a plus-minus has.
    """

    def __init__(
        self, digits: int, names: Mapping[str, Fraction] | None = None, sign: int = 1
    ) -> None:
        self.digits = digits
        self.names = names or {}
        self.sign = sign
        self.steps = 0
        self.spread = 0.0
        """The largest decimal logarithm of a part of the expression, small or large."""
        self.largest = 0.0
        """The decimal logarithm of the largest part."""
        _CONTEXT.dps = digits

    def __call__(self, node: Node) -> Value:
        """The value of an expression.

        Raises:
            Undefined: it has none.
            TooLarge: it would take too long or too much memory.
        """
        _CONTEXT.dps = self.digits
        try:
            return self._value(node)
        except ZeroDivisionError:
            raise Undefined("a division by zero") from None
        except (OverflowError, mpmath.libmp.NoConvergence) as error:
            raise TooLarge(str(error)) from None

    def _value(self, node: Node) -> Value:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise TooLarge("steps")
        method = _METHODS.get(type(node))
        if method is None:
            raise Undefined(type(node).__name__)
        return self._noted(method(self, node))

    def _noted(self, value: Value) -> Value:
        """The value, its size noted: what is small beside something large needs more digits."""
        if isinstance(value, Fraction):
            size = value.numerator.bit_length() - value.denominator.bit_length() if value else 0
            self.spread = max(self.spread, abs(size) * 0.302)
            self.largest = max(self.largest, size * 0.302)
            return value
        if isinstance(value, list):
            return value
        if not _CONTEXT.isfinite(value):
            raise Undefined("infinite")
        size = _CONTEXT.mag(value) if value != 0 else 0
        logarithm = abs(float(size)) * 0.302
        if logarithm > self.digits * 0.8 + 20 and size < 0:
            return value  # a zero that was rounded
        if logarithm > MAX_LOGARITHM:
            raise TooLarge("value")
        self.spread = max(self.spread, logarithm)
        self.largest = max(self.largest, float(size) * 0.302)
        return value

    # Arithmetic ------------------------------------------------------------------------------------

    def _sum(self, node: Sum) -> Value:
        total: Value = self._value(node.terms[0])
        for term in node.terms[1:]:
            total = self._added(total, self._value(term))
        return total

    def _added(self, left: Value, right: Value) -> Value:
        if isinstance(left, list) or isinstance(right, list):
            if not (
                isinstance(left, list) and isinstance(right, list) and _shape(left) == _shape(right)
            ):
                raise Undefined("matrices of different shapes")
            return [
                [self._added(a, b) for a, b in zip(r, s, strict=True)]
                for r, s in zip(left, right, strict=True)
            ]
        return (
            _bounded(left + right) if _exact(left, right) else self._real(left) + self._real(right)
        )

    def _product(self, node: Product) -> Value:
        total: Value = self._value(node.factors[0])
        for factor in node.factors[1:]:
            total = self._multiplied(total, self._value(factor))
        return total

    def _multiplied(self, left: Value, right: Value) -> Value:
        if isinstance(left, list) and isinstance(right, list):
            if _shape(left)[1] != _shape(right)[0]:
                raise Undefined("matrices of different shapes")
            columns = list(zip(*right, strict=True))
            return [[self._dot(row, column) for column in columns] for row in left]
        if isinstance(left, list):
            return [[self._multiplied(entry, right) for entry in row] for row in left]
        if isinstance(right, list):
            return self._multiplied(right, left)
        return (
            _bounded(left * right)
            if _exact(left, right)
            else self._noted(self._real(left) * self._real(right))
        )

    def _dot(self, row: list[Value], column: tuple[Value, ...]) -> Value:
        total: Value = Fraction(0)
        for a, b in zip(row, column, strict=True):
            total = self._added(total, self._multiplied(a, b))
        return total

    def _negative(self, node: Negative) -> Value:
        return self._multiplied(self._value(node.value), Fraction(-1))

    def _signed(self, node: Signed) -> Value:
        return self._multiplied(self._value(node.value), Fraction(node.first * self.sign))

    def _quotient(self, node: Quotient) -> Value:
        top, bottom = self._value(node.top), self._value(node.bottom)
        if isinstance(bottom, list) or not bottom:
            raise Undefined("a division by zero")
        return self._multiplied(
            top, 1 / bottom if isinstance(bottom, Fraction) else 1 / self._real(bottom)
        )

    def _power(self, node: Power) -> Value:
        base, exponent = self._value(node.base), self._value(node.exponent)
        if isinstance(exponent, list):
            raise Undefined("a matrix as an exponent")
        if isinstance(base, list):
            return self._matrix_power(base, exponent)
        return self.raised(base, exponent)

    def _matrix_power(self, base: list[list[Value]], exponent: Value) -> Value:
        if (
            not isinstance(exponent, Fraction)
            or exponent.denominator != 1
            or not 1 <= exponent <= 8
        ):
            raise Undefined("a power of a matrix")
        total: Value = base
        for _ in range(int(exponent) - 1):
            total = self._multiplied(total, base)
        return total

    def raised(self, base: Value, exponent: Value) -> Value:
        """A power, exact where it can be."""
        if not base:
            if isinstance(exponent, Fraction) and exponent > 0:
                return Fraction(0)
            raise Undefined("a power of zero")
        if isinstance(exponent, Fraction) and exponent.denominator == 1:
            return self._whole_power(base, int(exponent))
        if (
            isinstance(exponent, Fraction)
            and isinstance(base, Fraction)
            and abs(exponent.denominator) < 10**6
        ):
            root = self.rooted(exponent.denominator, base)
            return self._whole_power(root, exponent.numerator)
        real_base, real_exponent = self._real(base), self._real(exponent)
        logarithm = _CONTEXT.log(abs(real_base)) if real_base != 0 else _CONTEXT.mpf(0)
        if abs(real_exponent) * (abs(logarithm) + 4) > MAX_LOGARITHM:
            raise TooLarge("power")
        return _CONTEXT.power(real_base, real_exponent)

    def _whole_power(self, base: Value, exponent: int) -> Value:
        if isinstance(base, Fraction):
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if bits * abs(exponent) <= MAX_BITS or abs(base) == 1:
                return base ** (exponent % 2 if abs(base) == 1 else exponent)
        real = self._real(base)
        if real == 0:
            raise Undefined("a power of zero")
        if (
            abs(exponent) > 10**12
            or abs(exponent) * (abs(float(_CONTEXT.mag(real))) + 1) > MAX_LOGARITHM
        ):
            raise TooLarge("power")
        return real**exponent

    def rooted(self, degree: int, radicand: Value) -> Value:
        """A root; exact where it is rational, real where the degree is odd."""
        if degree < 1 or degree > 10**6:
            raise Undefined("a root of this degree")
        if isinstance(radicand, Fraction):
            if radicand < 0 and degree % 2:
                return -self.rooted(degree, -radicand)
            if radicand >= 0 and (exact := _exact_root(radicand, degree)) is not None:
                return exact
        real = self._real(radicand)
        if degree % 2 and degree > 1 and not _CONTEXT.im(real) and real < 0:
            return -_CONTEXT.root(-real, degree)
        return _CONTEXT.sqrt(real) if degree == 2 else _CONTEXT.root(real, degree)

    def _real(self, value: Value) -> Value:
        """An mpmath number."""
        if isinstance(value, Fraction):
            return _CONTEXT.mpf(value.numerator) / value.denominator
        if isinstance(value, list):
            raise Undefined("a matrix where a number is needed")
        return value

    # Leaves ----------------------------------------------------------------------------------------

    def _number(self, node: Number) -> Value:
        return node.value

    def _constant(self, node: Constant) -> Value:
        if node.name == "pi":
            return +_CONTEXT.pi
        if node.name == "e":
            return +_CONTEXT.e
        if node.name == "i":
            return _CONTEXT.mpc(0, 1)
        raise Undefined("infinity")

    def _name(self, node: Name) -> Value:
        if node.text not in self.names:
            raise Undefined(f"a value for {node.text}")
        return self.names[node.text]

    def _quantity(self, node: Quantity) -> Value:
        if node.noun is not None:
            raise Undefined("a noun")
        value = self._value(node.value)
        value = self._multiplied(value, Fraction(1, 100)) if node.percent else value
        return self._multiplied(value, node.unit.size) if node.unit is not None else value

    def _boxed(self, node: Boxed) -> Value:
        return self._value(node.content)

    def _matrix(self, node: Matrix) -> Value:
        return [[self._value(entry) for entry in row] for row in node.rows]

    def _apply(self, node: Apply) -> Value:
        """A function without a definition has some value at each point, the same wherever it is asked for."""
        arguments = [self._value(argument) for argument in node.arguments]
        told = [
            value if isinstance(value, Fraction) else _CONTEXT.nstr(value, 20)
            for value in arguments
        ]
        digest = hashlib.blake2b(repr((node.name, told)).encode(), digest_size=6).digest()
        return Fraction(int.from_bytes(digest, "big"), 2**45)

    # Functions -------------------------------------------------------------------------------------

    def _call(self, node: Call) -> Value:
        arguments = [self._value(argument) for argument in node.arguments]
        if node.function in _MATRIX_FUNCTIONS:
            return _MATRIX_FUNCTIONS[node.function](self, *arguments)
        if any(isinstance(argument, list) for argument in arguments):
            raise Undefined("a function of a matrix")
        if node.function in _EXACT_FUNCTIONS:
            return _EXACT_FUNCTIONS[node.function](self, *arguments)
        return self._transcendental(node.function, self._real(arguments[0]))

    def _transcendental(self, function: str, value: Value) -> Value:
        if abs(value) > 10**15:
            raise TooLarge("argument")
        if function == "exp" and abs(_CONTEXT.re(value)) > MAX_LOGARITHM:
            raise TooLarge("exp")
        compute = _FUNCTIONS.get(function)
        if compute is None:
            raise Undefined(function)
        return compute(value)


def _exact(*values: Value) -> bool:
    return all(isinstance(value, Fraction) for value in values)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 4 * MAX_BITS:
        raise TooLarge("fraction")
    return value


def _shape(matrix: list[list[Value]]) -> tuple[int, int]:
    return len(matrix), len(matrix[0])


def _exact_root(radicand: Fraction, degree: int) -> Fraction | None:
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


# Functions by name ---------------------------------------------------------------------------------


def _tangent(value: Value) -> Value:
    if abs(_CONTEXT.cos(value)) < _CONTEXT.mpf(10) ** (-_CONTEXT.dps // 2):
        raise Undefined("a pole")
    return _CONTEXT.tan(value)


def _reciprocal(function: Callable[[Value], Value]) -> Callable[[Value], Value]:
    def compute(value: Value) -> Value:
        bottom = function(value)
        if abs(bottom) < _CONTEXT.mpf(10) ** (-_CONTEXT.dps // 2):
            raise Undefined("a pole")
        return 1 / bottom

    return compute


def _logarithm(value: Value) -> Value:
    if value == 0:
        raise Undefined("the logarithm of zero")
    return _CONTEXT.log(value)


_FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    "sin": _CONTEXT.sin,
    "cos": _CONTEXT.cos,
    "tan": _tangent,
    "cot": lambda value: _reciprocal(_CONTEXT.sin)(value) * _CONTEXT.cos(value),
    "sec": _reciprocal(_CONTEXT.cos),
    "csc": _reciprocal(_CONTEXT.sin),
    "arcsin": _CONTEXT.asin,
    "arccos": _CONTEXT.acos,
    "arctan": _CONTEXT.atan,
    "arccot": lambda value: _CONTEXT.pi / 2 - _CONTEXT.atan(value),
    "arcsec": lambda value: _CONTEXT.acos(1 / value),
    "arccsc": lambda value: _CONTEXT.asin(1 / value),
    "sinh": _CONTEXT.sinh,
    "cosh": _CONTEXT.cosh,
    "tanh": _CONTEXT.tanh,
    "coth": _reciprocal(_CONTEXT.tanh),
    "arcsinh": _CONTEXT.asinh,
    "arccosh": _CONTEXT.acosh,
    "arctanh": _CONTEXT.atanh,
    "ln": _logarithm,
    "exp": _CONTEXT.exp,
}


def _log(evaluator: Evaluator, base: Value, value: Value) -> Value:
    bottom = _logarithm(evaluator._real(base))
    if bottom == 0:
        raise Undefined("a logarithm to the base of one")
    return _logarithm(evaluator._real(value)) / bottom


def _factorial(evaluator: Evaluator, value: Value) -> Value:
    if isinstance(value, Fraction) and value.denominator == 1:
        if value < 0:
            raise Undefined("the factorial of a negative number")
        if value > MAX_FACTORIAL:
            raise TooLarge("factorial")
        return Fraction(math.factorial(int(value)))
    real = evaluator._real(value)
    if abs(real) > 300:
        raise TooLarge("factorial")
    return _CONTEXT.gamma(real + 1)


def _binomial(evaluator: Evaluator, upper: Value, lower: Value) -> Value:
    if _exact(upper, lower) and upper.denominator == lower.denominator == 1 and upper >= 0:
        if upper > MAX_BINOMIAL:
            raise TooLarge("binomial")
        return Fraction(math.comb(int(upper), int(lower)) if lower >= 0 else 0)
    left, right = evaluator._real(upper), evaluator._real(lower)
    if abs(left) > 300 or abs(right) > 300:
        raise TooLarge("binomial")
    return _CONTEXT.binomial(left, right)


def _absolute(evaluator: Evaluator, value: Value) -> Value:
    return abs(value) if isinstance(value, Fraction) else abs(evaluator._real(value))


def _rounded(down: bool) -> Callable[[Evaluator, Value], Value]:
    def compute(evaluator: Evaluator, value: Value) -> Value:
        if isinstance(value, Fraction):
            return Fraction(math.floor(value) if down else math.ceil(value))
        real = evaluator._real(value)
        if _CONTEXT.im(real) or abs(real) > 10**40:
            raise Undefined("a floor")
        nearest = _CONTEXT.nint(real)
        if abs(real - nearest) < _CONTEXT.mpf(10) ** (-_CONTEXT.dps // 2):
            return Fraction(int(nearest))
        return Fraction(int(_CONTEXT.floor(real) if down else _CONTEXT.ceil(real)))

    return compute


def _of_whole(function: Callable[..., int]) -> Callable[..., Value]:
    def compute(evaluator: Evaluator, *values: Value) -> Value:
        if not _exact(*values) or any(value.denominator != 1 for value in values):
            raise Undefined("a divisor of what is no whole number")
        return Fraction(function(*map(int, values)))

    return compute


def _extreme(largest: bool) -> Callable[..., Value]:
    def compute(evaluator: Evaluator, *values: Value) -> Value:
        if any(not isinstance(value, Fraction) and _CONTEXT.im(value) for value in values):
            raise Undefined("a maximum of complex numbers")
        return (max if largest else min)(values, key=evaluator._real)

    return compute


def _degree(evaluator: Evaluator, value: Value) -> Value:
    return evaluator._real(value) * _CONTEXT.pi / 180


def _root(evaluator: Evaluator, degree: Value, radicand: Value) -> Value:
    if isinstance(degree, Fraction) and degree.denominator == 1:
        return evaluator.rooted(int(degree), radicand)
    return evaluator.raised(radicand, 1 / degree)


def _sign(evaluator: Evaluator, value: Value) -> Value:
    real = evaluator._real(value)
    return Fraction((real > 0) - (real < 0))


_EXACT_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "root": _root,
    "log": _log,
    "log10": lambda evaluator, value: _log(evaluator, Fraction(10), value),
    "factorial": _factorial,
    "binom": _binomial,
    "abs": _absolute,
    "floor": _rounded(True),
    "ceil": _rounded(False),
    "gcd": _of_whole(math.gcd),
    "lcm": _of_whole(math.lcm),
    "max": _extreme(True),
    "min": _extreme(False),
    "degree": _degree,
    "sgn": _sign,
}
MAX_DETERMINANT = 5
"""Rows of a determinant."""


def _determinant(evaluator: Evaluator, matrix: Value) -> Value:
    if not isinstance(matrix, list) or _shape(matrix)[0] != _shape(matrix)[1]:
        raise Undefined("a determinant")
    if len(matrix) > MAX_DETERMINANT:
        raise TooLarge("determinant")
    if len(matrix) == 1:
        return matrix[0][0]
    total: Value = Fraction(0)
    for column, entry in enumerate(matrix[0]):
        minor = [[*row[:column], *row[column + 1 :]] for row in matrix[1:]]
        term = evaluator._multiplied(entry, _determinant(evaluator, minor))
        total = evaluator._added(total, evaluator._multiplied(term, Fraction((-1) ** column)))
    return total


def _transposed(evaluator: Evaluator, matrix: Value) -> Value:
    if not isinstance(matrix, list):
        raise Undefined("the transpose of a number")
    return [list(column) for column in zip(*matrix, strict=True)]


_MATRIX_FUNCTIONS: dict[str, Callable[..., Value]] = {"det": _determinant, "transpose": _transposed}
_METHODS: dict[type, Callable[[Evaluator, Any], Value]] = {
    Number: Evaluator._number,
    Constant: Evaluator._constant,
    Name: Evaluator._name,
    Sum: Evaluator._sum,
    Product: Evaluator._product,
    Negative: Evaluator._negative,
    Signed: Evaluator._signed,
    Quotient: Evaluator._quotient,
    Power: Evaluator._power,
    Call: Evaluator._call,
    Apply: Evaluator._apply,
    Matrix: Evaluator._matrix,
    Quantity: Evaluator._quantity,
    Boxed: Evaluator._boxed,
}


def is_complex(value: Value) -> bool:
    """Whether a value is not real, rounding aside."""
    if isinstance(value, Fraction):
        return False
    imaginary = abs(_CONTEXT.im(value))
    return bool(
        imaginary > abs(_CONTEXT.re(value)) * _CONTEXT.mpf(10) ** (-_CONTEXT.dps // 2)
        and imaginary > _CONTEXT.mpf(10) ** (-_CONTEXT.dps // 2)
    )


def difference(left: Value, right: Value) -> Value:
    """Left less right."""
    if _exact(left, right):
        return left - right
    return inexact(left) - inexact(right)


def multiplied(left: Value, right: Value) -> Value:
    """The product of two numbers."""
    return left * right if _exact(left, right) else inexact(left) * inexact(right)


def below(value: Value, exponent: float) -> bool:
    """Whether a number is smaller than ten to an exponent, its sign aside."""
    if isinstance(value, Fraction):
        return abs(value) < Fraction(10) ** math.floor(exponent)
    return bool(abs(value) < _CONTEXT.mpf(10) ** exponent)


def real_part(value: Value) -> Value:
    """The real part of a number."""
    return value if isinstance(value, Fraction) else _CONTEXT.re(value)


def inexact(value: Value) -> Value:
    """A number as mpmath has it."""
    return (
        _CONTEXT.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value
    )
