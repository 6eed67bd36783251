"""Numbers as options of commands."""

import argparse
from collections.abc import Callable


def whole_number(least: int, message: str) -> Callable[[str], int]:
    """Return what reads an option as a whole number from `least` on.

    message: follows what was typed, where it is none: `is not a number of stages; write for example 2`.
    """

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} {message}")
        return int(text)

    return read
