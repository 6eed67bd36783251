"""What the workers of `test_verifier_workers.py` do: an answer says what becomes of its worker, or is its own score."""

import os
from collections.abc import Callable, Sequence
from typing import Any


def _loop() -> None:
    while True:
        pass


_ENDS: dict[str, Callable[[], object]] = {
    "loop": _loop,
    "exit": lambda: os._exit(3),
    "memory": lambda: bytearray(2**40),
}


def grade_batch(items: Sequence[Any]) -> list[Any]:
    """A value an item, which is a text or has an answer in second place, as those of the plain verifiers."""
    texts = [item if isinstance(item, str) else item[1] for item in items]
    for option in texts:
        _ENDS.get(option, lambda: None)()
    return [float(option) if option.isdigit() else option for option in texts]
