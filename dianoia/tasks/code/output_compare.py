"""When two outputs are the same text, and two values the same value.

In: what a program wrote or returned, and what was expected. Out: True or False. All of it happens
outside the sandbox.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2) is silent:
1. Spaces, tabs and carriage returns at the end of a line do not count, nor do empty lines at the
   end of the text. Everything else does, the number of lines included: fewer lines are wrong, more
   lines are wrong.
2. With a tolerance, words of a line that are decimal numbers on both sides may differ by it,
   absolutely or relatively to the expected one; everything else still has to be equal.
3. Values: numbers by value (2.0 is 2), but True is not 1; a tuple is a list and a key 1 is "1", as
   in JSON. Anything that JSON cannot say is wrong.
"""

import math
import re
from typing import Any

_DECIMAL = re.compile(
    r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?"
)
_LINE_END = " \t\r"


def same_output(given: str, expected: str, tolerance: float | None = None) -> bool:
    """Whether two texts are equal line by line (decisions 1 and 2)."""
    given_lines, expected_lines = _lines(given), _lines(expected)
    if len(given_lines) != len(expected_lines):
        return False
    return all(map(lambda g, e: _same_line(g, e, tolerance), given_lines, expected_lines))


def _lines(text: str) -> list[str]:
    lines = [line.rstrip(_LINE_END) for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_line(given: str, expected: str, tolerance: float | None) -> bool:
    if given == expected or tolerance is None:
        return given == expected
    given_words, expected_words = given.split(" "), expected.split(" ")
    if len(given_words) != len(expected_words):
        return False
    return all(
        _same_word(g, e, tolerance) for g, e in zip(given_words, expected_words, strict=True)
    )


def _same_word(given: str, expected: str, tolerance: float) -> bool:
    if given == expected:
        return True
    if not (_DECIMAL.fullmatch(given) and _DECIMAL.fullmatch(expected)):
        return False
    return close(float(given), float(expected), tolerance)


def close(given: float, expected: float, tolerance: float) -> bool:
    """Whether two finite numbers differ by at most `tolerance`, or by that share of `expected`."""
    if not (math.isfinite(given) and math.isfinite(expected)):
        return False
    return abs(given - expected) <= tolerance * max(1.0, abs(expected))


def same_value(given: Any, expected: Any, tolerance: float | None = None) -> bool:
    """Whether a returned value is the expected one of JSON (decision 3)."""
    if isinstance(given, (list, tuple)) and isinstance(expected, list):
        return len(given) == len(expected) and all(
            map(lambda g, e: same_value(g, e, tolerance), given, expected)
        )
    if isinstance(given, dict) and isinstance(expected, dict):
        return _same_items(given, expected, tolerance)
    if _is_number(given) and _is_number(expected):
        return given == expected or (tolerance is not None and _close(given, expected, tolerance))
    return type(given) is type(expected) and bool(given == expected)


def _same_items(given: dict[Any, Any], expected: dict[str, Any], tolerance: float | None) -> bool:
    named = {str(key) if type(key) is int else key: item for key, item in given.items()}
    if len(named) != len(given) or named.keys() != expected.keys():
        return False
    return all(same_value(item, expected[key], tolerance) for key, item in named.items())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _close(given: float, expected: float, tolerance: float) -> bool:
    try:
        return close(float(given), float(expected), tolerance)
    except OverflowError:  # a whole number beyond every float
        return False
