"""Run and compare programs like LiveCodeBench's own checker, where it differs from ours.

In: output or value of a program, and the expected one. Out: True or False. Source: `testing_util.py` of
https://github.com/LiveCodeBench/LiveCodeBench, release_v6.

1. A program starts with the names of PRELUDE, and may recurse 50,000 deep.
2. Lines are compared without the spaces around them; a line with other text is right if its words are equal decimal
   numbers.
3. A returned tuple is a list; then Python's own == decides. All calls go to one object.
4. A program that calls `sys.exit` succeeds with any status.
"""

from decimal import Decimal, DecimalException
from typing import Any

NAME = "livecodebench"
_STARRED = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json", "builtins", "typing",
)  # fmt: skip
_IMPORTED = tuple(name for name in _STARRED if name not in ("builtins", "typing"))
PRELUDE = "\n".join(
    (
        *(f"from {name} import *" for name in _STARRED),
        *(f"import {name}" for name in _IMPORTED),
        "sys.setrecursionlimit(50000)",
    )
)
TARGET = "_target = globals()['Solution']() if 'Solution' in globals() else __import__('solution')"
"""Statement that names the object with the functions: an instance of the class `Solution`, or else the program."""


def same_output(actual: str, expected: str) -> bool:
    """Return True if two texts are equal line by line (2)."""
    actual_lines, expected_lines = (
        [line.strip() for line in text.strip().split("\n")] for text in (actual, expected)
    )
    if len(actual_lines) != len(expected_lines):
        return False
    return all(map(_same_line, actual_lines, expected_lines))


def _same_line(actual: str, expected: str) -> bool:
    if actual == expected:
        return True
    # Like the set's own checker: `1.0 2` equals `1 2.00`.
    try:
        return _decimals(actual) == _decimals(expected)
    except DecimalException:
        return False


def _decimals(line: str) -> list[Decimal]:
    return [Decimal(word) for word in line.split()]


def same_value(actual: Any, expected: Any) -> bool:
    """Return True if a returned value is the expected one (3)."""
    try:
        return bool((list(actual) if isinstance(actual, tuple) else actual) == expected)
    except (ArithmeticError, RecursionError):
        return False
