r"""Numbers as they are written: decimal, repeating, scientific, in a base, with separated thousands.

In: regular-expression matches in a text, or tokens. Out: values; tokens with separated thousands joined. Not here: fractions
and powers, which are expressions.
"""

import re
from dataclasses import replace
from fractions import Fraction

from dianoia.tasks.math.alphabet import Token
from dianoia.tasks.math.verdict import Reason, Unreadable

PLAIN_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
"""5, 5.0, .5"""
REPEATING = re.compile(
    r"(\d*\.\d*)(?:\\(?:overline|bar)\s*\{\s*(\d+)\s*\}|\\(?:overline|bar)\s*(\d)|\\dot\s*\{?(\d)\}?(?:(\d*)\\dot\s*\{?(\d)\}?)?|\((\d+)\))"
)
r"""0.1\overline{6}, 0.\dot{1}4\dot{2}, 0.(3)"""
SCIENTIFIC = re.compile(r"(\d+\.\d+|\d+|\.\d+)[eE]([+-]?\d{1,4})(?![\dA-Za-z.])")
_SUBSCRIPT = r"\s*_\s*(?:\{\s*([0-9]{1,2}|[a-z]{3,7})\s*\}|\{\s*\\(?:text|mathrm|mbox)\s*\{\s*([0-9]{1,2}|[a-z]{3,7})\s*\}\s*\}|([0-9]{1,2}))"
BASED = re.compile(
    r"([0-9][0-9A-F]{0,60}(?:\.[0-9A-F]{1,40})?|[A-F]{1,20}[0-9][0-9A-F]{0,40})" + _SUBSCRIPT
)
"""101_2, 1A_{16}, 2516_{\\text{eight}}"""
BASED_IN_BRACKETS = re.compile(r"\(\s*([0-9][0-9A-F]{0,60})\s*\)" + _SUBSCRIPT)
"""(101)_2"""
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
    """Return the base of a match of BASED: its subscript in digits or words; 0 if that is no base from 2 to 36."""
    # The subscript is in braces, in \text inside braces, or bare.
    text = match[2] or match[3] or match[4]
    base = int(text) if text.isdigit() else _BASE_WORDS.get(text, 0)
    return base if 2 <= base <= 36 else 0


def digits_fit(digits: str, base: int) -> bool:
    """Return True if every digit is smaller than the base: 102_3 is a number, 103_3 a name with a subscript."""
    return base > 0 and all(int(digit, 36) < base for digit in digits.replace(".", ""))


def without_zeros(text: str) -> str:
    """Return digits without zeros at the front, or at the end of the decimals: 5.10 is 5.1."""
    # Digits are compared as text, so that they need one form.
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.lstrip("0") or "0"


def is_scientific(match: re.Match[str]) -> bool:
    """Tell scientific notation from a product with Euler's number: 3.5e-2, 1e3 and 1e-05 are, 2e-1 is 2e less 1."""
    mantissa, exponent = match[1], match[2]
    return "." in mantissa or not exponent.startswith(("+", "-")) or len(exponent) > 2


def repeating_value(match: re.Match[str]) -> Fraction:
    r"""Return the value of a repeating decimal: 1/6 for 0.1\overline{6}.

    It is the digits up to the end of the first period, less those before it, over as many nines as the period has digits
    and as many zeros as there are digits between the point and the period: (16 - 1) / 90.
    """
    # Groups 2, 3 and 7 are a period under a line or in brackets; 4 to 6 are its first, inner and last digits between dots.
    period = match[2] or match[3] or match[7] or (match[4] + (match[5] or "") + (match[6] or ""))
    before = match[1]
    if match[5] and not match[6]:
        raise Unreadable(Reason.CHARACTER)  # a digit follows the only dot
    whole, _, decimals = before.partition(".")
    fixed = int(whole + decimals or "0")
    nines = (10 ** len(period) - 1) * 10 ** len(decimals)
    return Fraction(int(f"{whole}{decimals}{period}") - fixed, nines)


def currency_signs(text: str) -> set[int]:
    """Return the position of the dollar sign that stands for money: one that has no partner and touches a number.

    All other dollar signs delimit mathematics: `$5$` has none, `$5` and `-$5.50` have one.

    Raises:
        Unreadable: a dollar sign in the middle of the text has no partner and no number.
    """
    # An even number of dollar signs are delimiters: `$5$`.
    dollars = [match.start() for match in re.finditer(r"(?<!\\)\$", text)]
    if len(dollars) % 2 == 0:
        return set()
    for position in dollars:
        if re.match(r"\$\s*-?[\d.]", text[position:]):
            return {position}
    # In `5$` or `$x` the text was cut out between its dollar signs.
    if text.rstrip().endswith("$") or text.lstrip().startswith("$"):
        return set()  # its partner was outside the answer
    raise Unreadable(Reason.DOLLARS)


def join_thousands(tokens: list[Token], commas_separate: bool) -> list[Token]:
    """Return the tokens with each number whose thousands are separated joined into one token.

    `{,}` and `,\\!` always separate thousands. A space does between groups of three digits. A tight comma, one that no space
    follows, does outside all brackets, and inside brackets only next to commas with a space, which then separate the
    members: `1,234` and `(1,234, 5,678)` hold numbers of four digits, `(1,234)` is a pair.

    Args:
        commas_separate: every comma separates members, as in the list `200,100`.

    Raises:
        Unreadable: a thousands separator is left that joins nothing.
    """
    tokens = _join_braced_commas(tokens)
    comma_roles = ["separator"] * len(tokens) if commas_separate else _comma_roles(tokens)
    joined: list[Token] = []
    position = 0
    while position < len(tokens):
        end = _number_end(tokens, comma_roles, position)
        if end > position:
            digits = "".join(
                token.text for token in tokens[position : end + 1] if token.kind == "number"
            )
            joined.append(replace(tokens[position], text=digits, value=Fraction(digits)))
        else:
            joined.append(tokens[position])
        position = end + 1
    # A separator that is left joins nothing: 1{,}23.
    if any(token.text == "thousands" for token in joined):
        raise Unreadable(Reason.NUMBERS)
    return joined


def _join_braced_commas(tokens: list[Token]) -> list[Token]:
    """Return the tokens with each `{,}` as one token, "thousands"."""
    joined: list[Token] = []
    position = 0
    while position < len(tokens):
        if [token.text for token in tokens[position : position + 3]] == ["{", ",", "}"]:
            joined.append(replace(tokens[position], text="thousands"))
            position += 3
        else:
            joined.append(tokens[position])
            position += 1
    return joined


_OPENING, _CLOSING = ("(", "[", "{", r"\{", "langle"), (")", "]", "}", r"\}", "rangle")


def _comma_roles(tokens: list[Token]) -> list[str]:
    """Return the role of a tight comma at each token's position: "thousands", "separator" or "either".

    The role is the same at all positions of one bracket level. "either" is the outermost level without other separators:
    there the number itself decides (`_number_end`).
    """
    # Group the positions by bracket pair: levels[0] is outside all brackets, open_levels are not closed yet.
    levels: list[list[int]] = [[]]
    open_levels: list[list[int]] = []
    for position, token in enumerate(tokens):
        if token.text in _OPENING and token.kind == "sign":
            open_levels.append([])
        level = open_levels[-1] if open_levels else levels[0]
        level.append(position)
        if token.text in _CLOSING and token.kind == "sign" and open_levels:
            levels.append(open_levels.pop())
    roles = ["separator"] * len(tokens)
    for number, level in enumerate([levels[0], *levels[1:], *open_levels]):
        separators = [position for position in level if _separates(tokens, position)]
        braces = number > 0 and tokens[level[0]].text == "{"
        if separators or braces or number == 0:
            role = "thousands" if separators or braces else "either"
            for position in level:
                roles[position] = role
    return roles


def _separates(tokens: list[Token], position: int) -> bool:
    """Return True for a token that always separates members: a comma with a space, a semicolon, "and", "or"."""
    token = tokens[position]
    if token.text in (";", "and", "or", "和", "或"):
        return True
    following = tokens[position + 1] if position + 1 < len(tokens) else None
    return token.text == "," and following is not None and (following.spaced or following.shifted)


def _number_end(tokens: list[Token], comma_roles: list[str], start: int) -> int:
    """Return the position of the last token of the number that begins at `start`; `start` if it is in one piece."""
    first = tokens[start]
    if (
        first.kind != "number"
        or not first.text.isdigit()
        or not first.text.isascii()
        or first.text[0] == "0"
    ):
        return start
    # \frac12 345 takes 1 and 2 as its arguments; a number that touches another one is unreadable anyway.
    before = tokens[start - 1] if start else None
    if before is not None and (
        before.text == "frac" or (before.kind == "number" and not first.spaced)
    ):
        return start
    # The first group has at most three digits, each further one exactly three; decimals end the number.
    end, separator = start, ""
    while len(first.text) <= 3:
        group = _next_group(tokens, end, separator)
        if group is None:
            break
        position, group_separator = group
        if group_separator == "," and comma_roles[end + 1] == "separator":
            break
        end, separator = position, group_separator
        if "." in tokens[end].text:
            break
    if (
        separator == ","
        and comma_roles[start] == "either"
        and not _has_only_commas(tokens, start, end)
    ):
        return start
    # 12 345 6 is three numbers: a group of another length follows.
    if (
        separator == " "
        and end + 1 < len(tokens)
        and tokens[end + 1].kind == "number"
        and "." not in tokens[end].text
    ):
        return start
    return end


def _next_group(tokens: list[Token], end: int, separator: str) -> tuple[int, str] | None:
    """Return the position of the next three digits of a number, and what separates them; None if there are none.

    `separator` is the one between the groups so far, "" after the first: a number does not mix spaces with commas.
    """
    # A space: the next group follows at once, and all separators of the number have to be spaces.
    following = tokens[end + 1] if end + 1 < len(tokens) else None
    if following is None:
        return None
    if (
        following.kind == "number"
        and following.spaced
        and not following.shifted
        and not following.upright
    ):
        return (end + 1, " ") if _has_three_digits(following) and separator in ("", " ") else None
    # A comma: the group is the token after it. `{,}` may be mixed with `,` since both are meant as commas.
    group = tokens[end + 2] if end + 2 < len(tokens) else None
    if group is None or group.kind != "number" or not _has_three_digits(group) or group.shifted:
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


def _has_three_digits(token: Token) -> bool:
    whole = token.text.partition(".")[0]
    return len(whole) == 3 and whole.isdigit() and token.value is not None


def _has_only_commas(tokens: list[Token], start: int, end: int) -> bool:
    """Return True if every comma of the text is inside the number from `start` to `end`: `1,234` but not `1,234,x`."""
    return all(
        token.text != "," for position, token in enumerate(tokens) if not start <= position <= end
    )
