"""Reads JSON of unknown origin: rows of data sets, configurations of models, replies of endpoints.

In: text or bytes. Out: the value, or `UnreadableJSON` with a reason. Refused are text that is not UTF-8, a key twice in
one object, integers of more digits than Python converts, and values nested too deeply: each would cause a traceback, a
hang or silent loss of data later. NaN and Infinity are accepted, since Python writes them.
"""

import json
from typing import Any

MAX_DEPTH = 100
"""Levels of lists and objects."""
# First bytes of gzip files, and the byte-order marks of UTF-16.
_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class UnreadableJSON(ValueError):
    """A text is not JSON that can be used. The message is the reason; the caller adds file and row."""


def parse_json(text: str | bytes, depth: int = MAX_DEPTH) -> Any:
    """Parse one value of at most `depth` levels. Raises UnreadableJSON."""
    if isinstance(text, bytes):
        text = decode_utf8(text)
    try:
        # The hook is called for every object, so a repeated key is noticed at any level.
        value = json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise UnreadableJSON(f"it is nested more than {depth} levels deep") from None
    # Raised by the hook. It is a ValueError, so it has to pass before the general cases below.
    except UnreadableJSON:
        raise
    except json.JSONDecodeError as error:
        raise UnreadableJSON(str(error)) from None
    except ValueError as error:  # Python refuses to convert integers of more than 4,300 digits
        raise UnreadableJSON(
            "it holds a whole number of more than 4,300 digits"
            if "digits" in str(error)
            else str(error)
        ) from None
    # Walking the value is slow. Only a text with more brackets than `depth` can be nested deeper, and few are.
    if text.count("[") + text.count("{") > depth and _is_deeper(value, depth):
        raise UnreadableJSON(f"it is nested more than {depth} levels deep")
    return value


def decode_utf8(data: bytes) -> str:
    """Decode UTF-8 with or without a byte-order mark. Raises UnreadableJSON, which names another encoding if it is known."""
    try:
        # utf-8-sig drops a byte-order mark, which json.loads refuses in a text.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableJSON(f"{other_encoding(data) or 'it is not UTF-8'} ({error})") from None


def other_encoding(data: bytes) -> str | None:
    """Return a clause on bytes that begin like gzip or UTF-16; None for any other bytes."""
    if data.startswith(_GZIP):
        return "it is compressed with gzip, so let its name end with .gz"
    if data.startswith(_UTF16):
        return "it is UTF-16, so save it as UTF-8"
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dictionary. Raises UnreadableJSON for a repeated key, of which json keeps the last."""
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise UnreadableJSON(f"it has the key {repeated[:80]!r} twice, and only one can count")
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    """Return True if a value has more than `depth` levels."""
    # One level per round. Recursion could overflow the stack, which is what this function guards against.
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
