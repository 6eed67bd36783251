"""Charts as SVG: values stand where their axes say, in both schemes, and no text of a run is markup."""

import xml.etree.ElementTree as ET

import pytest

from dianoia.report.figures import BLUE, DARK_COLOURS, ORANGE, Chart, band, figure, line
from dianoia.report.svg_figure import svg_picture, ticks

SPACE = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("highest", "count", "whole", "values"),
    [
        (40, 6, True, [0, 10, 20, 30, 40]),
        (3, 6, True, [0, 1, 2, 3]),
        (58.7, 5, False, [0, 20, 40, 60]),
        (1.2, 5, False, [0, 0.25, 0.5, 0.75, 1.0, 1.25]),
        (14_000, 5, False, [0, 5000, 10_000, 15_000]),
        (0.0, 5, False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0003, 5, False, [0, 0.0001, 0.0002, 0.0003]),
    ],
)
def test_ticks_are_round(highest: float, count: int, whole: bool, values: list[float]) -> None:
    assert ticks(highest, count, whole) == pytest.approx(values)


def test_values_stand_where_the_axes_say() -> None:
    low, mid, high = ([(0.0, y), (10.0, y + 0.5)] for y in (0.0, 0.25, 0.5))
    traces = [
        band("range", low, high, BLUE),
        line("pass@1", mid, BLUE, "dots", True),
        line("a < b", [(0.0, 1.0), (10.0, 1.0)], ORANGE, "dashed", True),
    ]
    chart = Chart("Accuracy & more", "", figure(traces, "optimizer step", share=True))
    root = ET.fromstring(svg_picture([chart, chart], "R1 <zero>", "Lines: mean."))
    assert (root.get("width"), root.get("height")) == ("680", "326")
    texts = [element.text for element in root.iter(f"{SPACE}text")]
    assert texts.count("Accuracy & more") == 2 and texts[-1] == "Lines: mean."
    assert {"0 %", "25 %", "100 %", "pass@1", "a < b", "optimizer step", "10"} <= set(texts)
    paths = {element.get("class"): element.get("d") for element in root.iter(f"{SPACE}path")}
    # From 50 to 322 pixels across, and from 256 up to 66.
    assert paths["line s1"] == "M50 66L322 66"
    assert paths["line s0"] == "M50 208.5L322 113.5"
    assert paths["band f0"] == "M50 256L322 161L322 66L50 161Z"
    dots = [(c.get("cx"), c.get("cy")) for c in root.iter(f"{SPACE}circle")]
    assert dots == [("50", "208.5"), ("322", "113.5")] * 2
    words = root.find(f"{SPACE}desc")
    assert words is not None and words.text is not None
    assert "pass@1 from 25.0 % to 75.0 %; a < b from 100.0 %" in words.text
    assert "range" not in words.text


def test_both_schemes_have_their_colours() -> None:
    chart = Chart("x", "", figure([line("y", [(0, 1), (1, 2)], BLUE)], "step", share=False))
    light, _, dark = svg_picture([chart], "t", "c").partition("@media (prefers-color-scheme:dark)")
    assert f".s0{{stroke:{BLUE}}}" in light and f".s0{{stroke:{DARK_COLOURS[BLUE]}}}" in dark


def test_a_single_point_is_a_dot() -> None:
    chart = Chart("x", "", figure([line("y", [(4.0, 2.0)], BLUE)], "step", share=False))
    root = ET.fromstring(svg_picture([chart], "t", "c"))
    assert [c.get("cx") for c in root.iter(f"{SPACE}circle")] == ["322"]
