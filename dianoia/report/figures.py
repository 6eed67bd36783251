"""Charts as Plotly figures, and the frame around them.

In: series of points. Out: a `Chart`: figure, title, caption. Left out: which charts there are, and the
colours of text and grid, which follow the reader's light or dark scheme (`assets/charts.js`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dianoia.report.html_values import escape, unbroken
from dianoia.report.run_reader import Estimate

BLUE, GREY, ORANGE, TEAL, PURPLE, RED = (
    "#3a74c0", "#8b939e", "#d08436", "#2b9a8b", "#8f6cbd", "#c9564f",
)  # fmt: skip
"""Middle tones: they read on white and on near-black."""

Point = tuple[float, float]
POINTS = 300
"""At most so many points a series; longer ones are averaged."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A Plotly figure with the words around it."""

    title: str
    caption: str
    """HTML that is already safe."""
    figure: Mapping[str, Any]
    """`data` and `layout` as Plotly reads them."""


def thin(points: Sequence[Point], most: int = POINTS) -> list[Point]:
    """At most `most` points: neighbours are replaced by their mean."""
    size = -(-len(points) // most) if points else 1
    if size == 1:
        return list(points)
    bins = [points[i : i + size] for i in range(0, len(points), size)]
    return [(_mean([x for x, _ in b]), _mean([y for _, y in b])) for b in bins]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _short(value: float) -> float:
    """Five digits are more than a screen shows, and keep the file small."""
    return float(f"{value:.5g}")


def line(
    name: str, points: Sequence[Point], colour: str, style: str = "line", share: bool = False
) -> dict[str, Any]:
    """One series. `style` is line, dots (a line through marked points), dashed or stacked."""
    few = thin(points)
    trace: dict[str, Any] = {
        "type": "scatter",
        "name": escape(name),
        "mode": "lines+markers" if style == "dots" or len(few) == 1 else "lines",
        "x": [_short(x) for x, _ in few],
        "y": [_short(y) for _, y in few],
        "line": {"color": colour, "width": 2, "dash": "dot" if style == "dashed" else "solid"},
        "marker": {"color": colour, "size": 6},
        "hovertemplate": "%{y:.1%}" if share else "%{y:.4~g}",
    }
    if style == "stacked":
        trace |= {"stackgroup": "one", "line": {"color": colour, "width": 0.5, "shape": "hvh"}}
    return trace


def with_errors(
    name: str, at: Sequence[str], estimates: Sequence[Estimate], colour: str, share: bool
) -> dict[str, Any]:
    """Estimates with their intervals as error bars, over named places."""
    above = [0.0 if e.high is None else max(0.0, e.high - e.value) for e in estimates]
    below = [0.0 if e.low is None else max(0.0, e.value - e.low) for e in estimates]
    trace = line(name, [], colour, "dots", share)
    return trace | {
        "x": [escape(place) for place in at],
        "y": [_short(e.value) for e in estimates],
        "error_y": {
            "type": "data", "symmetric": False, "array": above, "arrayminus": below,
            "color": colour, "thickness": 1.4, "width": 4,
        },
    }  # fmt: skip


def figure(
    traces: Sequence[Mapping[str, Any]],
    across: str,
    *,
    share: bool,
    named: bool = False,
    small: bool = False,
) -> dict[str, Any]:
    """A figure of several series over one axis. `named`: the places across are names, not numbers.

    `share`: from 0 to 100 %; `small`: in percent, but only as high as needed.
    """
    up = (
        {"tickformat": ".0%", "range": [-0.02, 1.03]}
        if share
        else {"rangemode": "tozero", "exponentformat": "e"}
    )
    up |= {"tickformat": ".2~%"} if small else {}
    places = {"type": "category"} if named else {"rangemode": "tozero"}
    return {
        "data": list(traces),
        "layout": {
            "xaxis": {"title": {"text": escape(across), "standoff": 8}, **places},
            "yaxis": {"nticks": 6, **up},
            "showlegend": len(traces) > 1,
        },
    }


def frame(chart: Chart, place: int) -> str:
    """The HTML in which script draws chart number `place`."""
    title = escape(chart.title)
    return (
        f'<figure class="chart"><h4>{title}</h4>'
        f'<div class="plot" data-chart="{place}" role="img" aria-label="{title}"></div>'
        f"<figcaption>{unbroken(chart.caption)}</figcaption></figure>"
    )
