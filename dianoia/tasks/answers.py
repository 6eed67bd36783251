"""Verifiers for short answers: "number" by exact arithmetic, "exact" by normalised text; "reference" for
answers that no rule can grade.

In: a problem and an answer. Out: 1.0 right, 0.0 wrong, None when the problem's own gold answer
cannot be read. Left out: LaTeX, symbols, units, sets and intervals; finding the answer in a longer
text.

DeepSeek-R1 (arXiv 2501.12948v2, section 2.2) compares answers "by rule" and says no more.
Decisions:
1. Only a bare answer is read: text around a number, units and currencies make it unreadable. A
   false "wrong" costs one sample, a false "right" is a hack that training finds and multiplies.
2. Numbers are equal as fractions, without tolerance: 0.333 is not 1/3.
3. A percent sign divides by 100. A gold answer with the sign is also met by the same number without
   it, as in "how many percent"; a gold answer without the sign is met by value only, so 50 is not
   50%.
4. Commas are thousands separators and must stand where those stand: 1,234 but not 12,34.
5. Lengths and exponents are bounded before any arithmetic, so no answer can hang the verifier.
"""

import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction

from dianoia.base.records import Problem

Verifier = Callable[[Problem, str], float | None]
"""1.0 right, 0.0 wrong, None when the gold answer cannot be read."""

MAX_NUMBER_CHARS = 256
MAX_TEXT_CHARS = 10_000

# Full-width forms, which Chinese text uses, and the minus sign. Not NFKC: it reads 5² as 52.
_TO_ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord("\u3000"): " ",
    ord("\u2212"): "-",
    ord("。"): ".",
}
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)"
    r"(?:(?P<top>[0-9]+) ?/ ?(?P<bottom>[0-9]+)"
    r"|(?P<decimal>(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?:[eE](?P<exponent>[+-]?[0-9]{1,2}))?)"
    r"(?P<percent> ?%)?"
    r"\.?"
)


def number(problem: Problem, answer: str) -> float | None:
    """Whether both are the same number: integer, decimal, simple fraction a/b or percentage."""
    gold = parse_number(problem.answer)
    if gold is None:
        return None
    given = parse_number(answer)
    accepted = (gold, gold * 100) if _is_percent(problem.answer) else (gold,)
    # Decision 3: the sign may be dropped, but "5000%" must not meet a gold answer of "50%".
    return float(given == gold or (given in accepted and not _is_percent(answer)))


def parse_number(text: str) -> Fraction | None:
    """The exact value of a bare number, None for anything else.

    Whitespace and one final period are allowed around it. Longer texts than MAX_NUMBER_CHARS are
    not read.
    """
    match = _match(text)
    if match is None:
        return None
    value = _value(match)
    if value is None:
        return None
    if match["percent"]:
        value /= 100
    return -value if match["sign"] == "-" else value


def _match(text: str) -> re.Match[str] | None:
    if len(text) > MAX_NUMBER_CHARS:
        return None
    return _NUMBER.fullmatch(text.translate(_TO_ASCII).strip())


def _is_percent(text: str) -> bool:
    match = _match(text)
    return match is not None and match["percent"] is not None


def _value(match: re.Match[str]) -> Fraction | None:
    """Value without sign and percent; None for a division by zero."""
    if match["top"] is not None:
        bottom = int(match["bottom"])
        return Fraction(int(match["top"]), bottom) if bottom else None
    exponent = Fraction(10) ** int(match["exponent"] or 0)
    return Fraction(match["decimal"].replace(",", "")) * exponent


def exact(problem: Problem, answer: str) -> float | None:
    """Whether both are the same text by `normalize`; None for an empty or overlong gold answer."""
    gold = normalize(problem.answer)
    if not gold:
        return None
    return float(normalize(answer) == gold)


def reference(problem: Problem, answer: str) -> float | None:
    """1 for the reference itself by `normalize`; None for anything else, since no rule can tell.

    A model has to judge such answers against the reference (a `sample` stage with a `judge`).
    """
    return 1.0 if exact(problem, answer) else None


def normalize(text: str) -> str | None:
    """NFKC, case folded, whitespace collapsed; None for more than MAX_TEXT_CHARS characters.

    Superscripts, subscripts and vulgar fractions stay as they are: NFKC reads 2¹⁰ as 210.
    """
    if len(text) > MAX_TEXT_CHARS:
        return None
    compatible = unicodedata.normalize("NFC", "".join(map(_compatible, text)))
    return " ".join(unicodedata.normalize("NFC", compatible.casefold()).split())


def _compatible(char: str) -> str:
    if unicodedata.decomposition(char).startswith(("<super>", "<sub>", "<fraction>")):
        return char
    return unicodedata.normalize("NFKC", char)
