"""Series are thinned, colours can be told apart by every reader, and a chart says in words what it shows."""

import math
from itertools import combinations

import pytest

from dianoia.report.figures import (
    DARK_COLOURS,
    SERIES_COLOURS,
    describe,
    figure,
    line,
    numbered_line,
    thin,
)

# Linear RGB as seen without one kind of cone, at full severity (Machado, Oliveira and Fernandes 2009, table 1).
VISION = {
    "all cones": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "no L": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no M": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "no S": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}  # fmt: skip
PAPERS = {"light": "#fbfbf9", "dark": "#14171b"}
"""Backgrounds of the page, `--paper` in style.css."""
Triple = tuple[float, ...]


def linear(colour: str) -> Triple:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)


def times(matrix: tuple[Triple, ...], vector: Triple) -> Triple:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)


def oklab(rgb: Triple) -> Triple:
    """Perceptual coordinates, in which distances are about equal to the eye (Ottosson 2020)."""
    cones = times(
        ((0.4122214708, 0.5363325363, 0.0514459929), (0.2119034982, 0.6806995451, 0.1073969566),
         (0.0883024619, 0.2817188376, 0.6299787005)),
        tuple(min(1.0, max(0.0, c)) for c in rgb),
    )  # fmt: skip
    return times(
        ((0.2104542553, 0.7936177850, -0.0040720468), (1.9779984951, -2.4285922050, 0.4505937099),
         (0.0259040371, 0.7827717662, -0.8086757660)),
        tuple(c ** (1 / 3) for c in cones),
    )  # fmt: skip


def contrast(a: str, b: str) -> float:
    """Ratio of luminances as WCAG defines it."""
    darker, lighter = sorted(times(((0.2126, 0.7152, 0.0722),), linear(c))[0] for c in (a, b))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", PAPERS)
def test_six_colours_are_told_apart_by_every_reader(scheme: str, vision: str) -> None:
    colours = [DARK_COLOURS[c] if scheme == "dark" else c for c in SERIES_COLOURS]
    seen = {c: oklab(times(VISION[vision], linear(c))) for c in colours}
    assert len(seen) == 6
    # 0.02 is a just noticeable difference; lines of two pixels need several of them.
    assert all(math.dist(seen[a], seen[b]) > 0.09 for a, b in combinations(seen, 2))
    assert all(contrast(colour, PAPERS[scheme]) >= 3 for colour in colours), "WCAG, graphics"


def test_colours_repeat_with_other_dashes() -> None:
    lines = [numbered_line(i, f"stage {i}", [(0, 1), (1, 2)]) for i in range(8)]
    looks = {(trace["line"]["color"], trace["line"]["dash"]) for trace in lines}
    assert len(looks) == 8
    assert lines[0]["line"]["color"] == lines[6]["line"]["color"]


def test_a_long_line_has_few_symbols() -> None:
    sizes = numbered_line(0, "zero", [(float(i), 1.0) for i in range(40)])["marker"]["size"]
    # One of four points: the least spacing with at most twelve symbols.
    assert sizes[:5] == [7, 0, 0, 0, 7] and sizes.count(7) == 10


def test_a_chart_is_described_by_its_ends() -> None:
    trace = line("a & b", [(0, 0.142), (1, 0.5), (2, 0.958)], "#000000")
    chart = figure([trace], "optimizer step", share=True)
    assert describe(chart) == "lines over optimizer step; a &amp; b from 14.2 % to 95.8 %"
    numbers = figure([line("loss", [(1, 3.0), (2, 0.25)], "#000000")], "step", share=False)
    assert describe(numbers) == "lines over step; loss from 3.00 to 0.25"


def test_thin_averages_neighbours() -> None:
    points = [(float(i), 2.0 * i) for i in range(10)]
    assert thin(points, 10) == points
    assert thin(points, 5) == [(0.5, 1.0), (2.5, 5.0), (4.5, 9.0), (6.5, 13.0), (8.5, 17.0)]
    assert thin([], 5) == []
