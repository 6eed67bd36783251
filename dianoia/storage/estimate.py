"""An estimate as `results.json` holds it. `algo.estimates` computes estimates, whose bounds are always there."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over problems with its 95 % interval; bounds and number are None where the file has none."""

    value: float
    low: float | None
    high: float | None
    n: int | None
    """Number of problems."""

    def __float__(self) -> float:
        """Return the value, so that an estimate may be used as a number."""
        return self.value

    def __str__(self) -> str:
        """Return e.g. `0.871 [0.842, 0.896]`."""
        if self.low is None or self.high is None:
            return f"{self.value:.3g}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


Metrics = Mapping[str, Estimate]
"""Estimates by name of the metric."""


def level_order(level: str) -> tuple[float, str]:
    """Return the sort key of a level of difficulty, which is the key of a table: numbers in order, then other names."""
    try:
        return float(level), level
    except ValueError:
        return float("inf"), level
