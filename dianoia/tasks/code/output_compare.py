"""Compare a program's output with the expected text, and a returned value with the expected value.

In: output or value of a program, and the expected one. Out: True or False. All of it runs outside the sandbox.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2) is silent:
1. Spaces, tabs and carriage returns at the end of a line do not count, nor do empty lines at the end of the text. All other
   characters count, and so does the number of lines.
2. With a tolerance, words of a line that are decimal numbers on both sides may differ by it, absolutely or relative to the
   expected one; all other text has to be equal.
3. Values: numbers by value (2.0 is 2), but True is not 1; a tuple is a list and a key 1 is "1", as in JSON. A value that JSON
   cannot represent is wrong.
"""

import math
import re
from typing import Any

_DECIMAL = re.compile(
    r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?"
)
_LINE_END = " \t\r"


def same_output(actual: str, expected: str, tolerance: float | None = None) -> bool:
    """Return True if two texts are equal line by line (decisions 1 and 2)."""
    actual_lines, expected_lines = _lines(actual), _lines(expected)
    if len(actual_lines) != len(expected_lines):
        return False
    return all(map(lambda g, e: _same_line(g, e, tolerance), actual_lines, expected_lines))


def _lines(text: str) -> list[str]:
    lines = [line.rstrip(_LINE_END) for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_line(actual: str, expected: str, tolerance: float | None) -> bool:
    if actual == expected or tolerance is None:
        return actual == expected
    actual_words, expected_words = actual.split(" "), expected.split(" ")
    if len(actual_words) != len(expected_words):
        return False
    return all(
        _same_word(g, e, tolerance) for g, e in zip(actual_words, expected_words, strict=True)
    )


def _same_word(actual: str, expected: str, tolerance: float) -> bool:
    if actual == expected:
        return True
    # The pattern bounds the length, so that `float` takes no long time; it excludes nan and inf.
    if not (_DECIMAL.fullmatch(actual) and _DECIMAL.fullmatch(expected)):
        return False
    return close(float(actual), float(expected), tolerance)


def close(actual: float, expected: float, tolerance: float) -> bool:
    """Return True if two finite numbers differ by at most `tolerance`, or by that share of `expected`."""
    if not (math.isfinite(actual) and math.isfinite(expected)):
        return False
    return abs(actual - expected) <= tolerance * max(1.0, abs(expected))


def same_value(actual: Any, expected: Any, tolerance: float | None = None) -> bool:
    """Return True if a returned value is the expected one of JSON (decision 3)."""
    if isinstance(actual, (list, tuple)) and isinstance(expected, list):
        return len(actual) == len(expected) and all(
            map(lambda g, e: same_value(g, e, tolerance), actual, expected)
        )
    if isinstance(actual, dict) and isinstance(expected, dict):
        return _same_items(actual, expected, tolerance)
    if _is_number(actual) and _is_number(expected):
        return actual == expected or (tolerance is not None and _close(actual, expected, tolerance))
    # The same type: `True` is not 1 and "1" is not 1.
    return type(actual) is type(expected) and bool(actual == expected)


def _same_items(actual: dict[Any, Any], expected: dict[str, Any], tolerance: float | None) -> bool:
    # Keys 1 and "1" together would be one key of JSON: then the value is wrong.
    items = {str(key) if type(key) is int else key: item for key, item in actual.items()}
    if len(items) != len(actual) or items.keys() != expected.keys():
        return False
    return all(same_value(item, expected[key], tolerance) for key, item in items.items())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _close(actual: float, expected: float, tolerance: float) -> bool:
    try:
        return close(float(actual), float(expected), tolerance)
    except OverflowError:  # an int beyond the range of float
        return False
