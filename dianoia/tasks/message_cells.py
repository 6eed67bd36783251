"""Reads messages wherever a file may hold them: as lists, as JSON text in a cell, as Python wrote them into one.

In: the value of a column. Out: messages as dicts, or None where the value is no list of messages. CSV holds nothing
but text, so that a list of messages arrives as JSON, or as Python's own notation, which is what `datasets` and pandas
write. A content may be text, or a list of parts that are all text, as chat APIs have it.
"""

import ast
import re
import warnings
from typing import Any

from dianoia.base.bounded_json import UnreadableJSON, parse_json
from dianoia.tasks.missing_values import without_missing

Message = dict[str, Any]

_BEGINS = re.compile(r"\s*\[\s*\{\s*(['\"])(?:role|content)\1\s*:")
"""A text that can only be meant as messages."""
_MAX_LITERAL_CHARS = 2**20


class UnreadableMessages(ValueError):
    """A text begins as messages do and cannot be read as any."""


def messages_in(value: object) -> list[Message] | None:
    """The messages of a value; None for a value that is not meant as messages.

    Raises UnreadableMessages for text that begins as messages do and is broken.
    """
    if isinstance(value, str):
        value = _parsed(value) if value.lstrip()[:1] == "[" else None
    if not isinstance(value, list) or not value:
        return None
    if not all(isinstance(message, dict) and "role" in message for message in value):
        return None
    filled = map(without_missing, value)
    return [{**message, "content": content_of(message.get("content"))} for message in filled]


def content_of(content: object) -> object:
    """The text of a message's content; what is neither text nor parts that are all text comes back as it is."""
    if not isinstance(content, list) or not content:
        return content
    parts = [
        part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else None
        for part in content
    ]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if len(texts) == len(parts) else content


def _parsed(text: str) -> object:
    """A text as JSON or as a Python literal; None for one that is neither and need not be."""
    meant = _BEGINS.match(text) is not None
    try:
        return parse_json(text)
    except UnreadableJSON as error:
        if not meant:
            return None
        reason = str(error)
    if len(text) <= _MAX_LITERAL_CHARS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)  # of backslashes in others' text
                return ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            pass
    raise UnreadableMessages(f"it begins as messages do and cannot be read as JSON: {reason}")
