"""Charts as Plotly figures, and their HTML frames.

In: series of points. Out: a `Chart`: title, caption and Plotly figure; and the HTML that holds one.
Not here: which charts there are (`sections/chart_plans.py`), and the reader's light or dark scheme, for which
`assets/charts.js` takes the colours of text and grid from the page and exchanges those of the series.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dianoia.report.html_values import embed, escape, plain, unbroken
from dianoia.storage.estimate import Estimate

BLUE, GREY, ORANGE, TEAL, PURPLE, RED = (
    "#012bd1", "#8a929d", "#d97a00", "#077f6b", "#6d3b90", "#960e2e",
)  # fmt: skip
"""Colours of series on white. They differ in lightness as well as in hue, so that readers with any kind of colour
blindness tell them apart; found by a search for the largest difference between the two nearest (OKLab)."""
DARK_COLOURS = dict(
    zip(
        (BLUE, GREY, ORANGE, TEAL, PURPLE, RED),
        ("#5969d5", "#8b939e", "#ff961c", "#55e5b3", "#bfaeff", "#ec4a3b"),
        strict=True,
    )
)
"""The colours that take their places in the dark scheme, found in the same way on near-black."""
SERIES_COLOURS = (BLUE, ORANGE, TEAL, PURPLE, RED, GREY)
"""Colours of series without a meaning of their own, in the order of use."""
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "triangle-down", "cross")
_MAX_SYMBOLS = 12
"""Symbols on a line."""
_DASHES = ("solid", "dash", "dot")

Point = tuple[float, float]
MAX_POINTS = 300
"""Points per series; longer series are averaged."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A Plotly figure with its title and caption."""

    title: str
    caption: str
    """HTML that is already escaped."""
    figure: Mapping[str, Any]
    """`data` and `layout` as Plotly reads them."""


def thin(points: Sequence[Point], limit: int = MAX_POINTS) -> list[Point]:
    """Reduce a series to at most `limit` points by averaging runs of neighbours."""
    size = -(-len(points) // limit) if points else 1  # points per bin, rounded up
    if size == 1:
        return list(points)
    bins = [points[i : i + size] for i in range(0, len(points), size)]
    return [(_mean([x for x, _ in b]), _mean([y for _, y in b])) for b in bins]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _rounded(value: float) -> float:
    """Round to five significant digits: more than a screen shows, and the file stays small."""
    return float(f"{value:.5g}")


def line(
    name: str, points: Sequence[Point], colour: str, style: str = "line", share: bool = False
) -> dict[str, Any]:
    """Return one series as a Plotly trace.

    `style` is "line", "dots" (a line through marked points), "dashed" or "stacked". `share`: values from
    0 to 1, shown in percent.
    """
    thinned = thin(points)
    trace: dict[str, Any] = {
        "type": "scatter",
        "name": escape(name),
        # A single point has no line, so it is drawn as a dot in any style.
        "mode": "lines+markers" if style == "dots" or len(thinned) == 1 else "lines",
        "x": [_rounded(x) for x, _ in thinned],
        "y": [_rounded(y) for _, y in thinned],
        "line": {"color": colour, "width": 2, "dash": "dot" if style == "dashed" else "solid"},
        "marker": {"color": colour, "size": 6},
        # Labels are Plotly's format strings: d3 formats after the colon.
        "hovertemplate": "%{y:.1%}" if share else "%{y:.4~g}",
    }
    if style == "stacked":
        # "hvh" draws steps: each value holds half-way to its neighbours.
        trace |= {"stackgroup": "one", "line": {"color": colour, "width": 0.5, "shape": "hvh"}}
    return trace


def numbered_line(
    index: int, name: str, points: Sequence[Point], share: bool = False
) -> dict[str, Any]:
    """Return series number `index` of a chart that lays equal things over each other.

    Colour and symbol tell series apart, and from the seventh on, where colours repeat, also the dashes.
    """
    rounds, colour = divmod(index, len(SERIES_COLOURS))
    trace = line(name, points, SERIES_COLOURS[colour], "dots", share)
    trace["line"] |= {"dash": _DASHES[rounds % len(_DASHES)]}
    # Many symbols would hide the line: then only some points have one.
    spacing = -(-len(trace["x"]) // _MAX_SYMBOLS)
    trace["marker"] |= {
        "symbol": _SYMBOLS[index % len(_SYMBOLS)],
        "line": {"width": 0},
        "size": [7 if point % spacing == 0 else 0 for point in range(len(trace["x"]))],
    }
    return trace


BAND_OPACITY = 0.18


def band(name: str, lows: Sequence[Point], highs: Sequence[Point], colour: str) -> dict[str, Any]:
    """Return the area between two series over the same x values as a Plotly trace, which says nothing when pointed at."""
    outline = [*lows, *reversed(highs)]
    return {
        "type": "scatter",
        "name": escape(name),
        "mode": "lines",
        "x": [_rounded(x) for x, _ in outline],
        "y": [_rounded(y) for _, y in outline],
        "fill": "toself",
        "fillcolor": colour,
        "opacity": BAND_OPACITY,
        "line": {"color": colour, "width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def with_errors(
    name: str, categories: Sequence[str], estimates: Sequence[Estimate], colour: str, share: bool
) -> dict[str, Any]:
    """Return a trace of estimates over named categories, with their intervals as error bars."""
    # Plotly wants the distances from the value, not the bounds, and no negative ones.
    above = [0.0 if e.high is None else max(0.0, e.high - e.value) for e in estimates]
    below = [0.0 if e.low is None else max(0.0, e.value - e.low) for e in estimates]
    trace = line(name, [], colour, "dots", share)
    return trace | {
        "x": [escape(category) for category in categories],
        "y": [_rounded(e.value) for e in estimates],
        "error_y": {
            "type": "data", "symmetric": False, "array": above, "arrayminus": below,
            "color": colour, "thickness": 1.4, "width": 4,
        },
    }  # fmt: skip


def figure(
    traces: Sequence[Mapping[str, Any]],
    x_title: str,
    *,
    share: bool,
    categorical: bool = False,
    small: bool = False,
) -> dict[str, Any]:
    """Return a Plotly figure of several traces over one x-axis.

    `categorical`: x values are names, not numbers. `share`: the y-axis goes from 0 to 100 %.
    `small`: the y-axis is in percent, but only as high as the data.
    """
    y_axis = (
        {"tickformat": ".0%", "range": [-0.02, 1.03]}
        if share
        else {"rangemode": "tozero", "exponentformat": "e"}
    )
    # Without a range of its own, Plotly fits the axis to the data.
    y_axis |= {"tickformat": ".2~%"} if small else {}
    x_axis = {"type": "category"} if categorical else {"rangemode": "tozero"}
    return {
        "data": list(traces),
        "layout": {
            "xaxis": {"title": {"text": escape(x_title), "standoff": 8}, **x_axis},
            "yaxis": {"nticks": 6, **y_axis},
            # A single series is named by the title of its chart.
            "showlegend": len(traces) > 1,
        },
    }


def grid(charts: Sequence[Chart], level: int = 4) -> str:
    """Return the HTML of several charts side by side; `level` is that of their headings."""
    return f'<div class="grid">{"".join(_frame(chart, level) for chart in charts)}</div>'


def _frame(chart: Chart, level: int) -> str:
    """Return the HTML of a chart; `assets/charts.js` draws the JSON that follows the empty plot."""
    title = escape(chart.title)
    return (
        f'<figure class="chart"><h{level}>{title}</h{level}>'
        f'<div class="plot" role="img" aria-label="{title}: {describe(chart.figure)}"></div>'
        f'<script type="application/json" class="plot-data">{embed(chart.figure)}</script>'
        f"<figcaption>{unbroken(chart.caption)}</figcaption></figure>"
    )


def describe(figure: Mapping[str, Any]) -> str:
    """Return what a chart shows in words, for readers who do not see it: first and last value of every series."""
    layout = figure["layout"]
    in_percent = "%" in layout["yaxis"].get("tickformat", "")

    def text(value: float) -> str:
        return f"{100 * value:.1f} %" if in_percent else plain(value)

    # Names are escaped already, as they stand in the figure.
    series = [
        f"{trace['name']} from {text(trace['y'][0])} to {text(trace['y'][-1])}"
        for trace in figure["data"]
        # Bands only go with the lines in them.
        if trace["y"] and "fill" not in trace
    ]
    return f"lines over {layout['xaxis']['title']['text']}; {'; '.join(series)}"
