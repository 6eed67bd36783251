"""Units of measurement: sizes worked out by hand."""

from fractions import Fraction

import pytest

from dianoia.tasks.math.units import unit


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
    measured = unit(text)
    assert measured is not None
    assert (measured.dimension, measured.size) == (dimension, size)


def test_no_units() -> None:
    assert [text for text in ("", "apples", "cm cm^", "per", "km/", "x" * 99) if unit(text)] == []
