"""Rules of the verifiers "number" (exact arithmetic), "exact" (normalised text) and "reference" (for answers that no rule
can grade).

In: a problem and an answer. Out: 1.0 right, 0.0 wrong, None when the problem's own gold answer cannot be read. Not here:
mathematics, conversion of units, finding the answer in a longer text (`tasks.math`).

DeepSeek-R1 (arXiv 2501.12948v2, section 2.2) compares answers "by rule" and says no more.
Decisions:
1. A number may stand in wrappings that say nothing about it (a box, dollars, bold: `wrappings`), with a currency's sign in
   front, and with the words behind it that the question asks for ("29 dollars", "7 apples"). Any other text makes it
   unreadable. A false "wrong" costs one sample; a false "right" is a hack that training finds and multiplies. Words that
   measure or count, such as "million" and "percent", are never left out.
2. Numbers are equal as fractions, without tolerance: 0.333 is not 1/3.
3. A percent sign divides by 100. A gold answer with the sign also accepts the same number without it, as in "how many
   percent". A gold answer without the sign accepts its value only, so 50 is not 50%.
4. Commas, and LaTeX's `{,}` and `,\\!`, are thousands separators and must stand where those stand: 1,234 but not 12,34.
5. A simple fraction is one in LaTeX too: `\\frac{3}{4}` and `\\frac34`, but no other LaTeX and no mixed number.
6. Lengths and exponents are bounded before any arithmetic, so no answer can hang the verifier.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from dianoia.base.records import Problem
from dianoia.tasks.short_answers.wrappings import unwrapped

MAX_NUMBER_CHARS = 256
MAX_TEXT_CHARS = 10_000
_REMEMBERED = 4096
"""Numbers whose values are remembered: samples of one problem, and the metrics of one rollout, meet the same texts."""

# Full-width forms, which Chinese text uses, and the minus sign. Not NFKC: it reads 5² as 52.
_TO_ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord("\u3000"): " ",
    ord("\u2212"): "-",
    ord("。"): ".",
}
# `-3`, `$1,234.50`, `3/4`, `\frac{3}{4}`, `\frac34`, `.5`, `2e10`, `12 %`. Exponents have two digits at most, see decision 6.
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?:(?:\\?\$|(?P<currency>[€£¥₹])) ?)?"
    r"(?:(?P<top>[0-9]+) ?/ ?(?P<bottom>[0-9]+)"
    r"|\\[dt]?frac(?: ?\{ ?(?P<over>[0-9]+) ?\}| ?(?P<over_digit>[0-9]))(?: ?\{ ?(?P<under>[0-9]+) ?\}| ?(?P<under_digit>[0-9]))"
    r"|(?P<decimal>(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?:[eE](?P<exponent>[+-]?[0-9]{1,2}))?)"
    r"(?P<percent> ?\\?%)?"
    r"\.?"
)
# `12{,}345` or `12,\!345` -> `12,345`.
_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|,\\!) ?(?=[0-9]{3}(?![0-9]))")
# `29 dollars`, `7 red apples`, `5\text{ cm}`: one to four words of at least two letters.
_WITH_WORDS = re.compile(
    r"(?P<number>\S.*?)(?:(?:\\[ ,;]|[~\s])*\\(?:text|textrm|mathrm|mbox)\s*\{\s*(?P<wrapped>[a-zA-Z]{2,}(?: [a-zA-Z]{2,}){0,3})\s*\}"
    r"|\s(?P<plain>[a-zA-Z]{2,}(?: [a-zA-Z]{2,}){0,3}))\.?",
    re.DOTALL,
)
_REQUESTED_WORDS = (
    re.compile(r"\b(?:how (?:many|much)|(?:number|amount) of)\s+((?:[a-z]+\s+){0,3}[a-z]+)"),
    re.compile(r"\bin\s+([a-z]+)"),
)
# Words that change the value or the meaning of a number, whatever the question asks for.
_NEVER_LEFT_OUT = frozenset({
    "hundred", "thousand", "million", "billion", "trillion", "dozen", "dozens", "score", "half", "halves", "third", "thirds", "quarter", "quarters", "tenth", "tenths",
    "percent", "percentage", "per", "times", "twice", "double", "triple", "squared", "cubed", "square", "cubic", "minus", "plus", "negative", "point", "over", "under",
    "less", "fewer", "more", "than", "least", "most", "about", "or", "and", "not", "no", "non", "but", "nor", "either", "neither", "except",
})  # fmt: skip
_RIVALS = (
    frozenset({"dollar", "cent", "penny", "quarter", "dime", "nickel"}),
    frozenset({"second", "minute", "hour", "day", "week", "month", "year"}),
    frozenset({"inch", "foot", "feet", "yard", "mile", "cm", "m", "km", "meter", "metre", "centimeter", "kilometer"}),
    frozenset({"gram", "kilogram", "kg", "pound", "ounce", "ton"}),
    frozenset({"pint", "quart", "gallon", "liter", "litre", "milliliter", "cup"}),
)  # fmt: skip
"""Units of one quantity. Where a question asks for two of them, the word behind a number changes its value."""


def number(problem: Problem, answer: str) -> float | None:
    """Score 1.0 where both are the same number: integer, decimal, simple fraction a/b (LaTeX's too) or percentage."""
    gold, answered = _read(problem.answer, None), _read(answer, problem.question)
    if gold is None:
        return None
    if answered is None:
        return 0.0
    accepted = (gold.value, gold.value * 100) if gold.is_percent else (gold.value,)
    # Decision 3: the sign may be dropped, but "5000%" must not meet a gold answer of "50%".
    return float(
        answered.value == gold.value or (answered.value in accepted and not answered.is_percent)
    )


def parse_number(text: str) -> Fraction | None:
    """Return the exact value of a number, None for anything else.

    Wrappings around it are taken off (decision 1). Longer texts than MAX_NUMBER_CHARS are not read.
    """
    return None if len(text) > MAX_NUMBER_CHARS else _parsed(text)


@lru_cache(_REMEMBERED)
def _parsed(text: str) -> Fraction | None:
    number_read = _read(text, None)
    return None if number_read is None else number_read.value


@dataclass(frozen=True, slots=True)
class _Number:
    value: Fraction
    is_percent: bool


def _read(text: str, question: str | None) -> _Number | None:
    """Read a number. Words behind it, and other currencies than dollars, are allowed where the question asks for them."""
    if len(text) > MAX_NUMBER_CHARS:
        return None
    # Full-width digits and the minus sign become ASCII first, so that the patterns need one form.
    bare = unwrapped(text.translate(_TO_ASCII))
    with_words = _WITH_WORDS.fullmatch(bare)
    if with_words is not None:
        words = (with_words["wrapped"] or with_words["plain"]).lower().split()
        if not question or not _asks_for(words, question):
            return None
        bare = unwrapped(with_words["number"])
    match = _NUMBER.fullmatch(_THOUSANDS.sub(",", bare))
    # A dollar sign says nothing; other currencies have to be those of the question.
    if match is None or (match["currency"] and match["currency"] not in (question or text)):
        return None
    value = _value(match)
    if value is None:
        return None
    if match["percent"]:
        value /= 100
    return _Number(-value if match["sign"] == "-" else value, match["percent"] is not None)


def _asks_for(words: Sequence[str], question: str) -> bool:
    """Return True if a question asks for these words, and for no other unit of the same quantity."""
    lower = question[:MAX_TEXT_CHARS].lower()
    # Words after "how many" and "in", as in "how many red apples" and "in meters".
    requested = {
        _singular(word)
        for pattern in _REQUESTED_WORDS
        for match in pattern.finditer(lower)
        for word in match[1].split()
    }
    if "$" in lower and "how many" not in lower:
        requested.add("dollar")
    singulars = set(map(_singular, words))
    if _NEVER_LEFT_OUT & {*words, *singulars} or not singulars <= requested:
        return False
    # "How many minutes and seconds": the unit decides the value, so that it is not dropped.
    return all(len(rivals & requested) < 2 for rivals in _RIVALS if rivals & singulars)


def _singular(word: str) -> str:
    # `apples` -> `apple`, but not `gas` or `glass`. Only compared with other results of this function.
    return word if len(word) < 4 or word.endswith("ss") else word.removesuffix("s")


def _value(match: re.Match[str]) -> Fraction | None:
    """Return the value without sign and percent; None for a division by zero."""
    top = match["top"] or match["over"] or match["over_digit"]
    if top is not None:
        bottom = int(match["bottom"] or match["under"] or match["under_digit"])
        return Fraction(int(top), bottom) if bottom else None
    # Exact: `float` would make 0.1 + 0.2 differ from 0.3.
    exponent = Fraction(10) ** int(match["exponent"] or 0)
    return Fraction(match["decimal"].replace(",", "")) * exponent


def exact(problem: Problem, answer: str) -> float | None:
    """Score 1.0 where both are the same text by `normalize`; None for an empty or overlong gold answer.

    An answer that does not match as it is may match without the wrappings around the whole of it (`wrappings`).
    """
    gold = normalize(problem.answer)
    if not gold:
        return None
    return float(gold in (normalize(answer), normalize(unwrapped(answer))))


def reference(problem: Problem, answer: str) -> float | None:
    """Score 1.0 for the reference itself by `normalize`; None for any other text, since no rule can tell.

    A model has to grade such answers against the reference (a `sample` stage with a `judge`).
    """
    return 1.0 if exact(problem, answer) else None


def normalize(text: str) -> str | None:
    """Return a text in NFKC, case folded, with whitespace collapsed; None for more than MAX_TEXT_CHARS characters.

    Superscripts, subscripts and vulgar fractions stay as they are: NFKC reads 2¹⁰ as 210.
    """
    if len(text) > MAX_TEXT_CHARS:
        return None
    compatible = unicodedata.normalize("NFC", "".join(map(_compatible, text)))
    return " ".join(unicodedata.normalize("NFC", compatible.casefold()).split())


def _compatible(char: str) -> str:
    # 2¹⁰ must not become 210, nor ½ become 1⁄2.
    if unicodedata.decomposition(char).startswith(("<super>", "<sub>", "<fraction>")):
        return char
    return unicodedata.normalize("NFKC", char)
