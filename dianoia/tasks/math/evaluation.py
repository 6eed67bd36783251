"""Evaluate expressions: exact fractions if they are rational, else mpmath numbers to a given precision.

In: a tree (`nodes`), values for its names. Out: a `Fraction`, or an mpmath number, or a matrix of these. Bounds are checked
before anything is computed, so that no expression can become large: one that exceeds them raises `TooLarge`. An expression
without a value (a division by zero, a logarithm of zero) raises `Undefined`.

mpmath computes roots, powers and functions on their principal branches. Odd roots of negative numbers are real, as people
mean them.
"""

import hashlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import mpmath

from dianoia.tasks.math.arithmetic import (
    CONTEXT,
    MAX_LOGARITHM,
    Undefined,
    Value,
    add,
    inexact,
    matrix_power,
    multiply,
    power,
)
from dianoia.tasks.math.named_functions import EXACT_FUNCTIONS, MATRIX_FUNCTIONS, TRANSCENDENTAL
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

MAX_STEPS = 4_000
"""Most nodes evaluated by one `Evaluator`."""


class Evaluator:
    """Evaluates expressions at one point, with a fixed precision.

    Args:
        digits: precision of irrational values, in decimal digits.
        names: the value of each name.
        sign: 1 to take a plus-minus as plus, -1 to take it as minus.
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
        CONTEXT.dps = digits

    def __call__(self, node: Node) -> Value:
        """Return the value of an expression.

        Raises:
            Undefined: it has no value.
            TooLarge: it would take too long or too much memory.
        """
        CONTEXT.dps = self.digits
        try:
            return self._value(node)
        except ZeroDivisionError:
            raise Undefined("a division by zero") from None
        except (OverflowError, mpmath.libmp.NoConvergence) as error:
            raise TooLarge(str(error)) from None

    def _value(self, node: Node) -> Value:
        # Trees are bounded by the grammar, but a product of sums may be long: this bounds the time.
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise TooLarge("steps")
        method = _METHODS.get(type(node))
        if method is None:
            raise Undefined(type(node).__name__)
        return self._measured(method(self, node))

    def _measured(self, value: Value) -> Value:
        """Return the value, and record its size: a small part add to a large one needs more digits.

        Sizes are binary lengths times log10(2), which is cheaper than a logarithm.
        """
        if isinstance(value, Fraction):
            # Bits of the quotient, within one.
            size = value.numerator.bit_length() - value.denominator.bit_length() if value else 0
            self.spread = max(self.spread, abs(size) * 0.302)
            self.largest = max(self.largest, size * 0.302)
            return value
        if isinstance(value, list):
            return value
        if not CONTEXT.isfinite(value):
            raise Undefined("infinite")
        size = CONTEXT.mag(value) if value != 0 else 0
        logarithm = abs(float(size)) * 0.302
        # Far below the precision of this evaluator: what is left of a difference that is zero.
        if logarithm > self.digits * 0.8 + 20 and size < 0:
            return value  # a zero with a rounding error, such as sin(pi)
        if logarithm > MAX_LOGARITHM:
            raise TooLarge("value")
        self.spread = max(self.spread, logarithm)
        self.largest = max(self.largest, float(size) * 0.302)
        return value

    # Arithmetic ------------------------------------------------------------------------------------

    def _sum(self, node: Sum) -> Value:
        total: Value = self._value(node.terms[0])
        for term in node.terms[1:]:
            total = add(total, self._value(term))
        return total

    def _product(self, node: Product) -> Value:
        total: Value = self._value(node.factors[0])
        for factor in node.factors[1:]:
            total = multiply(total, self._value(factor))
        return total

    def _negative(self, node: Negative) -> Value:
        return multiply(self._value(node.value), Fraction(-1))

    def _signed(self, node: Signed) -> Value:
        return multiply(self._value(node.value), Fraction(node.first * self.sign))

    def _quotient(self, node: Quotient) -> Value:
        top, bottom = self._value(node.top), self._value(node.bottom)
        # An inexact zero is caught here only if it is exactly 0; otherwise the quotient is huge and exceeds the bounds.
        if isinstance(bottom, list) or not bottom:
            raise Undefined("a division by zero")
        return multiply(top, 1 / bottom if isinstance(bottom, Fraction) else 1 / inexact(bottom))

    def _power(self, node: Power) -> Value:
        base, exponent = self._value(node.base), self._value(node.exponent)
        if isinstance(exponent, list):
            raise Undefined("a matrix as an exponent")
        if isinstance(base, list):
            return matrix_power(base, exponent)
        return power(base, exponent)

    # Leaves ----------------------------------------------------------------------------------------

    def _number(self, node: Number) -> Value:
        return node.value

    def _constant(self, node: Constant) -> Value:
        if node.name == "pi":
            return +CONTEXT.pi
        if node.name == "e":
            return +CONTEXT.e
        if node.name == "i":
            return CONTEXT.mpc(0, 1)
        raise Undefined("infinity")

    def _name(self, node: Name) -> Value:
        if node.text not in self.names:
            raise Undefined(f"a value for {node.text}")
        return self.names[node.text]

    def _quantity(self, node: Quantity) -> Value:
        # A noun counts and does not measure, so it has no value. A unit is converted to base units.
        if node.noun is not None:
            raise Undefined("a noun")
        value = self._value(node.value)
        value = multiply(value, Fraction(1, 100)) if node.percent else value
        return multiply(value, node.unit.size) if node.unit is not None else value

    def _boxed(self, node: Boxed) -> Value:
        return self._value(node.content)

    def _matrix(self, node: Matrix) -> Value:
        return [[self._value(entry) for entry in row] for row in node.rows]

    def _apply(self, node: Apply) -> Value:
        """Return a value of a function without a definition: a hash of its name and arguments.

        So f(2) + 1 equals 1 + f(2), and f(2) differs from f(3).
        """
        arguments = [self._value(argument) for argument in node.arguments]
        # 20 digits, so that arguments that differ by rounding only have one value.
        key = [
            value if isinstance(value, Fraction) else CONTEXT.nstr(value, 20) for value in arguments
        ]
        digest = hashlib.blake2b(repr((node.name, key)).encode(), digest_size=6).digest()
        return Fraction(int.from_bytes(digest, "big"), 2**45)

    # Functions -------------------------------------------------------------------------------------

    def _call(self, node: Call) -> Value:
        arguments = [self._value(argument) for argument in node.arguments]
        # Matrix functions first: the others refuse matrices.
        if node.function in MATRIX_FUNCTIONS:
            return MATRIX_FUNCTIONS[node.function](*arguments)
        if any(isinstance(argument, list) for argument in arguments):
            raise Undefined("a function of a matrix")
        if node.function in EXACT_FUNCTIONS:
            return EXACT_FUNCTIONS[node.function](*arguments)
        return self._transcendental(node.function, inexact(arguments[0]))

    def _transcendental(self, function: str, value: Value) -> Value:
        # Reducing a huge argument modulo 2 pi would take as many digits as it has.
        if abs(value) > 10**15:
            raise TooLarge("argument")
        if function == "exp" and abs(CONTEXT.re(value)) > MAX_LOGARITHM:
            raise TooLarge("exp")
        compute = TRANSCENDENTAL.get(function)
        if compute is None:
            raise Undefined(function)
        return compute(value)


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
