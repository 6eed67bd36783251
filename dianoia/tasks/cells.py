"""Values of table cells that need care: missing values, and messages.

In: the value of a column. Out: whether it is missing; its messages as dicts, or None where the value is no list of
messages. CSV holds nothing but text, so that a list of messages arrives as JSON, or in Python's own notation, which is
what `datasets` and pandas write. A content may be text, or a list of parts that are all text, as chat APIs have it.
ShareGPT's messages, `{"from": "human", "value": "2+3?"}`, are read as messages.
"""

import ast
import re
import warnings
from decimal import Decimal
from typing import Any

from dianoia.base.bounded_json import UnreadableJSON, parse_json

Message = dict[str, Any]

_MESSAGES_START = re.compile(r"\s*\[\s*\{\s*(['\"])(?:role|content|from)\1\s*:")
"""Start of a text that can only be meant as messages."""
_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant"}
# `ast.literal_eval` builds a syntax tree, with many times the memory of the text; JSON has bounds of its own.
_MAX_LITERAL_CHARS = 2**20


def is_missing(value: object) -> bool:
    """Return True for None, NaN (float or decimal; pandas writes it for an empty cell), pandas' NA and NaT."""
    if value is None or isinstance(value, str):
        return value is None
    if isinstance(value, float):
        # NaN is the only float that differs from itself.
        return value != value
    if isinstance(value, Decimal):
        return value.is_nan()
    # By name, so that pandas need not be imported.
    return type(value).__name__ in ("NAType", "NaTType")


def without_missing(columns: dict[str, Any]) -> dict[str, Any]:
    """Return the columns with None for every missing value."""
    return {name: None if is_missing(value) else value for name, value in columns.items()}


class UnreadableMessages(ValueError):
    """A text begins like messages and cannot be read as messages."""


def messages_in(value: object) -> list[Message] | None:
    """Return the messages of a value; None for a value that is not meant as messages.

    Raises UnreadableMessages for text that begins like messages and is broken.
    """
    if isinstance(value, str):
        # Cheap test first: most cells are plain text.
        value = _parse(value) if value.lstrip()[:1] == "[" else None
    if not isinstance(value, list) or not value:
        return None
    if not all(isinstance(message, dict) for message in value):
        return None
    value = [_from_sharegpt(message) for message in value]
    if not all("role" in message for message in value):
        return None
    filled = map(without_missing, value)
    return [{**message, "content": content_of(message.get("content"))} for message in filled]


def _from_sharegpt(message: Message) -> Message:
    """Return a message of ShareGPT (`from`, `value`) with `role` and `content`; any other message unchanged."""
    if "role" in message or not {"from", "value"} <= message.keys():
        return message
    others = {key: value for key, value in message.items() if key not in ("from", "value")}
    role = message["from"]
    if isinstance(role, str):
        role = _SHAREGPT_ROLES.get(role, role)
    return {"role": role, "content": message["value"], **others}


def content_of(content: object) -> object:
    """Return the text of a message's content; anything but text or parts that are all text is returned unchanged."""
    if not isinstance(content, list) or not content:
        return content
    parts = [
        part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else None
        for part in content
    ]
    texts = [part for part in parts if isinstance(part, str)]
    # A part that is no text (an image) leaves the content as it is, for the caller to refuse.
    return "".join(texts) if len(texts) == len(parts) else content


def _parse(text: str) -> object:
    """Parse a text as JSON or as a Python literal; None for a text that is neither and need not be."""
    is_messages = _MESSAGES_START.match(text) is not None
    try:
        return parse_json(text)
    except UnreadableJSON as error:
        if not is_messages:
            return None
        reason = str(error)
    literal = literal_in(text)
    if literal is not None:
        return literal
    raise UnreadableMessages(f"it begins like messages and cannot be read as JSON: {reason}")


def literal_in(text: str) -> object:
    """Return the value of a Python literal, which is how `datasets` and pandas write lists and objects in CSV; else None."""
    if len(text) > _MAX_LITERAL_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            # Backslashes in a user's text are no fault of ours.
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
