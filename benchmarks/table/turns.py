"""Runs that take turns, so that whatever else the machine does meets all sides alike."""

from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def in_turns(sides: Mapping[str, Callable[[], T]], runs: int, warm: int = 1) -> dict[str, list[T]]:
    """What each side gave in each of its runs: first `warm` rounds that do not count, then `runs` that do.

    A round asks every side once, in their order, one after the other and never two at a time.
    """
    found: dict[str, list[T]] = {name: [] for name in sides}
    for round_ in range(warm + runs):
        for name, run in sides.items():
            result = run()
            if round_ >= warm:
                found[name].append(result)
    return found
