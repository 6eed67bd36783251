"""How an answer is put together: one value, a set, a tuple, a list; `x = 5` with its name; a value of two signs.

In: a bare answer in plain LaTeX. Out: a `Form` of simpler answers. Left out: what these are worth.
"""

import re
from dataclasses import dataclass
from typing import Literal

from dianoia.tasks.math.exact import quantity

MAX_ITEMS = 24
_NAME = re.compile(
    r"(?:\\?[A-Za-z]+'*|\\text\s*\{[^{}]*\}|\|[A-Za-z]+\|)(?:_\{?\w{1,8}\}?)?'*"
    r"(?:\s*\([A-Za-z0-9,\s]{1,12}\))?(?:\s[A-Z]{1,4})?"
)
_MEMBER = re.compile(r"\\?[A-Za-z]+\s*\\in(?![A-Za-z])\s*")
_JOINED = re.compile(
    r"\s*,?\s*(?:\\text\s*\{\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|[或和])\s*|\s*;\s*"
)
_RELATION = re.compile(r"[<>]|\\(?:le|ge|ne)(?![A-Za-z])")
_BASED = re.compile(r"([0-9A-Fa-f]{1,40})_\{?(?:\\text\s*\{)?([0-9]{1,2})\}?\}?")
_RATIO = re.compile(r"(\d{1,40}(?::\d{1,40}){1,3})")

Shape = Literal["one", "set", "tuple", "list"]


@dataclass(frozen=True, slots=True)
class Form:
    """An answer and its parts."""

    shape: Shape
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """One value: `name = text`, or without a name."""

    name: str | None
    parts: tuple[str, ...]
    """What is said to be equal, without the name: `2+3` and `5`."""

    @property
    def last(self) -> str:
        """What it comes to."""
        return self.parts[-1]


def form(text: str) -> Form:
    """The parts of an answer; more than MAX_ITEMS are left in one piece."""
    text = _MEMBER.sub("", text, count=1) if _MEMBER.match(text) else text
    if quantity(text, None) is not None:
        return Form("one", (text,))
    joined = _JOINED.sub(",", text) if "matrix" not in text else text
    for opening, closing, shape in ((r"\{", r"\}", "set"), ("(", ")", "tuple")):
        inner = _inside(joined, opening, closing)
        items = split(inner, ",") if inner is not None else []
        if (shape == "set" and inner is not None) or len(items) > 1:
            return _bounded("set" if shape == "set" else "tuple", items, text)
    items = split(joined, ",")
    if len(items) > 1 and all(items):
        return _bounded("list", items, text)
    return _bounded("list", _both_signs(text), text) if r"\pm" in text else Form("one", (text,))


def _bounded(shape: Shape, items: list[str], text: str) -> Form:
    if not items or len(items) > MAX_ITEMS or not all(items):
        return Form("one", (text,))
    return Form(shape, tuple(items))


def _both_signs(text: str) -> list[str]:
    """Both values of an expression with plus-minus; the name stays with each."""
    signed = [text.replace(r"\pm", sign) for sign in "+-"]
    return [re.sub(r"^\s*\+|(?<==)\s*\+", "", one).strip() for one in signed]


def _inside(text: str, opening: str, closing: str) -> str | None:
    """What stands between brackets that close at the very end; None if they do not."""
    if not (text.startswith(opening) and text.endswith(closing)):
        return None
    inner = text[len(opening) : -len(closing)]
    depth = 0
    for sign in re.findall(r"\\[{}]|[()\[\]{}]", inner):
        depth += sign in ("(", "[", "{", r"\{")
        depth -= sign in (")", "]", "}", r"\}")
        if depth < 0:
            return None
    return inner


def split(text: str, sign: str) -> list[str]:
    """The parts between signs that stand in no bracket. Commas of thousands are no signs."""
    parts, depth, start = [], 0, 0
    for place, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        escaped = place > 0 and text[place - 1] == "\\"
        if char == sign and not depth and not escaped:
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()]


def value(text: str) -> Value | None:
    """A value with its name, if it has one; None for an equation without a name, or an inequality."""
    parts = split(text, "=") if not _RELATION.search(text) else [text]
    if len(parts) > 4 or not all(parts):
        return None
    if len(parts) == 1:
        return Value(None, (text,))
    if _NAME.fullmatch(parts[0]):
        return Value(parts[0].replace(" ", ""), tuple(parts[1:]))
    return Value(None, tuple(parts))


def based(text: str) -> tuple[str, str] | None:
    """(digits, base) of a number such as 101_2."""
    match = _BASED.fullmatch(text.replace(" ", ""))
    if match is None or not 2 <= int(match[2]) <= 36:
        return None
    return match[1].lstrip("0").upper() or "0", match[2]


def ratio(text: str) -> tuple[int, ...] | None:
    """The numbers of 3:4, or of a time of day."""
    match = _RATIO.fullmatch(text.replace(" ", "").replace(r"\colon", ":"))
    return tuple(map(int, match[1].split(":"))) if match else None
