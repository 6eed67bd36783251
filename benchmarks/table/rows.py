"""Rows of the table: a measure, who it is compared with, both figures, and their ratio.

Not here: measuring. Everything here is arithmetic on numbers and text.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

Comparison = Literal["lower", "higher", "share", "difference", "alone"]
"""`lower` and `higher`: which is better; `share`: ours as a share of the other; `difference`: of two numbers that should
be equal; `alone`: a figure without a comparison."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measure. Figures are medians; `details` holds the single runs and their explanation."""

    name: str
    peer: str
    """The source of the figure `theirs`: trl, generate, step, machine."""
    theirs: float
    ours: float
    unit: str
    comparison: Comparison = "lower"
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Return how many times better ours is; for `share` the share, for `difference` its absolute value."""
        match self.comparison:
            case "lower":
                return self.theirs / self.ours
            case "difference":
                return abs(self.ours - self.theirs)
            # Nothing to compare with: a ratio of 1 is never shown.
            case "alone":
                return 1.0
            case _:
                return self.ours / self.theirs

    @property
    def shown_ratio(self) -> str:
        """The ratio as text: `4.5x`, `31 %`, `2.0e-07`."""
        match self.comparison:
            case "share":
                return f"{100 * self.ratio:.3g} %"
            case "difference":
                return f"{self.ratio:.1e}"
            case "alone":
                return ""
            case _:
                return f"{self.ratio:.1f}x"

    def cells(self) -> tuple[str, str, str, str]:
        """Return name, theirs, ours and ratio as texts."""
        theirs = (
            "" if self.comparison == "alone" else f"{self.peer} {figure(self.theirs, self.unit)}"
        )
        return (self.name, theirs, f"dianoia {figure(self.ours, self.unit)}", self.shown_ratio)


def median_row(
    name: str,
    peer: str,
    theirs: Sequence[float],
    ours: Sequence[float],
    unit: str,
    comparison: Comparison = "lower",
) -> Row:
    """Return a row with the medians of several runs, and the runs as details."""
    # Medians, since a run that another process disturbs is slower and never faster.
    runs = {"theirs": list(theirs), "ours": list(ours)}
    return Row(
        name, peer, statistics.median(theirs), statistics.median(ours), unit, comparison, runs
    )


def figure(value: float, unit: str) -> str:
    """Format a number with three digits and its unit: `6.74 s`, `12,300 tokens/s`."""
    size = abs(value)
    if size >= 1000:
        text = f"{float(f'{value:.3g}'):,.0f}"
    elif size >= 0.001 or size == 0:
        digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
        text = f"{value:.{digits}f}"
    else:
        text = f"{value:.2e}"
    return f"{text} {unit}".strip()


def table(rows: Sequence[Row]) -> str:
    """Return aligned lines for a terminal."""
    cells = [row.cells() for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)] if cells else []
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def markdown(rows: Sequence[Row], about: Mapping[str, object]) -> str:
    """Return the conditions of the measurement and the table as Markdown."""
    lines = [f"- {key}: {value}" for key, value in about.items()]
    lines += ["", "| measure | peer | Dianoia | ratio |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row.cells())} |" for row in rows)]) + "\n"


def document(rows: Sequence[Row], about: Mapping[str, object]) -> str:
    """Return the same as JSON, with the single runs."""
    entries = [asdict(row) | {"ratio": row.ratio} for row in rows]
    return json.dumps({"about": dict(about), "rows": entries}, indent=1) + "\n"
