"""Units of measurement: what a unit measures, and how large it is as an exact fraction.

In: the words after a number. Out: a `Unit`, or None. Not here: conversion of temperatures and angles (it is no plain
factor), and rates of exchange.
"""

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

Dimension = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """A product of powers of base quantities."""

    dimension: Dimension
    """Base quantities with their powers, in alphabetical order."""
    size: Fraction
    """In base units: metres, kilograms, seconds, months, one of each currency."""


_F = Fraction
_FOOT, _POUND = _F("0.3048"), _F("0.45359237")
_SIZES: dict[str, tuple[str, Fraction]] = {
    # length in metres
    **dict.fromkeys(("mm", "millimeter", "millimetre", "毫米"), ("length", _F(1, 1000))),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "厘米"), ("length", _F(1, 100))),
    **dict.fromkeys(("dm", "decimeter", "decimetre", "分米"), ("length", _F(1, 10))),
    **dict.fromkeys(("m", "meter", "metre", "米"), ("length", _F(1))),
    **dict.fromkeys(("km", "kilometer", "kilometre", "千米", "公里"), ("length", _F(1000))),
    **dict.fromkeys(("in", "inch", "inches"), ("length", _FOOT / 12)),
    **dict.fromkeys(("ft", "foot", "feet"), ("length", _FOOT)),
    **dict.fromkeys(("yd", "yard"), ("length", 3 * _FOOT)),
    **dict.fromkeys(("mi", "mile"), ("length", 5280 * _FOOT)),
    # mass in kilograms
    **dict.fromkeys(("mg", "milligram"), ("mass", _F(1, 10**6))),
    **dict.fromkeys(("g", "gram", "克"), ("mass", _F(1, 1000))),
    **dict.fromkeys(("kg", "kilogram", "千克", "公斤"), ("mass", _F(1))),
    **dict.fromkeys(("t", "ton", "tonne", "吨"), ("mass", _F(1000))),
    **dict.fromkeys(("lb", "lbs", "pound"), ("mass", _POUND)),
    **dict.fromkeys(("oz", "ounce"), ("mass", _POUND / 16)),
    # time in seconds
    **dict.fromkeys(("ms", "millisecond"), ("time", _F(1, 1000))),
    **dict.fromkeys(("s", "sec", "second", "秒"), ("time", _F(1))),
    **dict.fromkeys(("min", "minute", "分钟"), ("time", _F(60))),
    **dict.fromkeys(("h", "hr", "hour", "小时"), ("time", _F(3600))),
    **dict.fromkeys(("day", "天"), ("time", _F(86_400))),
    **dict.fromkeys(("week", "周"), ("time", _F(7 * 86_400))),
    **dict.fromkeys(("month", "个月"), ("month", _F(1))),
    **dict.fromkeys(("year", "yr", "年"), ("month", _F(12))),
    # money; no rates between currencies
    **dict.fromkeys(("$", "dollar", "usd", "美元"), ("usd", _F(1))),
    **dict.fromkeys(("¢", "cent"), ("usd", _F(1, 100))),
    **dict.fromkeys(("€", "euro", "eur", "欧元"), ("eur", _F(1))),
    **dict.fromkeys(("£", "gbp"), ("gbp", _F(1))),
    **dict.fromkeys(("¥", "yuan", "rmb", "元"), ("yuan", _F(1))),
    **dict.fromkeys(("₹", "rupee", "rs"), ("rupee", _F(1))),
    # volumes, in cubic metres
    **dict.fromkeys(("ml", "mL", "milliliter", "millilitre", "毫升"), ("litre", _F(1, 10**6))),
    **dict.fromkeys(("l", "L", "liter", "litre", "升"), ("litre", _F(1, 1000))),
    # base quantities that are converted into nothing else
    **dict.fromkeys(("°", "degree", "deg", "度"), ("angle", _F(1))),
    **dict.fromkeys(("radian", "rad"), ("radian", _F(1))),
    **dict.fromkeys(("°C", "celsius"), ("celsius", _F(1))),
    **dict.fromkeys(("°F", "fahrenheit"), ("fahrenheit", _F(1))),
    **dict.fromkeys(("N", "newton"), ("force", _F(1))),
    **dict.fromkeys(("J", "joule"), ("energy", _F(1))),
    **dict.fromkeys(("W", "watt"), ("power", _F(1))),
    **dict.fromkeys(("V", "volt"), ("voltage", _F(1))),
    **dict.fromkeys(("A", "ampere"), ("current", _F(1))),
    **dict.fromkeys(("Hz", "hertz"), ("frequency", _F(1))),
    **dict.fromkeys(("mol", "mole"), ("amount", _F(1))),
    **dict.fromkeys(("unit", "单位"), ("unit", _F(1))),
}
_UNITS = {
    name: Unit((("length", 3),) if base == "litre" else ((base, 1),), size)
    for name, (base, size) in _SIZES.items()
}
_ALIASES = {"mph": "mile/hour", "kmph": "km/hour", "kph": "km/hour", "cc": "cm^3", "sqft": "ft^2"}
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "平方": 2, "立方": 3}
_SUPERSCRIPTS = str.maketrans({"²": "^2", "³": "^3"})
_FACTOR = re.compile(r"(?P<name>[^\W\d_]+|°[CF]?|[$€£¥₹¢])(?:\^\{?(?P<power>-?[1-9])\}?)?")
_MAX_CHARS = 40


def unit(text: str) -> Unit | None:
    """Return the unit that a text names, such as `km/h`, `square feet`, `cm^3` or `m/s^2`; None for any other text."""
    text = _ALIASES.get(text.strip(), text.strip())
    if not text or len(text) > _MAX_CHARS:
        return None
    above, *below = re.split(r"\s*/\s*|\s+per\s+", text.translate(_SUPERSCRIPTS))
    powers: Counter[str] = Counter()
    size = Fraction(1)
    for sign, part in ((1, above), *((-1, part) for part in below)):
        factors = _factors(part)
        if not factors:
            return None
        for factor, power in factors:
            size *= factor.size ** (sign * power)
            for base, base_power in factor.dimension:
                powers[base] += sign * base_power * power
    return Unit(tuple(sorted((base, power) for base, power in powers.items() if power)), size)


def _factors(text: str) -> list[tuple[Unit, int]]:
    """Return each factor of a product of units with its power; no factors at all if one of them is no unit."""
    factors: list[tuple[Unit, int]] = []
    word_power = 1  # 2 after "square", 3 after "cubic"
    for word in re.split(r"[\s*]+", re.sub("(平方|立方)", r"\1 ", text.strip())):
        if word.lower() in _POWERS and word_power == 1:
            word_power = _POWERS[word.lower()]
            continue
        match = _FACTOR.fullmatch(word)
        factor = _by_name(match["name"]) if match else None
        if match is None or factor is None:
            return []
        factors.append((factor, word_power * int(match["power"] or 1)))
        word_power = 1
    return factors if word_power == 1 else []


def _by_name(name: str) -> Unit | None:
    """Return the unit of a name: symbols as they are written (mL, not ML), words in either case and number."""
    if name in _UNITS or len(name) < 3:
        return _UNITS.get(name)
    lower = name.lower()
    return _UNITS.get(lower) or _UNITS.get(lower.removesuffix("s"))
