"""Plain values that somebody has written down, as JSON or as Python literals. Nothing is evaluated.

In: text. Out: a value of plain types as JSON has them (a tuple is a list), or ValueError. Bounded, so that no
text takes long or breaks Python's own reader.
"""

import ast
import json
import re
import warnings
from typing import Any

MAX_CHARS = 20_000
_MAX_DEPTH = 50
_CHAIN = re.compile(r"(?:(?:[-+~]|not\b)\s*+){50}")


def literal(text: str) -> Any:
    """The value. Raises ValueError for anything else, and for text that is too long or nested too deep."""
    if len(text) > MAX_CHARS or _depth(text) > _MAX_DEPTH:
        raise ValueError("longer or deeper than a value that anybody would write")
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError:
        return as_json(_python(text))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _python(text: str) -> Any:
    if _CHAIN.search(text):  # chains of signs nest without a bracket
        raise ValueError("no literal")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"no literal: {type(error).__name__}") from None


def _depth(text: str) -> int:
    """An upper bound of how deep brackets nest; those inside texts count too."""
    depth = deepest = 0
    for char in text:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    return deepest


def as_json(value: Any) -> Any:
    """Tuples as lists and whole-number keys as text, all the way down; sets and bytes stay."""
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key) if type(key) is int else key: as_json(item) for key, item in value.items()}
    return value
