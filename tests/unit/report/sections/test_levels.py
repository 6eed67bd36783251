"""Heat maps of accuracy by level: a table that reads without its colours."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dianoia.report.run_reader import Run, load
from dianoia.report.sections.levels import section
from dianoia.storage.estimate import Estimate
from tests.unit.report.r1 import build_r1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load(build_r1(tmp_path_factory.mktemp("r1")))


class Tables(HTMLParser):
    """Rows of every table, as the texts of their cells, with scopes."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.scopes: list[str | None] = []
        self.in_cell = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("th", "td"):
            self.in_cell = True
            self.tables[-1][-1].append("")
        if tag == "th":
            self.scopes.append(dict(attributes).get("scope"))

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.tables[-1][-1][-1] += data


def at(share: float) -> dict[str, Estimate]:
    return {"pass@1": Estimate(share, share - 0.1, share + 0.05, 40)}


def test_cells_have_numbers_and_colours(run: Run) -> None:
    levels = {"10": at(0.123), "2": at(0.9)}
    evaluations = {"zero": {"math": at(0.5)}, "<base>": {"math": at(0.25)}}
    hard = replace(run, evaluations=evaluations, stage_table=(),
                   by_difficulty={"<base>": {"math": {"2": at(0.0)}}, "zero": {"math": levels, "code": {"2": at(1.0)}}})  # fmt: skip
    html = section(hard)
    parser = Tables()
    parser.feed(html)
    # Level 10 comes after 2, a level that was not measured is a dash, and code with one level has no map.
    assert parser.tables == [
        [["level", "2", "10", "all"], ["<base>", "0", "–", "25"], ["zero", "90", "12", "50"]]
    ]
    assert parser.scopes == ["col"] * 4 + ["row"] * 2
    assert re.findall(r"--share:(\d+)%", html) == ["0", "25", "90", "12", "50"]
    assert 'title="90.0\u00a0%, 95 % interval 80.0 to 95.0, 40 problems"' in html


def test_every_checkpoint_has_a_row_those_of_the_paper_first(run: Run) -> None:
    parser = Tables()
    parser.feed(section(run))
    (table,) = parser.tables
    names = [row[0] for row in table[1:]]
    assert names[:6] == ["miniature-base", "zero", "dev1", "dev2", "dev3", "r1"]
    assert set(names) == set(run.by_difficulty)


def test_without_levels_there_is_nothing(run: Run) -> None:
    assert section(replace(run, by_difficulty={})) == ""


def test_the_page_has_colours_for_both_schemes() -> None:
    style = Path("dianoia/report/assets/style.css").read_text("utf-8")
    # The ink of either scheme stands on a full cell with a contrast of at least 4.5 (WCAG 2.2, 1.4.3).
    for scheme in (style.partition("@media")[0], style.partition("@media")[2]):
        colours = [re.search(rf"--{name}: #(\w+)", scheme) for name in ("ink", "heat")]
        ink, heat = (_luminance(match[1]) for match in colours if match)
        assert (max(ink, heat) + 0.05) / (min(ink, heat) + 0.05) >= 4.5


def _luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
