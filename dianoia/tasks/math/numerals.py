r"""Numbers as they are written: decimal, repeating, scientific, in a base, with separated thousands.

In: a text, or tokens. Out: values; which tokens are one number. Left out: fractions and powers, which are expressions.
"""

import re
from dataclasses import replace
from fractions import Fraction

from dianoia.tasks.math.alphabet import Token
from dianoia.tasks.math.verdict import Reason, Unreadable

PLAIN_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
REPEATING = re.compile(
    r"(\d*\.\d*)(?:\\(?:overline|bar)\s*\{\s*(\d+)\s*\}|\\(?:overline|bar)\s*(\d)|\\dot\s*\{?(\d)\}?(?:(\d*)\\dot\s*\{?(\d)\}?)?|\((\d+)\))"
)
SCIENTIFIC = re.compile(r"(\d+\.\d+|\d+|\.\d+)[eE]([+-]?\d{1,4})(?![\dA-Za-z.])")
_SUBSCRIPT = r"\s*_\s*(?:\{\s*([0-9]{1,2}|[a-z]{3,7})\s*\}|\{\s*\\(?:text|mathrm|mbox)\s*\{\s*([0-9]{1,2}|[a-z]{3,7})\s*\}\s*\}|([0-9]{1,2}))"
BASED = re.compile(
    r"([0-9][0-9A-F]{0,60}(?:\.[0-9A-F]{1,40})?|[A-F]{1,20}[0-9][0-9A-F]{0,40})" + _SUBSCRIPT
)
BASED_IN_BRACKETS = re.compile(r"\(\s*([0-9][0-9A-F]{0,60})\s*\)" + _SUBSCRIPT)
_BASE_WORDS = {
    word: base
    for base, word in enumerate(
        [
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
        ],
        start=2,
    )
}


def base_of(match: re.Match[str]) -> int:
    """The base of a number with a subscript; 0 where it is none."""
    text = match[2] or match[3] or match[4]
    base = int(text) if text.isdigit() else _BASE_WORDS.get(text, 0)
    return base if 2 <= base <= 36 else 0


def digits_fit(digits: str, base: int) -> bool:
    """Tell whether every digit is one of the base."""
    return base > 0 and all(int(digit, 36) < base for digit in digits.replace(".", ""))


def without_zeros(text: str) -> str:
    """Without zeros that say nothing."""
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.lstrip("0") or "0"


def is_scientific(match: re.Match[str]) -> bool:
    """3.5e-2, 1e3 and 1e-05 are; 2e-1 is 2e less 1."""
    mantissa, exponent = match[1], match[2]
    return "." in mantissa or not exponent.startswith(("+", "-")) or len(exponent) > 2


def repeating_value(match: re.Match[str]) -> Fraction:
    """0.1 and 6 for 0.1666...: the digits to the end of the first period less those before it, over nines."""
    period = match[2] or match[3] or match[7] or (match[4] + (match[5] or "") + (match[6] or ""))
    before = match[1]
    if match[5] and not match[6]:
        raise Unreadable(Reason.CHARACTER)
    whole, _, decimals = before.partition(".")
    fixed = int(whole + decimals or "0")
    nines = (10 ** len(period) - 1) * 10 ** len(decimals)
    return Fraction(int(f"{whole}{decimals}{period}") - fixed, nines)


def currency_signs(text: str) -> set[int]:
    """Places of dollar signs that stand for money: those that pair with no other and touch a number."""
    dollars = [place.start() for place in re.finditer(r"(?<!\\)\$", text)]
    if len(dollars) % 2 == 0:
        return set()
    for place in dollars:
        if re.match(r"\$\s*-?[\d.]", text[place:]):
            return {place}
    if text.rstrip().endswith("$") or text.lstrip().startswith("$"):
        return set()  # the other one stood outside the answer
    raise Unreadable(Reason.DOLLARS)


def with_thousands(read: list[Token], commas_separate: bool) -> list[Token]:
    """Numbers whose thousands are separated, in one token each.

    `{,}` and `,\\!` always separate thousands, a space does between groups of three digits. A comma without a space
    behind it does where it stands alone in its brackets' level with others like it, outside all brackets, or
    beside commas with a space, which then separate members: `1,234` and `(1,234, 5,678)` but not `(1,234)`.
    """
    read = _braced_commas(read)
    levels = ["separator"] * len(read) if commas_separate else _levels(read)
    joined: list[Token] = []
    position = 0
    while position < len(read):
        end = _number_end(read, levels, position)
        if end > position:
            digits = "".join(
                token.text for token in read[position : end + 1] if token.kind == "number"
            )
            joined.append(replace(read[position], text=digits, value=Fraction(digits)))
        else:
            joined.append(read[position])
        position = end + 1
    if any(token.text == "thousands" for token in joined):
        raise Unreadable(Reason.NUMBERS)
    return joined


def _braced_commas(read: list[Token]) -> list[Token]:
    """`{,}` as one token."""
    joined: list[Token] = []
    position = 0
    while position < len(read):
        if [token.text for token in read[position : position + 3]] == ["{", ",", "}"]:
            joined.append(replace(read[position], text="thousands"))
            position += 3
        else:
            joined.append(read[position])
            position += 1
    return joined


_OPENING, _CLOSING = ("(", "[", "{", r"\{", "langle"), (")", "]", "}", r"\}", "rangle")


def _levels(read: list[Token]) -> list[str]:
    """For each token, how a tight comma is read where it stands: "thousands", "separator" or "either"."""
    spans: list[list[int]] = [[]]
    inside: list[list[int]] = []
    for position, token in enumerate(read):
        if token.text in _OPENING and token.kind == "sign":
            inside.append([])
        target = inside[-1] if inside else spans[0]
        target.append(position)
        if token.text in _CLOSING and token.kind == "sign" and inside:
            spans.append(inside.pop())
    reading = ["separator"] * len(read)
    for number, span in enumerate([spans[0], *spans[1:], *inside]):
        separators = [p for p in span if _separates(read, p)]
        braces = number > 0 and read[span[0]].text == "{"
        if separators or braces or number == 0:
            kind = "thousands" if separators or braces else "either"
            for position in span:
                reading[position] = kind
    return reading


def _separates(read: list[Token], position: int) -> bool:
    """Tell whether a token separates members whatever else: a comma with a space, a semicolon, "and", "or"."""
    token = read[position]
    if token.text in (";", "and", "or", "和", "或"):
        return True
    following = read[position + 1] if position + 1 < len(read) else None
    return token.text == "," and following is not None and (following.spaced or following.shifted)


def _number_end(read: list[Token], levels: list[str], start: int) -> int:
    """The last token of the number that begins here; `start` itself for a number in one piece."""
    first = read[start]
    if (
        first.kind != "number"
        or not first.text.isdigit()
        or not first.text.isascii()
        or first.text[0] == "0"
    ):
        return start
    before = read[start - 1] if start else None
    if before is not None and (
        before.text == "frac" or (before.kind == "number" and not first.spaced)
    ):
        return start
    end, separator = start, ""
    while len(first.text) <= 3:
        nxt = _next_group(read, end, separator)
        if nxt is None:
            break
        position, kind = nxt
        if kind == "," and levels[end + 1] == "separator":
            break
        end, separator = position, kind
        if "." in read[end].text:
            break
    if separator == "," and levels[start] == "either" and not _alone(read, start, end):
        return start
    if (
        separator == " "
        and end + 1 < len(read)
        and read[end + 1].kind == "number"
        and "." not in read[end].text
    ):
        return start
    return end


def _next_group(read: list[Token], end: int, separator: str) -> tuple[int, str] | None:
    """Find where the next three digits of a number stand, and what separates them."""
    following = read[end + 1] if end + 1 < len(read) else None
    if following is None:
        return None
    if (
        following.kind == "number"
        and following.spaced
        and not following.shifted
        and not following.upright
    ):
        return (end + 1, " ") if _three(following) and separator in ("", " ") else None
    group = read[end + 2] if end + 2 < len(read) else None
    if group is None or group.kind != "number" or not _three(group) or group.shifted:
        return None
    if following.text == "thousands":
        return (end + 2, "thousands") if separator in ("", "thousands", ",") else None
    if (
        following.text == ","
        and not following.spaced
        and not group.spaced
        and separator in ("", ",", "thousands")
    ):
        return end + 2, ","
    return None


def _three(token: Token) -> bool:
    whole = token.text.partition(".")[0]
    return len(whole) == 3 and whole.isdigit() and token.value is not None


def _alone(read: list[Token], start: int, end: int) -> bool:
    """Tell whether no other comma stands beside a number outside of all brackets."""
    return all(
        token.text != "," for position, token in enumerate(read) if not start <= position <= end
    )
