"""The two pipes between the process of a program and the process of its tests: one message per line, as JSON.

In: messages, which are lists of texts and numbers. Out: the same on the other side. The reader checks the form of what it
gets and trusts nothing else in it, since a program may write anything into its pipe.
"""

import builtins
import json
import os
from collections.abc import Iterator
from typing import Any

READ_FD, WRITE_FD = 5, 6
"""File descriptors of the two ends, in both processes."""
_MAX_BYTES = 16 * 2**20
"""Size of a message; the reader's memory is limited too."""
_MESSAGE_CHARS = 300


class Closed(Exception):
    """The other process has ended, or has written something that is no message."""


class Channel:
    """One end of the channel."""

    def __init__(self) -> None:
        self._buffer = b""

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
        # A list of parts, since adding to one long text would take the square of its length.
        parts = [self._buffer]
        while b"\n" not in parts[-1]:
            try:
                part = os.read(READ_FD, 2**16)
            except OSError as error:
                raise Closed from error
            # A read may return less than 2**16 bytes, hence the factor; the exact size is checked below.
            if not part or len(parts) * 2**16 > _MAX_BYTES * 16:
                raise Closed
            parts.append(part)
        line, _, self._buffer = b"".join(parts).partition(b"\n")
        try:
            message = json.loads(line) if len(line) <= _MAX_BYTES else None
        except (ValueError, RecursionError) as error:
            raise Closed from error
        if not (isinstance(message, list) and message and isinstance(message[0], str)):
            raise Closed
        return message


def described(error: BaseException) -> list[Any]:
    """Return an exception as a message: the names of its built-in classes, the nearest first, and its text."""
    names = [cls.__name__ for cls in type(error).__mro__ if cls.__module__ == "builtins"]
    try:
        text = str(error)[:_MESSAGE_CHARS]
    except Exception:  # noqa: BLE001 (__str__ is the program's)
        text = "(it has no message)"
    return ["error", names, text]


def rebuilt(names: object, text: object) -> Exception:
    """Return an exception of the first built-in class in `names`; RuntimeError if there is none.

    Only subclasses of Exception: SystemExit or KeyboardInterrupt would end the process.
    """
    for name in _texts(names):
        cls = getattr(builtins, name, None)
        if isinstance(cls, type) and issubclass(cls, Exception):
            try:
                error = cls(str(text))
            except TypeError:  # some classes need more than a message
                continue
            return error if isinstance(error, Exception) else RuntimeError(str(text))
    return RuntimeError(f"the program raised {next(_texts(names), 'an exception')}: {text}")


def _texts(names: object) -> Iterator[str]:
    return (
        (name for name in names if isinstance(name, str)) if isinstance(names, list) else iter(())
    )
