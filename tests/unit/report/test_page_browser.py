"""The report in a real browser: nothing is fetched, nothing fails, and every width and scheme can be read."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dianoia.report import write_report
from dianoia.report.figures import BLUE, DARK_COLOURS
from tests.unit.report.r1 import build_r1

playwright = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.slow

WIDER = """() => [...document.querySelectorAll("main *")]
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".wide, .group, nav, .unseen"))
  .map((e) => e.tagName + "." + e.className)"""
"""Elements that stick out of the window, apart from those in boxes that scroll."""
DRAWN = "() => document.querySelectorAll('.plot[data-drawn]').length"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(build_r1(tmp_path_factory.mktemp("r1"))).resolve().as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        try:
            # Without a user namespace Chromium cannot sandbox itself.
            opened = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {error}")
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """Opens the report; at the end nothing has failed, and nothing but the file was requested."""
    pages, faults, requests = [], [], []

    def open_page(fragment: str = "", **options: Any) -> Any:
        page = browser.new_page(**options)
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address + fragment)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert faults == []
    assert {request.partition("#")[0] for request in requests if not request.startswith("blob:")} == {address}  # fmt: skip


@pytest.mark.parametrize(
    ("width", "drawing"), [(1400, ".graph.across"), (900, ".graph.down"), (390, ".graph-list")]
)
def test_each_width_shows_the_whole_graph_once(visit: Any, width: int, drawing: str) -> None:
    page = visit(viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(WIDER) == []
    shown = [s for s in (".graph.across", ".graph.down", ".graph-list") if page.is_visible(s)]
    assert shown == [drawing]
    # The last stage of the recipe's longest path is within the window, without scrolling.
    last = page.locator(f"{drawing} a[href='#stage-overoptimized']").bounding_box()
    assert last["x"] >= 0 and last["x"] + last["width"] <= width


def test_a_chart_is_drawn_when_its_stage_is_opened(visit: Any) -> None:
    page = visit(viewport={"width": 1400, "height": 900})
    page.locator("#curves").scroll_into_view_if_needed()
    page.wait_for_function(DRAWN)
    before = page.evaluate(DRAWN)
    stage = page.locator("details.stage", has=page.locator("#stage-dev2"))
    assert stage.get_attribute("open") is None
    stage.locator("summary").click()
    page.wait_for_function(f"() => ({DRAWN})() > {before}")
    assert stage.locator(".plot .main-svg").first.is_visible()


def test_a_link_opens_what_it_leads_to(visit: Any) -> None:
    page = visit("#claim-8", viewport={"width": 1400, "height": 900})
    assert page.locator("#claim-8").get_attribute("open") is not None
    page.locator(".graph.across a[href='#stage-dev2']").click()
    page.wait_for_function("() => document.querySelector('#stage-dev2').closest('details').open")
    assert page.locator("#stage-dev2").is_visible()


def test_the_dark_scheme_has_colours_of_its_own(visit: Any) -> None:
    colours = (
        "() => document.querySelector('.plot[data-drawn]').data.map((trace) => trace.line.color)"
    )
    page = visit(viewport={"width": 1400, "height": 900}, color_scheme="dark")
    page.locator("#curves").scroll_into_view_if_needed()
    page.wait_for_function(DRAWN)
    assert page.evaluate(colours)[0] == DARK_COLOURS[BLUE]
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"() => ({colours})()[0] === '{BLUE}'")


def test_paper_shows_every_claim_and_no_chart_is_cut(visit: Any, tmp_path: Path) -> None:
    page = visit(viewport={"width": 1400, "height": 900})
    page.wait_for_function("() => window.Plotly")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 720, "height": 1000})
    assert page.locator(".claims details[open]").count() == 12
    widths = page.evaluate(
        "() => [...document.querySelectorAll('.plot[data-drawn] .main-svg')].map((e) => e.clientWidth)"
    )
    assert widths and max(widths) <= 360, "two charts side by side on A4"
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert page.locator(".claims details[open]").count() == 0
    page.emulate_media(media="screen")
    assert page.pdf(path=tmp_path / "report.pdf", format="A4").startswith(b"%PDF")
