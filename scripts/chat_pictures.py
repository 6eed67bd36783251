"""Photographs the chat page for the documentation: a wide window, a narrow one and a phone.

    dianoia serve runs/miniature-r1 --port 8000
    python scripts/chat_pictures.py http://127.0.0.1:8000 docs

In: the address of a served run of the miniature. Out, in the folder: `chat-examples.png` (1280 pixels wide, the page as it opens),
`chat-page.png` (1280, two checkpoints on one question), `chat-narrow.png` (900, one checkpoint) and `chat-phone.png` (390, in dark
colours). Needs playwright, Chromium as in `report_pictures.py`, and a font with Chinese characters.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

QUESTION = (
    "Tom has 25 nuts, Monday doubles them, Tuesday buys 2 more, Wednesday loses 6. How many now?"
)
ANSWER_SECONDS = 60.0
SEED = "1"


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("address")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = _open(browser, arguments.address, 1280, 640)
        page.screenshot(path=arguments.folder / "chat-examples.png")
        page.get_by_role("button", name="Compare").click()
        page.get_by_label("Model", exact=True).select_option("r1")
        page.get_by_label("Second model").select_option("base")
        _ask(page, 2)
        page.screenshot(path=arguments.folder / "chat-page.png")
        for name, width, height, scheme in (
            ("chat-narrow", 900, 600, "light"),
            ("chat-phone", 390, 720, "dark"),
        ):
            page = _open(browser, arguments.address, width, height, dark=scheme == "dark")
            _ask(page, 1)
            page.screenshot(path=arguments.folder / f"{name}.png")
        browser.close()


def _open(browser: Browser, address: str, width: int, height: int, dark: bool = False) -> Page:
    """Return the page in a window of its own, with the seed set."""
    page = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    ).new_page()
    page.goto(address)
    page.locator("#example-list button").first.wait_for()
    page.get_by_role("button", name="Settings", exact=True).click()
    page.get_by_label("Seed").fill(SEED)
    page.get_by_role("button", name="Done").click()
    return page


def _ask(page: Page, answers: int) -> None:
    """Ask the question, wait for the verdicts, and open the thoughts."""
    page.get_by_label("Your question").fill(QUESTION)
    page.keyboard.press("Enter")
    for mark in (".verdict:visible", ".meta:visible"):
        expect(page.locator(mark)).to_have_count(answers, timeout=1000 * ANSWER_SECONDS)
    for thought in page.locator(".thought:visible summary").all():
        thought.click()
    # The pointer and the focus leave no trace in the picture.
    page.mouse.move(0, 0)


if __name__ == "__main__":
    main()
