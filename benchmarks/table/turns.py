"""Alternating runs, so that other work on the machine affects all sides alike."""

from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def alternate(sides: Mapping[str, Callable[[], T]], runs: int, warm: int = 1) -> dict[str, list[T]]:
    """Return the results of each side: after `warm` rounds that do not count, `runs` that do.

    A round runs every side once, in order and never two at a time.
    """
    results: dict[str, list[T]] = {name: [] for name in sides}
    for round_ in range(warm + runs):
        for name, run in sides.items():
            result = run()
            if round_ >= warm:
                results[name].append(result)
    return results
