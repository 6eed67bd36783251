"""What exact arithmetic does not read: math-verify, behind bounds and with guards of our own.

In: expressions in plain LaTeX that `bounds.refused` lets through. Out: whether they are equal. Only worker
processes import this file: it brings sympy, and nothing stops sympy but the end of its process
(`dianoia.runtime.service`).

Guards against what math-verify 0.9 takes for equal:
1. Numbers and expressions are evaluated to 30 digits first, at points of either sign, and have to agree in all
   but rounding, relative to their size: math-verify rounds differences to 0, so that 1/2004! is 1/2006! there.
2. Equations are equal if one is a constant multiple of the other; math-verify equates any two without solutions,
   and x+y=3 with 3.
3. Units are never stripped by letters (it reads 6t as 6), nothing is looked for in sentences, and small and
   capital letters of one name in one answer are not mixed up.
An irrational gold answer is met by a decimal number that agrees with it to six places, as math-verify has it.

What differs is told before math-verify is asked wherever numbers can tell it, since its own comparison of sets and of
equations takes a hundred times as long; and brackets are spelled as its parser reads them fastest.
"""

import logging
import re
from functools import lru_cache
from operator import truediv
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify

from dianoia.tasks.math.intervals import same_members

_CONFIG = LatexExtractionConfig(
    boxed_match_priority=-1,
    normalization_config=NormalizationConfig(
        basic_latex=True,
        units=False,
        malformed_operators=False,
        nits=False,
        boxed="none",
        equations=False,
    ),
)
_DIGITS = 30
_EXACT = sympy.Float("1e-18")
_ROUNDED = sympy.Float("1e-5")
_POINTS = (
    (sympy.Rational(7, 5), sympy.Rational(-11, 7), sympy.Rational(13, 3)),
    (sympy.Rational(-9, 4), sympy.Rational(17, 6), sympy.Rational(-5, 11)),
    (sympy.Rational(31, 9), sympy.Rational(8, 13), sympy.Rational(19, 7)),
)
_POWER = re.compile(r"(?<![A-Za-z\\{_])([a-cf-hj-zA-Z])\^(?=\{|\d)")
_CALL = re.compile(
    r"(\\(?:sin|cos|tan|ln|exp|arcsin|arccos|arctan|sinh|cosh|tanh))\s*\(((?:[^()\\,]|\\[a-z])*)\)(?=[-+)}\]=<>]|$)"
)
"""A call whose brackets hold no brackets, before a sign that its argument cannot go on over."""
logging.getLogger("math_verify").setLevel(logging.CRITICAL)
logging.getLogger("latex2sympy2_extended").setLevel(logging.CRITICAL)


def warm() -> None:
    """Load what sympy and the parser load late, once for all workers."""
    for left, right in (
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
        (r"x^{2}+2x+1", r"(x+1)^{2}"),
        (r"y=2x+1", r"2x-y+1=0"),
        (r"(1,2]\cup[3,\infty)", r"[3,\infty)\cup(1,2]"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"),
        (r"\sin{x}\cos{x}", r"\frac{1}{2}\sin(2x)"),
        (r"x<3", r"3>x"),
        (r"\ln(\cos(\tan(x+1)+2)+3)", r"\exp(\arctan(\sin(x)-2))"),
        (r"3x^{2}+2x^{3}=y", r"\frac{1}{x+1}+\frac{x}{y}=\sqrt{2+\sqrt{3}}"),
        (r"\begin{vmatrix}x&2\\3&y\end{vmatrix}", r"\sqrt{2},\sqrt{3}"),
    ):
        equal(left, right)


@lru_cache(maxsize=512)
def read(text: str) -> Any:
    """The sympy object that an expression is; None where it is none."""
    found = parse(
        f"${_spelled(text)}$",
        [_CONFIG],
        fallback_mode="no_fallback",
        parsing_timeout=None,
        raise_on_error=False,
    )
    value = found[0] if len(found) == 1 else None
    if value is None or isinstance(value, str) or value in (sympy.nan, sympy.zoo):
        return None
    return value


def _spelled(text: str) -> str:
    """As the parser reads it fastest: `\\sin{x}` for `\\sin(x)` takes a tenth of the time, `{x}^2` for `x^2` a third."""
    text = _POWER.sub(r"{\1}^", text)
    while (spelled := _CALL.sub(r"\1{\2}", text)) != text:
        text = spelled
    return text


def equal(gold: str, answer: str) -> bool | None:
    """Whether the answer equals the gold answer; None if it is nothing that can be read."""
    left, right = read(gold), read(answer)
    if left is None or right is None:
        return None
    if _mixed_case(gold, answer) or not _plausible(left, right):
        return False
    equations = [isinstance(side, sympy.Eq) for side in (left, right)]
    if any(equations):
        return all(equations) and _same_equation(left, right)
    if _expands_to_zero(left, right):
        return True
    return bool(
        verify(
            left,
            right,
            allow_set_relation_comp=True,
            timeout_seconds=None,
            raise_on_error=False,
        )
    )


def _mixed_case(gold: str, answer: str) -> bool:
    """Whether one name stands in both cases in the gold answer, which the parser would make one."""
    names = set(_names(gold))
    both = {name for name in names if name.islower() and name.upper() in names}
    return any(
        sum(name == one for one in _names(gold)) != sum(name == one for one in _names(answer))
        for name in both
    )


def _names(text: str) -> list[str]:
    return [char for char in text if char.isalpha()]


def _plausible(left: Any, right: Any) -> bool:
    """False where two expressions differ in value; True where nothing can be said so easily."""
    if isinstance(left, sympy.MatrixBase) and isinstance(right, sympy.MatrixBase):
        return left.shape == right.shape and all(map(_plausible, left, right))
    if isinstance(left, sympy.Set) and isinstance(right, sympy.Set):
        return same_members(left, right) is not False
    if not (isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr)):
        return True
    names = sorted(left.free_symbols | right.free_symbols, key=str)
    if not names:
        return _agree(left, right, {}) is not False
    if left.free_symbols != right.free_symbols and sympy.Symbol in (type(left), type(right)):
        return True  # a name beside a product of letters: math-verify compares their texts
    points = (dict(zip(names, _cycled(point, len(names)), strict=True)) for point in _POINTS)
    return all(_agree(left, right, point) is not False for point in points)


def _cycled(point: tuple[Any, ...], size: int) -> list[Any]:
    """Values for so many names, no two the same."""
    return [point[place % len(point)] + place // len(point) for place in range(size)]


def _agree(left: Any, right: Any, point: dict[Any, Any]) -> bool | None:
    """Whether both have one value here; None where either has none."""
    try:
        a, b = (sympy.N(side.subs(point).doit(), _DIGITS) for side in (left, right))
        if not (a.is_number and b.is_number and a.is_finite and b.is_finite):
            return None
        size = max(abs(a), abs(b))
        rounded = any(side.has(sympy.Float) for side in (left, right))
        return bool(size == 0 or abs(a - b) <= (_ROUNDED if rounded else _EXACT) * size)
    except (ArithmeticError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _expands_to_zero(left: Any, right: Any) -> bool:
    """Equal by multiplying out alone, which takes a fraction of the time that simplifying does."""
    if isinstance(left, sympy.MatrixBase) and isinstance(right, sympy.MatrixBase):
        return all(map(_expands_to_zero, left, right))
    if not (isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr)):
        return False
    try:
        return bool(sympy.expand((_exactly(left) - _exactly(right)).doit()) == 0)
    except (ArithmeticError, TypeError, ValueError, AttributeError, RecursionError):
        return False


def _exactly(value: Any) -> Any:
    """With decimals as the fractions that they are."""
    return value.xreplace({one: sympy.Rational(str(one)) for one in value.atoms(sympy.Float)})


def _same_equation(left: Any, right: Any) -> bool:
    """Whether one equation is a multiple of the other by a number that is not 0."""
    sides = (_exactly(side.lhs - side.rhs).doit() for side in (left, right))
    ratio = truediv(*sides)
    if not _constant(ratio):
        return False
    ratio = sympy.simplify(ratio)
    return bool(ratio.is_number and ratio.is_finite and ratio != 0)


def _constant(value: Any) -> bool:
    """False where it has different values at different points."""
    names = sorted(value.free_symbols, key=str)
    points = [dict(zip(names, _cycled(point, len(names)), strict=True)) for point in _POINTS]
    first = value.subs(points[0])
    return all(_agree(value, first, point) is not False for point in points[1:])
