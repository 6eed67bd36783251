"""Photographs a report for the documentation: a wide window, a narrow one and a phone.

    python scripts/report_pictures.py RUN/report.html docs

In: a report. Out: `report.png` (1280 pixels wide, the README's picture), `report-narrow.png` (900) and `report-phone.png`
(390) in the folder. Needs playwright and Chromium: the one that is installed as `chromium`, else playwright's own.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTHS = {"report": 1280, "report-narrow": 900, "report-phone": 390}
"""Width of each picture in CSS pixels. It shows the page from its headline to the end of the graph."""
END = """() => Math.max(...[...document.querySelectorAll(".graph, .graph-list")]
  .map((drawing) => drawing.getBoundingClientRect().bottom)) + 24"""


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for name, width in WIDTHS.items():
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="light")
            page.goto(arguments.report.resolve().as_uri())
            page.wait_for_load_state("networkidle")
            page.set_viewport_size({"width": width, "height": int(page.evaluate(END))})
            page.screenshot(path=arguments.folder / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
