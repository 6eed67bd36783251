"""Reads JSON that somebody else wrote: rows of data sets, configurations of models, replies of endpoints.

In: text or bytes. Out: the value, or `UnreadableJSON` with a reason in words. Refused are text that is not UTF-8, a
key twice in one object, whole numbers of more digits than Python converts, and values nested deeper than a bound:
each of them is a traceback, a hang or a silent loss further on. NaN and Infinity are read, since Python writes them.
"""

import json
from typing import Any

MAX_DEPTH = 100
"""Lists and objects inside one another."""
_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class UnreadableJSON(ValueError):
    """A text is not JSON that can be used; the message is the reason, without a place."""


def parse_json(text: str | bytes, depth: int = MAX_DEPTH) -> Any:
    """Parse one value, nested at most `depth` deep. Raises UnreadableJSON."""
    if isinstance(text, bytes):
        text = decode_utf8(text)
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise UnreadableJSON(f"it is nested more than {depth} levels deep") from None
    except UnreadableJSON:
        raise
    except json.JSONDecodeError as error:
        raise UnreadableJSON(str(error)) from None
    except ValueError as error:  # Python's limit on digits
        raise UnreadableJSON(
            "it holds a whole number of more than 4,300 digits"
            if "digits" in str(error)
            else str(error)
        ) from None
    # Only a text with that many brackets can nest that deep, and few have them.
    if text.count("[") + text.count("{") > depth and _is_deeper(value, depth):
        raise UnreadableJSON(f"it is nested more than {depth} levels deep")
    return value


def decode_utf8(data: bytes) -> str:
    """Decode UTF-8 with or without a byte-order mark. Raises UnreadableJSON that names what it is instead."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableJSON(f"{other_encoding(data) or 'it is not UTF-8'} ({error})") from None


def other_encoding(data: bytes) -> str | None:
    """Say what bytes are that begin like compressed data or UTF-16; None for anything else."""
    if data.startswith(_GZIP):
        return "it is compressed with gzip, so unpack it first"
    if data.startswith(_UTF16):
        return "it is UTF-16, so save it as UTF-8"
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnreadableJSON(f"it has the key {twice[:80]!r} twice, and only one can count")
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True
