"""What a question asks for: whether it allows the noun or unit of an answer.

In: quantities and a question in lower case. Out: nothing, or `Unreadable` for a word or unit that the question does not
ask for. "How many apples?" allows 19 apples and refuses 19 pears; "How long is it?" allows 5 cm, "in metres" refuses it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from dianoia.tasks.math.nodes import Quantity
from dianoia.tasks.math.units import Unit, unit
from dianoia.tasks.math.verdict import Reason, Unreadable

_CUES = {
    "length": r"length|long|\bfar\b|distance|height|high|tall|width|wide|depth|deep|perimeter|circumference|radius|diameter|\bside|\barea\b|volume|surface|edge|thick|travel|short|长|宽|高|面积|体积|距离|周长|边",
    "mass": r"weigh|mass\b|heavy|heavier|重|质量",
    "time": r"\btime\b|long|\bold\b|\bage\b|when|duration|speed|\brate\b|fast|时间|多久|速度",
    "month": r"\btime\b|long|\bold\b|\bage\b|older|younger|岁|多久|年",
    "usd": r"cost|price|\bpay|money|spen[dt]|earn|profit|revenue|worth|charge|\bbill\b|\bsell|\bsold|\bbuy|bought|salary|wage|\bowe|change|afford|budget|价|钱|费",
    "angle": r"angle|degree|\\circ|rotate|rotation|turn|角|度",
    "radian": r"angle|radian|rotate|rotation|弧度",
    "unit": r"unit|area|volume|perimeter|length|distance|radius|diameter|surface|面积|体积|单位",
}
"""Words (as regular expressions) by which a question asks for a quantity without naming a unit, by base quantity."""

_HOW_MANY = re.compile(
    r"(?:how many|how much|number of|amount of)\s+((?:more|fewer|less|total|different|distinct|whole|of|the|these|those|other|such|his|her|their|its|\d+)\s+)*([a-z][a-z' -]*)"
)
"""Phrases such as "how many more red apples"; group 2 is what is counted."""
_IN_UNIT = re.compile(
    r"(?:\bin|nearest)\s+(?:(?:terms of|units of|whole|a|an|the)\s+)?([a-z$€£][a-z/ ^0-9{}\\]*)"
)
"""Phrases such as "in square metres" and "to the nearest cm"; group 1 is the unit."""
_AUXILIARIES = frozenset(
    [
        "do",
        "does",
        "did",
        "is",
        "are",
        "was",
        "were",
        "will",
        "would",
        "can",
        "could",
        "should",
        "has",
        "have",
        "had",
        "must",
        "may",
        "might",
        "he",
        "she",
        "they",
        "it",
        "we",
        "you",
        "i",
        "does",
        "money",
        "time",
    ]
)
"""First words after "how many" or "how much" that are no noun: "how much does it cost"."""
_PERCENT = re.compile(
    r"(?:what|which|how many|find the|as a)\s+(?:is the\s+)?percent|percentage of|in percent|百分之几|百分比"
)


@dataclass(frozen=True, slots=True)
class Expected:
    """The nouns and units that a question asks for explicitly."""

    nouns: str
    """Words after "how many"; empty if there are none."""
    units: tuple[Unit, ...]
    """Units after "how many" and "in"."""
    percent: bool
    """Whether it asks for a percentage."""


@lru_cache(maxsize=512)
def expected_by(question: str) -> Expected:
    """Return the nouns and units that a question in lower case asks for."""
    # "how many" is followed by a unit or by a noun: how many metres, how many apples.
    nouns, units = [], []
    for match in _HOW_MANY.finditer(question):
        # "how many does he have" names nothing.
        words = match[2].split()
        if words[0] in _AUXILIARIES:
            continue
        measured = _unit_at(words)
        if measured is not None:
            units.append(measured)
        else:
            nouns.append(" ".join(words[:5]))
    units += [
        measured
        for match in _IN_UNIT.finditer(question)
        if (measured := _unit_at(match[1].split())) is not None
    ]
    return Expected(" ".join(nouns), tuple(units), _PERCENT.search(question) is not None)


def _unit_at(words: Sequence[str]) -> Unit | None:
    """Return the longest unit that words begin with; None if there is none. A single letter, or "in", is no unit."""
    # The longest first: "square metres per second" before "square metres".
    for count in (4, 3, 2, 1):
        text = " ".join(words[:count]).strip(" .,?;:$")
        if len(text) > 1 and text != "in" and (measured := unit(text)) is not None:
            return measured
    return None


def check_noun(gold: Quantity, answer: Quantity, question: str) -> None:
    """Raise Unreadable for a noun of the answer that neither the question nor the gold answer has."""
    if not answer.noun or occurs(answer.noun, f"{gold.noun or ''} {gold.symbols.lower()}"):
        return
    expected = expected_by(question)
    # A question that does not say what it counts allows every word in it.
    is_explicit = expected.nouns or expected.units or expected.percent
    allowed = expected.nouns if is_explicit else question
    if not occurs(answer.noun, allowed):
        raise Unreadable(Reason.TEXT_BEHIND)


def check_unit(measured: Unit, symbols: str, question: str) -> None:
    """Raise Unreadable for a unit that measures what the question does not ask for, or that is not the unit it asks for.

    Args:
        measured: the unit of the answer; the gold answer has none.
        symbols: that unit as it was written.
    """
    # Without a question nothing contradicts a unit.
    if not question.strip():
        return
    expected = expected_by(question)
    if expected.units:
        if measured not in expected.units:
            raise Unreadable(Reason.UNIT)
        return
    if expected.nouns or expected.percent:
        raise Unreadable(Reason.UNIT)
    # The question asks for no unit by name. Each part of the unit (km and h of km/h) must measure the same as a unit that
    # the question mentions, and be as large as one of them; or the question must have a word for the quantity.
    mentioned = _units_in(question)
    parts = [
        part
        for word in re.findall(r"[^\W\d_]+|[°$€£¥₹¢]", symbols)
        if (part := unit(word) or unit(word.lower()))
    ]
    for part in parts or [measured]:
        # By base quantities without their powers: a question in metres may ask for square metres.
        quantities = {base for base, _ in part.dimension}
        rivals = [
            rival for rival in mentioned if {base for base, _ in rival.dimension} == quantities
        ]
        same_dimension = [rival for rival in rivals if rival.dimension == part.dimension]
        if same_dimension and all(rival.size != part.size for rival in same_dimension):
            raise Unreadable(Reason.UNIT)
        if not rivals and not all(_is_cued(base, question) for base in quantities):
            raise Unreadable(Reason.UNIT)


def _units_in(question: str) -> list[Unit]:
    """Return the units that a question mentions anywhere."""
    # Short units only as whole words, and a dollar sign only before a number: others delimit mathematics.
    words = re.findall(
        r"[a-z]{3,}|\b(?:cm|mm|km|kg|mg|ml|ft|lb|mi|yd|hr|oz|m|g|s|h|l)\b|[\u3400-\u9fff]{1,3}|[€£¥₹¢°]|\\\$|\$(?=\s*\d)",
        question,
    )
    return [measured for word in words if (measured := unit(word.removeprefix("\\")))]


def _is_cued(base: str, question: str) -> bool:
    """Return True if a question asks for a quantity without naming a unit: "How long is it?"."""
    cue = _CUES.get(base, _CUES["usd"] if base in ("eur", "gbp", "yuan", "rupee") else r"(?!)")
    return re.search(cue, question) is not None


def occurs(words: str, text: str) -> bool:
    """Return True if each of the words occurs in a text, in the singular or the plural."""
    # Chinese has no plural and no spaces.
    if not words.isascii():
        return all(word in text for word in words.split())
    singulars = {_singular(word) for word in re.findall(r"[a-z]+", text)}
    return all(_singular(word) in singulars for word in re.findall(r"[a-z]+", words))


def _singular(word: str) -> str:
    # A rough rule, applied to both sides: berries and berry, boxes and box, apples and apple.
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return (
        word[: -2 if re.search(r"(?:ch|sh|x|ss|o)es\Z", word) else -1]
        if word.endswith("s") and len(word) > 3
        else word
    )
