"""The two pipes between the process of a program and the process of its tests: one message a line, as JSON.

In: messages, lists of texts and numbers. Out: the same on the other side. Whoever reads treats what comes as the
other side's word.
"""

import builtins
import json
import os
from collections.abc import Iterator
from typing import Any

READ_FD, WRITE_FD = 5, 6
"""Where both processes find their ends."""
_MOST_BYTES = 16 * 2**20
"""Of a message; the reader's memory is limited too."""
_MESSAGE_CHARS = 300


class Closed(Exception):
    """The other process has ended, or has written something that is no message."""


class Channel:
    """One end."""

    def __init__(self) -> None:
        self._rest = b""

    def send(self, message: list[Any]) -> None:
        """Write a message. Raises Closed."""
        data = memoryview(json.dumps(message).encode() + b"\n")
        try:
            while data:
                data = data[os.write(WRITE_FD, data) :]
        except OSError as error:
            raise Closed from error

    def receive(self) -> list[Any]:
        """Wait for a message. Raises Closed."""
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            try:
                part = os.read(READ_FD, 2**16)
            except OSError as error:
                raise Closed from error
            if not part or len(parts) * 2**16 > _MOST_BYTES * 16:
                raise Closed
            parts.append(part)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        try:
            message = json.loads(line) if len(line) <= _MOST_BYTES else None
        except (ValueError, RecursionError) as error:
            raise Closed from error
        if not (isinstance(message, list) and message and isinstance(message[0], str)):
            raise Closed
        return message


def described(error: BaseException) -> list[Any]:
    """An exception as a message: the names of its classes, the nearest first, and its words."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
    try:
        words = str(error)[:_MESSAGE_CHARS]
    except Exception:  # noqa: BLE001 (__str__ is the program's)
        words = "(it has no message)"
    return ["error", names, words]


def rebuilt(names: object, words: object) -> Exception:
    """An exception of the nearest of Python's own classes; nothing that would end the process."""
    for name in _texts(names):
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                error = kind(str(words))
            except TypeError:  # some classes want more than a message
                continue
            return error if isinstance(error, Exception) else RuntimeError(str(words))
    return RuntimeError(f"the program raised {next(_texts(names), 'an exception')}: {words}")


def _texts(names: object) -> Iterator[str]:
    return (
        (name for name in names if isinstance(name, str)) if isinstance(names, list) else iter(())
    )
