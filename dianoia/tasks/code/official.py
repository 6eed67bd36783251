"""How LiveCodeBench's own checker runs and compares programs, where it differs from ours.

In: what a program wrote or returned, and what was expected. Out: True or False. Source: `testing_util.py` of
https://github.com/LiveCodeBench/LiveCodeBench, release_v6.

1. A program starts with the names of PRELUDE, and may recurse 50,000 deep.
2. Lines are compared without the spaces around them; a line that differs as text is right where its words are equal
   decimal numbers.
3. A returned tuple is a list; then Python's own == decides. All calls go to one object.
4. `sys.exit` ends a program well with every status.
"""

from decimal import Decimal, DecimalException
from typing import Any

NAME = "livecodebench"
_STARRED = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json", "builtins", "typing",
)  # fmt: skip
_PLAIN = tuple(name for name in _STARRED if name not in ("builtins", "typing"))
PRELUDE = "\n".join(
    (
        *(f"from {name} import *" for name in _STARRED),
        *(f"import {name}" for name in _PLAIN),
        "sys.setrecursionlimit(50000)",
    )
)
TARGET = "_target = globals()['Solution']() if 'Solution' in globals() else __import__('solution')"
"""Statement that names what has the functions: the class of a program that has one, else the program."""


def same_output(given: str, expected: str) -> bool:
    """Whether two texts are equal line by line (2)."""
    given_lines, expected_lines = (
        [line.strip() for line in text.strip().split("\n")] for text in (given, expected)
    )
    if len(given_lines) != len(expected_lines):
        return False
    return all(map(_same_line, given_lines, expected_lines))


def _same_line(given: str, expected: str) -> bool:
    if given == expected:
        return True
    try:
        return _decimals(given) == _decimals(expected)
    except DecimalException:
        return False


def _decimals(line: str) -> list[Decimal]:
    return [Decimal(word) for word in line.split()]


def same_value(given: Any, expected: Any) -> bool:
    """Whether a returned value is the expected one (3)."""
    try:
        return bool((list(given) if isinstance(given, tuple) else given) == expected)
    except (ArithmeticError, RecursionError):
        return False
