"""Units of measurement: which quantity a unit measures, and how large it is. Exact fractions only.

In: the words behind a number. Out: a `Unit`, or None. Left out: temperatures and angles in other units (their
conversion is no plain factor), rates of exchange.
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
    """In the base unit."""


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
    # the rest
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
_BASE = {
    name: Unit((("length", 3),) if base == "litre" else ((base, 1),), size)
    for name, (base, size) in _SIZES.items()
}
_ALIASES = {"mph": "mile/hour", "kmph": "km/hour", "kph": "km/hour", "cc": "cm^3", "sqft": "ft^2"}
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "平方": 2, "立方": 3}
_SUPERSCRIPTS = str.maketrans({"²": "^2", "³": "^3"})
_FACTOR = re.compile(r"(?P<name>[^\W\d_]+|°[CF]?|[$€£¥₹¢])(?:\^\{?(?P<power>-?[1-9])\}?)?")
_MAX_CHARS = 40
_LAST = re.compile(
    r"(?P<rest>.*\S)(?:\s*\\text\s*\{(?P<wrapped>[^{}]{1,40})\}(?:\^\{?(?P<power>[23])\}?)?|\s(?P<bare>[a-z]{2,12}(?:\^\{?[23]\}?)?)|\s*(?P<sign>°))",
    re.DOTALL,
)


def unit(text: str) -> Unit | None:
    """A unit such as `km/h`, `square feet`, `cm^3` or `m/s^2`; None for anything else."""
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
        for one, power in factors:
            size *= one.size ** (sign * power)
            for base, own in one.dimension:
                powers[base] += sign * own * power
    return Unit(tuple(sorted((b, p) for b, p in powers.items() if p)), size)


def _factors(text: str) -> list[tuple[Unit, int]]:
    """Each factor of a product with its power; none at all if one of them is no unit."""
    found: list[tuple[Unit, int]] = []
    raised = 1
    for word in re.split(r"[\s*]+", re.sub("(平方|立方)", r"\1 ", text.strip())):
        if word.lower() in _POWERS and raised == 1:
            raised = _POWERS[word.lower()]
            continue
        match = _FACTOR.fullmatch(word)
        known = _named(match["name"]) if match else None
        if match is None or known is None:
            return []
        found.append((known, raised * int(match["power"] or 1)))
        raised = 1
    return found if raised == 1 else []


def _named(name: str) -> Unit | None:
    """Symbols as they are, words in either case and number."""
    if name in _BASE or len(name) < 3:
        return _BASE.get(name)
    lower = name.lower()
    return _BASE.get(lower) or _BASE.get(lower.removesuffix("s"))


def split_unit(text: str) -> tuple[str, str | None]:
    """An expression in plain LaTeX without the words behind it, and those; None where there are none.

    Bare words count only if they are a unit, since letters may be factors.
    """
    match = _LAST.fullmatch(text)
    if match is None or (match["bare"] and unit(match["bare"]) is None):
        return text, None
    power = f"^{match['power']}" if match["power"] else ""
    words = match["bare"] or match["sign"] or f"{match['wrapped'].strip()}{power}"
    return match["rest"], words


def same_unit(gold: str | None, given: str | None) -> bool:
    """Tell whether two units, or other words, are one; left out on either side they are."""
    if gold is None or given is None:
        return True
    left, right = unit(gold), unit(given)
    return left == right if left or right else gold.lower() == given.lower()
