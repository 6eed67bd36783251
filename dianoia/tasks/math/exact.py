"""Quantities by exact arithmetic: integers, fractions, decimals, percentages, powers of ten, units.

In: a bare answer in plain LaTeX (`latex.plain`). Out: a `Quantity`, or None where it is anything else, which
other rules read. Everything is bounded before it is computed: at most MAX_DIGITS digits and powers of ten up to
MAX_POWER, so no answer can make the arithmetic large.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, section 2.2) only says "rule-based":
1. Numbers are equal as fractions, without tolerance: 0.333 is not 1/3.
2. Commas, spaces and LaTeX's thin spaces separate thousands where thousands are: 1,234 but not 12,34.
3. A unit may be left out on either side. Two units must measure the same quantity, and are converted:
   1.5 km is 1500 m, and 5 cm is not 5 m.
4. Behind a number stands a unit that is known, or a word of the question ("7 apples"). A word that changes the
   number is part of it ("5 million", "3万") or makes it unreadable ("5 or 6", "half of 5").
5. A single letter is a unit only where it cannot be a variable: in `\\text{}`, or after a space without LaTeX.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from dianoia.tasks.math.units import Unit, unit

MAX_CHARS = 400
MAX_DIGITS = 300
MAX_POWER = 400
Kind = Literal["integer", "decimal", "fraction", "percent", "power"]

_UNSIGNED = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:\ \d{3})+|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"""\s*(?P<currency>\\?\$|[€£¥₹])?\s*(?P<sign>[+-]?)\s*(?P<currency2>\\?\$|[€£¥₹])?\s*
    (?:(?P<repeating>\d*\.\d*)\\overline\{{(?P<period>\d+)\}}
    |(?P<whole>\d+)\s*\\frac\{{(?P<top2>\d+)\}}\{{(?P<bottom2>\d+)\}}
    |(?P<whole2>\d+)\ (?P<top3>\d+)/(?P<bottom3>\d+)
    |\\frac\{{(?P<top>-?(?:{_UNSIGNED}))\}}\{{(?P<bottom>-?(?:{_UNSIGNED}))\}}
    |(?P<top4>{_UNSIGNED})\s*/\s*(?P<bottom4>{_UNSIGNED})
    |10\^(?:\{{(?P<ten3>-?\d{{1,4}})\}}|(?P<ten4>\d))
    |(?P<number>{_UNSIGNED})(?:\s*(?:\\cdot|x)\s*10\^(?:\{{(?P<ten>-?\d{{1,4}})\}}|(?P<ten2>\d))|[eE](?P<e>[+-]?\d{{1,4}}))?)
    \s*(?P<rest>.*)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_PERCENT = re.compile(r"(?:\\?%|percent|pct|(?:\\text)\{\s*(?:\\?%|percent)\s*\})\s*")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}\s*(?:\^\{?(-?\d)\}?)?\s*")
_SCALES = {
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
    "百": 100,
    "千": 10**3,
    "万": 10**4,
    "百万": 10**6,
    "亿": 10**8,
}
_SCALE = re.compile(
    r"(hundred|thousand|million|billion|trillion|dozen|百万|[百千万亿])(?![A-Za-z])\s*"
)
_CHANGING = (
    "or and not half quarter third double twice triple times squared cubed plus minus over by of root "
    "negative less more than is are be no wrong right factorial mod percent point 倍 半 或 和 又 不 除 乘 加 减 点 分之"
)
_NOT_NOUNS = frozenset(_CHANGING.split())
_NOUN = re.compile(r"[A-Za-z][A-Za-z'-]*(?: [A-Za-z][A-Za-z'-]*){0,3}|[\u3400-\u9fff]{1,6}")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with what stood behind it."""

    value: Fraction
    kind: Kind
    """How it is written; of one value there are many notations."""
    unit: Unit | None = None
    noun: str | None = None
    """Words of the question behind the number, in lower case."""


def quantity(text: str, nouns: str | None = "") -> Quantity | None:
    """The quantity that a text in plain LaTeX is; None for anything else.

    `nouns` is a text in which a word behind the number has to occur, or None to take any.
    """
    if len(text) > MAX_CHARS or sum(map(str.isdigit, text)) > MAX_DIGITS:
        return None
    match = _NUMBER.fullmatch(text)
    read = _value(match) if match else None
    if match is None or read is None:
        return None
    value, kind = read
    return _with_rest(-value if match["sign"] == "-" else value, kind, match, text, nouns)


def _value(match: re.Match[str]) -> tuple[Fraction, Kind] | None:
    """Without sign; None for a division by zero or a power that is too large."""
    if match["repeating"] is not None:
        return _repeating(match["repeating"], match["period"]), "decimal"
    for top, bottom, whole in (
        ("top", "bottom", None),
        ("top4", "bottom4", None),
        ("top2", "bottom2", "whole"),
        ("top3", "bottom3", "whole2"),
    ):
        if match[top] is not None:
            below = _decimal(match[bottom])
            if not below:
                return None
            value = _decimal(match[top]) / below
            return value + (int(match[whole]) if whole else 0), "fraction"
    ten = next((match[n] for n in ("ten", "ten2", "e", "ten3", "ten4") if match[n]), None)
    number = match["number"]
    if ten is None:
        return _decimal(number), "decimal" if "." in number else "integer"
    if abs(int(ten)) > MAX_POWER:
        return None
    return (_decimal(number) if number else Fraction(1)) * Fraction(10) ** int(ten), "power"


def _decimal(text: str) -> Fraction:
    return Fraction(re.sub(r"[, ]", "", text))


def _repeating(before: str, period: str) -> Fraction:
    """0.1 and 6 for 0.1666...: the digits to the end of the first period less those before it."""
    whole, _, decimals = before.partition(".")
    fixed = int(whole + decimals or "0")
    nines = (10 ** len(period) - 1) * 10 ** len(decimals)
    return Fraction(int(f"{whole}{decimals}{period}") - fixed, nines)


def _with_rest(
    value: Fraction, kind: Kind, match: re.Match[str], text: str, nouns: str | None
) -> Quantity | None:
    """The quantity with what stands behind its number: percent sign, scale, unit, noun."""
    rest = match["rest"]
    if percent := _PERCENT.match(rest):
        value, kind, rest = value / 100, "percent", rest[percent.end() :]
    elif scale := _SCALE.match(rest):
        value, rest = value * _SCALES[scale[1]], rest[scale.end() :]
    currency = match["currency"] or match["currency2"]
    if currency:
        measured = unit(currency.removeprefix("\\"))
        same = not rest.strip() or unit(rest) == measured
        return Quantity(value, kind, measured) if same and measured else None
    if not rest.strip():
        return Quantity(value, kind)
    words, wrapped = _words(rest)
    if words is None:
        return None
    if len(words) > 1 or not words.isascii() or wrapped or _stands_apart(match, text):
        measured = unit(words)
        if measured is not None:
            return Quantity(value, kind, measured)
    return _with_noun(value, kind, words, nouns)


def _words(rest: str) -> tuple[str | None, bool]:
    """What follows a number as plain words, and whether LaTeX said that they are words."""
    if "\\text" not in rest:
        return (None, False) if "\\" in rest else (rest.strip(), False)
    parts = [one[1].strip() + (f"^{one[2]}" if one[2] else "") for one in _TEXT.finditer(rest)]
    between = _TEXT.sub("", rest).strip()
    if between not in ("", "/"):
        return None, True
    return (between or " ").join(parts).strip(), True


def _stands_apart(match: re.Match[str], text: str) -> bool:
    return "\\" not in text and text[match.start("rest") - 1].isspace()


def _with_noun(value: Fraction, kind: Kind, words: str, nouns: str | None) -> Quantity | None:
    lower = words.lower()
    if not _NOUN.fullmatch(words) or (len(words) < 2 and words.isascii()):
        return None
    if any(word in _NOT_NOUNS or word in _SCALES for word in lower.split()):
        return None
    if not words.isascii() and any(
        sign in words for sign in (*_NOT_NOUNS, *_SCALES) if not sign.isascii()
    ):
        return None
    if nouns is not None and not _occurs(lower, nouns.lower()):
        return None
    return Quantity(value, kind, noun=lower)


def _occurs(words: str, text: str) -> bool:
    """Whether each word occurs, in either number."""
    if not words.isascii():
        return words in text
    found = set(re.findall(r"[a-z'-]+", text))
    singular = {word.removesuffix("s") for word in found}
    return all(word in found or word.removesuffix("s") in singular for word in words.split())


def same_quantity(gold: Quantity, given: Quantity, asks_percent: bool) -> bool:
    """Whether both are the same, decisions 1 to 4; a percent sign may be dropped where it is asked for.

    A gold answer with the sign is met by the same number without it, as in "how many percent"; a gold answer
    without the sign is met by the number with it only where the question speaks of percent.
    """
    if not _same_kind(gold, given):
        return False
    left, right = gold.value, given.value
    if gold.unit and given.unit:
        left, right = left * gold.unit.size, right * given.unit.size
    if left == right:
        return True
    if gold.kind == "percent" and given.kind != "percent":
        return right == 100 * left
    return asks_percent and given.kind == "percent" != gold.kind and 100 * right == left


def _same_kind(gold: Quantity, given: Quantity) -> bool:
    if gold.unit and given.unit:
        return gold.unit.dimension == given.unit.dimension
    if gold.noun and given.noun:
        return _occurs(given.noun, gold.noun) or _occurs(gold.noun, given.noun)
    return not ((gold.unit and given.noun) or (gold.noun and given.unit))
