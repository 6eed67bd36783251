"""Charts as one static picture: SVG, which needs no script, in the colours of the reader's light or dark scheme.

In: the charts that a page draws with Plotly (`report.figures`): lines, marked points, dashed lines and bands over a numeric
x-axis. Out: SVG with the charts side by side. Left out: bars, categories, stacked areas, and labels when pointed at.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from dianoia.report.figures import BAND_OPACITY, DARK_COLOURS, Chart, describe
from dianoia.report.html_values import escape

_WIDTH, _HEIGHT = 340, 300
"""Of a chart, in pixels at the picture's own size."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 18, 66, 44
"""Margins of a chart around its axes."""
_CAPTION = 26
"""Height of the line of text below the charts."""
_CHARACTER = 7
"""Mean width of a character of the legend, which no one can measure before it is drawn."""
_INK, _SOFT, _GRID, _PAPER = (
    ("#1c2026", "#e6e8ea"),
    ("#59616c", "#9aa3ae"),
    ("#e3e4e2", "#30363e"),
    ("#fbfbf9", "#14171b"),
)
"""Colours of the page, for light and dark: `--ink`, `--soft`, `--rule` and `--paper` of style.css."""

Trace = Mapping[str, Any]


def svg_picture(charts: Sequence[Chart], title: str, caption: str) -> str:
    """Return charts side by side as SVG, a line of text below them; what they show is told in words too."""
    colours = list(dict.fromkeys(t["line"]["color"] for c in charts for t in c.figure["data"]))
    # Names are escaped already, as they stand in the figures.
    words = ". ".join(f"{escape(chart.title)}: {describe(chart.figure)}" for chart in charts)
    body = "".join(
        f'<g transform="translate({number * _WIDTH} 0)">{_panel(chart, colours)}</g>'
        for number, chart in enumerate(charts)
    )
    width, height = _WIDTH * len(charts), _HEIGHT + _CAPTION
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="title words"><title id="title">{escape(title)}</title>'
        f'<desc id="words">{words}</desc><style>{_style(colours)}</style>'
        f'<rect class="paper" width="{width}" height="{height}"/>{body}'
        f'<text x="{_LEFT}" y="{height - 14}">{escape(caption)}</text></svg>\n'
    )


def _style(colours: Sequence[str]) -> str:
    """Return the rules of both schemes. The picture has its own paper, as the page around it may be in the other scheme."""

    def rules(scheme: int) -> str:
        series = "".join(
            f".s{n}{{stroke:{shade}}}.f{n}{{fill:{shade}}}"
            for n, colour in enumerate(colours)
            for shade in [(colour, DARK_COLOURS.get(colour, colour))[scheme]]
        )
        return (
            f"text{{fill:{_SOFT[scheme]}}}.title{{fill:{_INK[scheme]}}}.rule{{stroke:{_GRID[scheme]}}}"
            f".paper{{fill:{_PAPER[scheme]}}}{series}"
        )

    return (
        'text{font:12px system-ui,-apple-system,"Segoe UI","Noto Sans",Arial,sans-serif}'
        ".title{font-size:14px;font-weight:600}.line{fill:none;stroke-width:2;stroke-linejoin:round}"
        f".band{{fill-opacity:{BAND_OPACITY};stroke:none}}{rules(0)}"
        f"@media (prefers-color-scheme:dark){{{rules(1)}}}"
    )


# One chart -------------------------------------------------------------------------------------------


def _panel(chart: Chart, colours: Sequence[str]) -> str:
    """Return the title, legend, axes and series of a chart."""
    traces = [trace for trace in chart.figure["data"] if trace["x"]]
    layout = chart.figure["layout"]
    share = "%" in layout["yaxis"].get("tickformat", "")
    x_ticks = ticks(max((x for trace in traces for x in trace["x"]), default=1), 6, whole=True)
    # Shares have the whole axis, as on the page.
    y_ticks = [0, 0.25, 0.5, 0.75, 1] if share else ticks(_highest(traces), 5)
    scale = _Scale(x_ticks[-1], y_ticks[-1])
    lines = [trace for trace in traces if "fill" not in trace]
    return "".join(
        [
            f'<text class="title" x="{_LEFT}" y="24">{escape(chart.title)}</text>',
            *_legend(lines, colours),
            *_axes(x_ticks, y_ticks, scale, share, layout["xaxis"]["title"]["text"]),
            *(part for trace in traces for part in _series(trace, colours, scale)),
        ]
    )


class _Scale:
    """From values to pixels; both axes begin at 0."""

    def __init__(self, x_max: float, y_max: float) -> None:
        self._x_factor = (_WIDTH - _LEFT - _RIGHT) / x_max
        self._y_factor = (_HEIGHT - _TOP - _BOTTOM) / y_max

    def x(self, value: float) -> float:
        return round(_LEFT + value * self._x_factor, 1)

    def y(self, value: float) -> float:
        return round(_HEIGHT - _BOTTOM - value * self._y_factor, 1)


def ticks(highest: float, count: int, whole: bool = False) -> list[float]:
    """Return round values from 0 to `highest` or above, with at most `count` steps; whole numbers alone with `whole`."""
    # Nothing but zeros still needs an axis.
    highest = highest if highest > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(highest / count))
    steps = [f * power * 10**n for n in (0, 1) for f in (1, 2, 2.5, 5)] + [100 * power]
    step = next(
        s
        for s in steps
        if s * count >= highest * (1 - 1e-9) and (not whole or (s >= 1 and s == int(s)))
    )
    return [round(step * n, 10) for n in range(math.ceil(highest / step - 1e-9) + 1)]


def _highest(traces: Sequence[Trace]) -> float:
    return max((y for trace in traces for y in trace["y"]), default=1.0)


def _axes(
    x_ticks: Sequence[float], y_ticks: Sequence[float], scale: _Scale, share: bool, x_title: str
) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for value in y_ticks:
        y = scale.y(value)
        text = f"{100 * value:g} %" if share else f"{value:,g}"
        yield f'<path class="rule" d="M{_LEFT} {y}H{right}"/>'
        yield f'<text x="{_LEFT - 7}" y="{y + 4}" text-anchor="end">{text}</text>'
    for value in x_ticks:
        yield f'<text x="{scale.x(value)}" y="{bottom + 18}" text-anchor="middle">{value:,g}</text>'
    yield f'<text x="{(_LEFT + right) / 2}" y="{bottom + 36}" text-anchor="middle">{x_title}</text>'


def _legend(lines: Sequence[Trace], colours: Sequence[str]) -> Iterator[str]:
    """Yield the name of each line beside a piece of it; a single one needs no piece."""
    if len(lines) == 1:
        yield f'<text x="{_LEFT}" y="48">{lines[0]["name"]}</text>'
        return
    x = float(_LEFT)
    for trace in lines:
        yield f'<path class="line s{colours.index(trace["line"]["color"])}" d="M{x:g} 44h16"{_dash(trace)}/>'
        yield f'<text x="{x + 21:g}" y="48">{trace["name"]}</text>'
        x += 21 + _CHARACTER * len(trace["name"]) + 14


def _series(trace: Trace, colours: Sequence[str], scale: _Scale) -> Iterator[str]:
    number = colours.index(trace["line"]["color"])
    points = [(scale.x(x), scale.y(y)) for x, y in zip(trace["x"], trace["y"], strict=True)]
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
    if "fill" in trace:
        yield f'<path class="band f{number}" d="{path}Z"/>'
        return
    if any(pairwise(points)):
        yield f'<path class="line s{number}" d="{path}"{_dash(trace)}/>'
    if "markers" in trace["mode"]:
        yield from (f'<circle class="f{number}" cx="{x:g}" cy="{y:g}" r="2.6"/>' for x, y in points)


def _dash(trace: Trace) -> str:
    return ' stroke-dasharray="2 4"' if trace["line"].get("dash") == "dot" else ""
