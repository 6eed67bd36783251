"""The sizes that are varied, one at a time."""

from collections.abc import Mapping
from dataclasses import replace

from benchmarks.table.cases import Case

BASE = Case(256, 64)
SWEEPS: Mapping[str, tuple[int, ...]] = {
    "group": (8, 16, 32, 64),
    "length": (32, 64, 128, 256),
    "vocabulary": (832, 4096, 16_384, 32_768),
    "hidden": (64, 128, 256, 512),
}
"""Completions per prompt (16 prompts), tokens per completion, vocabulary, and width of the model, whose parameters grow
with its square."""


def grown(name: str, value: int) -> Case:
    """Return the base case with one of its sizes changed."""
    match name:
        case "group":
            return replace(BASE, group=value, completions=BASE.prompts * value)
        case "length":
            return replace(BASE, limit=value)
        case "vocabulary":
            return replace(BASE, vocabulary=value)
        case _:
            return replace(BASE, hidden=value)


def relative_growth(points: list[dict[str, float]], key: str) -> float:
    """Return the growth of a figure from the smallest size to the largest, divided by the growth of the work."""
    first, last = points[0], points[-1]
    return (last[key] / first[key]) / (last["work"] / first["work"])
