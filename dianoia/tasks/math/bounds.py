"""What a computer algebra system may be shown: bounds that are checked in the text, before anything is computed.

In: an expression in plain LaTeX (`latex.plain`). Out: why it is refused, or None. Every check is one pass over at
most MAX_CHARS characters. Known commands only, so that no text can define or load anything; towers of powers,
large factorials, binomials, sums, deep nesting and long numbers are refused by what they look like, since what
they are cannot be computed.
"""

import re
from enum import StrEnum

MAX_CHARS = 600
MAX_DEPTH = 12
MAX_NUMBER = 60
"""Digits of one number."""
MAX_DIGITS = 240
MAX_TERMS = 60
"""Operators in all."""
MAX_LETTERS = 40
MAX_COMMANDS = 80
MAX_CALLS = 3
"""Functions of functions."""
MAX_DETERMINANT = 9
"""Entries; what is larger is multiplied out as it is read."""
MAX_FACTORIAL = 3000
MAX_BINOMIAL = 2000
MAX_POWER = {"number": 5000, "name": 100_000, "group": 40}
"""Exponents of numbers, of single letters, and of anything in brackets, which may have to be multiplied out."""

_COMMANDS = (
    "frac sqrt pi infty cdot pm mp sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp "
    "le ge ne in cup cap setminus emptyset mathbb binom text begin end overline lfloor rfloor lceil rceil "
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi varphi chi psi "
    "omega Gamma Delta Theta Lambda Sigma Phi Psi Omega angle triangle parallel perp vec hat bar max min gcd "
    "lcm operatorname mid vert lvert rvert langle rangle prime equiv approx to ldots circ land lor"
)
COMMANDS = frozenset(_COMMANDS.split())
ENVIRONMENTS = frozenset(("pmatrix", "bmatrix", "vmatrix", "matrix", "array", "cases", "Bmatrix"))


class Refusal(StrEnum):
    """Why an expression is not computed."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"


_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|[A-Za-z]|\S", re.DOTALL)
_CALLS = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp"
_FUNCTIONS = frozenset("\\" + name for name in _CALLS.split())
_OPENING, _CLOSING = "([{", ")]}"
_OPERATORS = frozenset(
    ("+", "-", "/", "=", "<", ">", ",", "&", r"\cdot", r"\le", r"\ge", r"\cup", r"\cap")
)


def refused(text: str) -> Refusal | None:
    """Why the expression is not to be computed; None if it may."""
    if len(text) > MAX_CHARS:
        return Refusal.TOO_LARGE
    if not text or not text.isprintable() or not (text.isascii() or "°" in text):
        return Refusal.UNREADABLE
    tokens = _TOKEN.findall(text)
    if not _known(tokens, text) or _is_prose(text):
        return Refusal.UNREADABLE
    depth = _depth(tokens)
    if depth is None:
        return Refusal.UNREADABLE
    checks = (_many, _huge_powers, _huge_factorials, _deep_calls, _large_determinant)
    large = depth > MAX_DEPTH or any(check(tokens) for check in checks)
    return Refusal.TOO_LARGE if large else None


def _is_prose(text: str) -> bool:
    """Whether letters are words rather than names: two side by side, one before a number, or a long one."""
    bare = re.sub(r"\\(?:text|begin|end|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+", "+", text)
    return re.search(r"[A-Za-z]{2,} (?:[A-Za-z]{2,}|\d)|[A-Za-z]{5,}", bare) is not None


def _known(tokens: list[str], text: str) -> bool:
    commands = [token[1:] for token in tokens if token[0] == "\\" and token[1:].isalpha()]
    environments = re.findall(r"\\(?:begin|end)\{([^{}]*)\}", text)
    counted = sum(command in ("begin", "end") for command in commands)
    return (
        COMMANDS.issuperset(commands)
        and ENVIRONMENTS.issuperset(environments)
        and len(environments) == counted
        and not any(token in "#@;?\"'`~" and token != "'" for token in tokens)
    )


def _depth(tokens: list[str]) -> int | None:
    """Of brackets, whatever their kinds (intervals mix them); None where braces do not close."""
    depth = deepest = braces = 0
    for token in tokens:
        if token in ("(", "[", "{", r"\{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (")", "]", "}", r"\}"):
            depth -= 1
        braces += (token == "{") - (token == "}")
        if braces < 0 or depth < 0:
            return None
    return deepest if not braces and not depth else None


def _many(tokens: list[str]) -> bool:
    digits = [token for token in tokens if token[0].isdigit()]
    return (
        max(map(len, digits), default=0) > MAX_NUMBER
        or sum(map(len, digits)) > MAX_DIGITS
        or sum(token in _OPERATORS for token in tokens) > MAX_TERMS
        or sum(len(token) == 1 and token.isalpha() for token in tokens) > MAX_LETTERS
        or sum(token[0] == "\\" for token in tokens) > MAX_COMMANDS
    )


def _huge_powers(tokens: list[str]) -> bool:
    """Powers of powers, and exponents beyond what their base can bear."""
    for place, token in enumerate(tokens):
        if token != "^":
            continue
        exponent = _group(tokens, place + 1)
        if any(sign in exponent for sign in ("^", "!", r"\binom")):
            return True
        after = place + 1 + len(exponent) + 2 * (tokens[place + 1 : place + 2] == ["{"])
        if tokens[after : after + 1] == ["^"]:
            return True
        numbers = [float(one) for one in exponent if one[0].isdigit()]
        product = 1.0
        for number in numbers:
            product *= max(number, 1.0)
        if product > MAX_POWER[_base(tokens, place)]:
            return True
    return False


def _base(tokens: list[str], place: int) -> str:
    before = tokens[place - 1] if place else ""
    if before[:1].isdigit():
        return "number"
    return "name" if len(before) == 1 and before.isalpha() else "group"


def _group(tokens: list[str], start: int) -> list[str]:
    """The tokens of the brace group that begins here, without its braces; else the one token."""
    if tokens[start : start + 1] != ["{"]:
        return tokens[start : start + 1]
    depth = 0
    for place in range(start, len(tokens)):
        depth += (tokens[place] == "{") - (tokens[place] == "}")
        if not depth:
            return tokens[start + 1 : place]
    return tokens[start + 1 :]


def _huge_factorials(tokens: list[str]) -> bool:
    """Factorials of anything but a small number or short sum, binomials of large numbers."""
    factorials = [place for place, token in enumerate(tokens) if token == "!"]
    if len(factorials) > 6:
        return True
    for place in factorials:
        before = tokens[place - 1] if place else ""
        if before[:1].isdigit():
            if len(before) > 4 or float(before) > MAX_FACTORIAL:
                return True
        elif (before in _CLOSING and not _small_sum(tokens, place - 1)) or before == "!":
            return True
    return any(
        token == r"\binom" and _beyond(tokens[place + 1 : place + 12], MAX_BINOMIAL)
        for place, token in enumerate(tokens)
    )


def _small_sum(tokens: list[str], closing: int) -> bool:
    """Whether the brackets that close here hold a few small numbers and letters, added up."""
    start = closing
    while start > 0 and tokens[start] not in _OPENING:
        start -= 1
    inside = tokens[start + 1 : closing]
    plain = all(one[0].isdigit() or one.isalpha() or one in "+-" for one in inside)
    return plain and len(inside) <= 7 and not _beyond(inside, MAX_FACTORIAL)


def _beyond(tokens: list[str], limit: int) -> bool:
    return any(one[0].isdigit() and (len(one) > 6 or float(one) > limit) for one in tokens)


def _deep_calls(tokens: list[str]) -> bool:
    """Functions of functions, which take the parser the longer the deeper they lie, and grow beyond any size."""
    calls: list[int] = []  # at which depth of brackets the functions stand whose arguments go on
    depth = 0
    for before, token in zip(["", *tokens], tokens, strict=False):
        if token in _FUNCTIONS:
            if depth in calls and before not in _FUNCTIONS:  # sin x cos y: the argument ends here
                calls.remove(depth)
            calls.append(depth)
        elif token in _CLOSING or token == r"\}":
            depth -= 1
            calls = [one for one in calls if one < depth]
        elif token in _OPENING or token == r"\{":
            depth += 1
        elif token in ("+", "-", "=", "<", ">", ",", "&"):
            calls = [one for one in calls if one < depth]
        if len(calls) > MAX_CALLS:
            return True
    return False


def _large_determinant(tokens: list[str]) -> bool:
    """A determinant with more entries than its letters let it be worked out."""
    entries = 1 + tokens.count("&") + tokens.count(r"\\")
    return "vmatrix" in "".join(tokens) and entries > MAX_DETERMINANT
