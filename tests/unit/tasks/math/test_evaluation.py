"""Values of expressions, worked out by hand, and laws; equality of expressions that differ by very little."""

from fractions import Fraction

import mpmath
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dianoia.tasks.math.answer_parser import readings
from dianoia.tasks.math.arithmetic import Undefined
from dianoia.tasks.math.equal import equal
from dianoia.tasks.math.evaluation import Evaluator
from dianoia.tasks.math.nodes import Node, Quantity
from dianoia.tasks.math.verdict import TooLarge

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Without a deadline: a busy machine may be slow for a moment."""


def node(text: str) -> Node:
    return readings(text)[0].node


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-5.50", Fraction(-11, 2)),
        ("1,234,567", Fraction(1_234_567)),
        (r"\frac12", Fraction(1, 2)),
        (r"-1\frac{1}{2}", Fraction(-3, 2)),
        ("3.5e-2", Fraction(7, 200)),
        (r"2\times10^{5}", Fraction(200_000)),
        ("2.5x10^3", Fraction(2500)),
        ("50%", Fraction(1, 2)),
        (r"0.1\overline{6}", Fraction(1, 6)),  # 15/90
        (r"2.\overline{27}", Fraction(25, 11)),  # 225/99
        (r"0.\dot{1}4285\dot{7}", Fraction(1, 7)),  # 142857/999999
        ("5 million", Fraction(5_000_000)),
        ("3万", Fraction(30_000)),
        (r"\sqrt{\frac{9}{4}}", Fraction(3, 2)),
        (r"\sqrt[3]{-8}", Fraction(-2)),
        (r"4^{\frac32}", Fraction(8)),
        (r"\binom{5}{2}\cdot 3!", Fraction(60)),
        (r"\lceil -2.5 \rceil", Fraction(-2)),
        (r"\gcd(12, 18)+\operatorname{lcm}(4,6)", Fraction(18)),
        (
            r"\begin{vmatrix}1&2&3\\4&5&6\\7&8&10\end{vmatrix}",
            Fraction(-3),
        ),  # 1*(50-48) - 2*(40-42) + 3*(32-35)
        ("1/2(3+5)", Fraction(4)),
        ("-2^2", Fraction(-4)),
    ],
)
def test_exact_values(text: str, value: Fraction) -> None:
    assert Evaluator(30)(node(text)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"\sqrt{2}", mpmath.sqrt(2)),
        (r"\ln 2", mpmath.log(2)),
        (r"\log 2", mpmath.log10(2)),
        (r"\log_2 10", mpmath.log(10, 2)),
        (r"\sin^2 1", mpmath.sin(1) ** 2),
        (r"\sin^{-1} 0.5", mpmath.pi / 6),
        (r"\sin 2\pi + \cos 60^\circ", 0.5),
        (r"e^{i\pi/2}", 1j),
        (r"\sinh 1", mpmath.sinh(1)),
    ],
)
def test_inexact_values(text: str, value: complex) -> None:
    assert abs(complex(Evaluator(30)(node(text))) - complex(value)) < 1e-12


@pytest.mark.parametrize(
    "text",
    [
        "5/0",
        "0^0",
        "0^{-1}",
        r"\ln 0",
        r"\tan 90^\circ",
        r"(-1)!",
        r"\frac{1}{\sqrt{4}-2}",
        r"\infty",
    ],
)
def test_expressions_without_a_value(text: str) -> None:
    with pytest.raises(Undefined):
        Evaluator(30)(node(text))


@pytest.mark.parametrize(
    "text", ["9^{9^{9}}", "2^{10^{9}}", "(10^9)!", "3001!", r"\binom{3001}{3}", r"e^{10^{6}}", r"\sin(10^{20})", "x^{10^{20}}", r"\exp(\exp(\exp(9)))", "0.1^{10^{9}}"]
)  # fmt: skip
def test_expressions_that_are_too_large(text: str) -> None:
    with pytest.raises(TooLarge):
        Evaluator(30, {"x": Fraction(7, 5)})(node(text))


@pytest.mark.parametrize(
    "text", ["3000!", "2^{5000}", "x^{2024}", r"\binom{2000}{3}", "(x+1)^{41}"]
)
def test_expressions_that_are_just_small_enough(text: str) -> None:
    Evaluator(30, {"x": Fraction(7, 5)})(node(text))


@UNHURRIED
@given(st.fractions(max_denominator=10**9))
def test_a_fraction_is_parsed_to_its_value(value: Fraction) -> None:
    for text in (f"{value.numerator}/{value.denominator}", rf"\frac{{{value.numerator}}}{{{value.denominator}}}"):  # fmt: skip
        assert Evaluator(30)(node(text)) == value


@UNHURRIED
@given(
    st.integers(2, 50),
    st.integers(20, 400),
    st.sampled_from((r"\pi", r"\sqrt{2}", "e^2", r"\ln 3")),
)
def test_a_small_difference_of_large_values_counts(base: int, power: int, value: str) -> None:
    assert not equal(node(value), node(rf"{value} + {base}^{{-{power}}}"))
    assert equal(node(rf"{value} + {base}^{{-{power}}}"), node(rf"{base}^{{-{power}}} + {value}"))
    assert not equal(
        node(rf"{base}^{{-{power}}} {value}"), node(rf"2\cdot {base}^{{-{power}}} {value}")
    )


@pytest.mark.parametrize(
    ("lhs", "rhs", "same"),
    [
        (r"\sqrt{x}\sqrt{x}", "x", True),
        (r"\ln(x^2)", r"2\ln x", False),  # one has values where the other has none
        (r"30x\sqrt{26x}", r"30\sqrt{26x^3}", True),  # where either is real
        ("|x|", "x", False),
        (r"\sqrt{-x^2-1}", r"i\sqrt{x^2+1}", True),
        (r"(-1)^{n+1}", r"-(-1)^n", True),
        ("f(x)+f(y)", "f(y)+f(x)", True),
        ("f(x+y)", "f(x)+f(y)", False),
        ("g(2)", "h(2)", False),
    ],
)
def test_expressions_with_names(lhs: str, rhs: str, same: bool) -> None:
    assert equal(node(lhs), node(rhs)) is same
    assert equal(node(rhs), node(lhs)) is same


def test_a_quantity_has_the_value_of_its_unit() -> None:
    quantity = node("5 km")
    assert isinstance(quantity, Quantity)
    assert Evaluator(30)(quantity) == 5000
