"""Names of metrics in a tracker: those that dashboards made for TRL and transformers expect.

In: a row of `metrics.jsonl`. Out: its numbers under `train/` and `eval/`, as transformers' integrations write them. Names that
TRL has are TRL's already (`metrics.definitions`); RENAMED has those that differ.
"""

from collections.abc import Mapping
from typing import Any

RENAMED = {"tokens": "num_tokens", "step_seconds": "step_time"}
"""TRL's name by ours, where both mean the same."""
_EVALUATED = ("eval_", "heldout/")
"""Prefixes of metrics of held-out data."""


def tracked_name(name: str) -> str:
    """Return the name in a tracker of a metric of a row: `train/reward`, `eval/loss`, `eval/pass@1`."""
    for prefix in _EVALUATED:
        if name.startswith(prefix):
            return f"eval/{name.removeprefix(prefix)}"
    return f"train/{RENAMED.get(name, name)}"


def tracked_numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a row by their names in a tracker, without the step and what was not measured."""
    return {
        tracked_name(name): value
        for name, value in row.items()
        # True is an int in Python, and no metric.
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }
