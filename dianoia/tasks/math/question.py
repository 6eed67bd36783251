"""Tell whether a question asks for what stands behind a number: a noun, a unit.

In: quantities and a question in lower case. Out: nothing; `Unreadable` for a word or unit that nobody asked for.
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
"""What makes a question ask for a quantity, by base quantity."""


_HOW_MANY = re.compile(
    r"(?:how many|how much|number of|amount of)\s+((?:more|fewer|less|total|different|distinct|whole|of|the|these|those|other|such|his|her|their|its|\d+)\s+)*([a-z][a-z' -]*)"
)
_IN_UNIT = re.compile(
    r"(?:\bin|nearest)\s+(?:(?:terms of|units of|whole|a|an|the)\s+)?([a-z$€£][a-z/ ^0-9{}\\]*)"
)
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
_PERCENT = re.compile(
    r"(?:what|which|how many|find the|as a)\s+(?:is the\s+)?percent|percentage of|in percent|百分之几|百分比"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question asks for, where it says so."""

    nouns: str
    """Words behind "how many"; empty where there are none."""
    units: tuple[Unit, ...]
    """Units behind "how many" and "in"."""
    percent: bool


@lru_cache(maxsize=512)
def asked_for(question: str) -> Asked:
    """Find what a question in lower case asks for."""
    nouns, units = [], []
    for match in _HOW_MANY.finditer(question):
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
    return Asked(" ".join(nouns), tuple(units), _PERCENT.search(question) is not None)


def _unit_at(words: Sequence[str]) -> Unit | None:
    """The longest unit that words begin with; a letter alone, or "in", is none."""
    for count in (4, 3, 2, 1):
        text = " ".join(words[:count]).strip(" .,?;:$")
        if len(text) > 1 and text != "in" and (measured := unit(text)) is not None:
            return measured
    return None


def check_noun(gold: Quantity, answer: Quantity, question: str) -> None:
    """Refuse a noun that is neither what the question asks for nor the gold answer's."""
    if not answer.noun or occurs(answer.noun, f"{gold.noun or ''} {gold.symbols.lower()}"):
        return
    asked = asked_for(question)
    allowed = asked.nouns if asked.nouns or asked.units or asked.percent else question
    if not occurs(answer.noun, allowed):
        raise Unreadable(Reason.TEXT_BEHIND)


def check_unit(measured: Unit, symbols: str, question: str) -> None:
    """Refuse a unit of a quantity that the question does not ask for, or asks for in another unit."""
    if not question.strip():
        return
    asked = asked_for(question)
    if asked.units:
        if measured not in asked.units:
            raise Unreadable(Reason.UNIT)
        return
    if asked.nouns or asked.percent:
        raise Unreadable(Reason.UNIT)
    spoken_of = _units_of(question)
    parts = [
        part
        for word in re.findall(r"[^\W\d_]+|[°$€£¥₹¢]", symbols)
        if (part := unit(word) or unit(word.lower()))
    ]
    for part in parts or [measured]:
        quantities = {base for base, _ in part.dimension}
        rivals = [
            rival for rival in spoken_of if {base for base, _ in rival.dimension} == quantities
        ]
        of_one_kind = [rival for rival in rivals if rival.dimension == part.dimension]
        if of_one_kind and all(rival.size != part.size for rival in of_one_kind):
            raise Unreadable(Reason.UNIT)
        if not rivals and not all(_is_cued(base, question) for base in quantities):
            raise Unreadable(Reason.UNIT)


def _units_of(question: str) -> list[Unit]:
    """The units that a question speaks of."""
    words = re.findall(
        r"[a-z]{3,}|\b(?:cm|mm|km|kg|mg|ml|ft|lb|mi|yd|hr|oz|m|g|s|h|l)\b|[\u3400-\u9fff]{1,3}|[€£¥₹¢°]|\\\$|\$(?=\s*\d)",
        question,
    )
    return [measured for word in words if (measured := unit(word.removeprefix("\\")))]


def _is_cued(base: str, question: str) -> bool:
    """Tell whether a question asks for a quantity without a unit: "How long is it?"."""
    cue = _CUES.get(base, _CUES["usd"] if base in ("eur", "gbp", "yuan", "rupee") else r"(?!)")
    return re.search(cue, question) is not None


def occurs(words: str, text: str) -> bool:
    """Tell whether each word occurs, in either number."""
    if not words.isascii():
        return all(word in text for word in words.split())
    known = {_singular(word) for word in re.findall(r"[a-z]+", text)}
    return all(_singular(word) in known for word in re.findall(r"[a-z]+", words))


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return (
        word[: -2 if re.search(r"(?:ch|sh|x|ss|o)es\Z", word) else -1]
        if word.endswith("s") and len(word) > 3
        else word
    )
