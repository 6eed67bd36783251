"""Exact arithmetic on answers: values worked out by hand, and laws."""

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dianoia.tasks.math.bounds import Refusal, refused
from dianoia.tasks.math.exact import quantity, same_quantity
from dianoia.tasks.math.extract import bare_answer
from dianoia.tasks.math.latex import plain
from dianoia.tasks.math.repeated import repeats
from dianoia.tasks.math.units import unit

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Machines that do other work at the same time are slow now and then."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-5.50", Fraction(-11, 2)),
        ("1,234,567", Fraction(1_234_567)),
        (r"\frac12", Fraction(1, 2)),
        (r"-1\frac{1}{2}", Fraction(-3, 2)),
        ("3.5e-2", Fraction(7, 200)),
        (r"2\times10^{5}", Fraction(200_000)),
        ("50%", Fraction(1, 2)),
        (r"0.1\overline{6}", Fraction(1, 6)),  # 15/90
        (r"2.\overline{27}", Fraction(25, 11)),  # 225/99
        ("5 million", Fraction(5_000_000)),
        ("3万", Fraction(30_000)),
    ],
)
def test_values(text: str, value: Fraction) -> None:
    found = quantity(plain(text))
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(
    "text", ["12,34", "1/0", "10^{401}", "9" * 301, "5 or 6", "half of 5", "6t", "5!", "--5", "1.2.3", "", "5x", "1e500", "５５⁵"]
)  # fmt: skip
def test_what_is_no_quantity(text: str) -> None:
    assert quantity(plain(text), None) is None


@UNHURRIED
@given(st.fractions(max_denominator=10**9))
def test_a_fraction_is_read_back(value: Fraction) -> None:
    for text in (f"{value.numerator}/{value.denominator}", rf"\frac{{{value.numerator}}}{{{value.denominator}}}"):  # fmt: skip
        found = quantity(plain(text))
        assert found is not None
        assert found.value == value


@UNHURRIED
@given(st.text(max_size=200))
def test_no_text_breaks_the_cheap_steps(text: str) -> None:
    bare = bare_answer(text)
    if bare is not None:
        quantity(plain(bare), None)
        refused(plain(bare))
        repeats("5", plain(bare), text)


@pytest.mark.parametrize(
    ("text", "dimension", "size"),
    [
        ("km", (("length", 1),), Fraction(1000)),
        ("km/h", (("length", 1), ("time", -1)), Fraction(5, 18)),
        ("square feet", (("length", 2),), Fraction("0.3048") ** 2),
        ("cm^3", (("length", 3),), Fraction(1, 10**6)),
        ("mL", (("length", 3),), Fraction(1, 10**6)),
        ("m/s^2", (("length", 1), ("time", -2)), Fraction(1)),
        ("平方厘米", (("length", 2),), Fraction(1, 10**4)),
    ],
)
def test_units(text: str, dimension: tuple[tuple[str, int], ...], size: Fraction) -> None:
    found = unit(text)
    assert found is not None
    assert (found.dimension, found.size) == (dimension, size)


def test_no_units() -> None:
    assert [text for text in ("", "apples", "cm cm^", "per", "km/", "x" * 99) if unit(text)] == []


def test_a_percent_sign_may_be_dropped_and_added_only_where_it_is_asked_for() -> None:
    fifty, sign = quantity("50"), quantity("50%")
    assert fifty is not None
    assert sign is not None
    assert same_quantity(sign, fifty, asks_percent=False)
    assert not same_quantity(fifty, sign, asks_percent=False)
    assert same_quantity(fifty, sign, asks_percent=True)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{1} and $\boxed{2}$", "1,2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"answer is 4, \boxed{5}", "5"),
        ("The answer is 5.", "5"),
        ("Answer: 4\nno, the answer is: **5**", "5"),
        ("5", "5"),
        ("5\n6", None),
        (r"\boxed{}", None),
        (r"\boxed{5", None),
        ("Answer:", None),
        ("", None),
        ("5" * 20_001, None),
    ],
)
def test_where_the_answer_is(text: str, found: str | None) -> None:
    assert bare_answer(text) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("9^9^9", Refusal.TOO_LARGE),
        ("2^{5001}", Refusal.TOO_LARGE),
        ("2^{5000}", None),
        ("x^{2024}", None),
        ("(x+1)^{41}", Refusal.TOO_LARGE),
        ("3000!", None),
        ("3001!", Refusal.TOO_LARGE),
        ("(n-1)!", None),
        ("(9!)!", Refusal.TOO_LARGE),
        (r"\binom{2000}{3}", None),
        (r"\binom{2001}{3}", Refusal.TOO_LARGE),
        ("(" * 13 + "x" + ")" * 13, Refusal.TOO_LARGE),
        ("(" * 12 + "x" + ")" * 12, None),
        ("x" + "+x" * 61, Refusal.TOO_LARGE),
        (r"\def\a{\a}", Refusal.UNREADABLE),
        ("It is 5", Refusal.UNREADABLE),
        ("{x", Refusal.UNREADABLE),
        ("é", Refusal.UNREADABLE),
        ("", Refusal.UNREADABLE),
    ],
)
def test_bounds(text: str, why: Refusal | None) -> None:
    assert refused(text) is why
