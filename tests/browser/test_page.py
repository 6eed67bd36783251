"""The chat page in a headless Chromium, against the real server. Skips where one of them is missing."""

import json
import os
import re
import shutil
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dianoia.bases import shipped_model
from tests.smoke.commands import Command

pytest.importorskip("playwright")
pytest.importorskip("dianoia.cli.serve")
pytest.importorskip("starlette")
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Request,
    Route,
    expect,
    sync_playwright,
)

QUESTION = "Lily faces east. Turns: a right, b back, c right. Which way now?"
"""A held-out problem of the miniature; the answer is east."""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)  # fmt: skip
KEY = "a-key-of-the-tests"
SECONDS = 30


class Scripted:
    """A stream that waits for the test: a thought, then an answer after `go`, and its end after `end`."""

    def __init__(self) -> None:
        self.go, self.end, self.gone = threading.Event(), threading.Event(), threading.Event()
        """`gone` is set when the page has ended the request before the end."""
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self._send({"delta": {"reasoning_content": "I count."}})
                script.go.wait(SECONDS)
                self._send({"delta": {"content": "It is five."}})
                while not script.end.wait(0.1):
                    try:
                        self.wfile.write(b": a comment keeps the connection open\n\n")
                    except OSError:
                        script.gone.set()
                        return
                self._send({"delta": {}, "finish_reason": "stop"})
                self.wfile.write(b"data: [DONE]\n\n")

            def _send(self, choice: dict[str, Any]) -> None:
                self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.go.set()
        self.end.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    script = Scripted()
    yield script
    script.close()


@dataclass
class Visit:
    """A page, and what it did that it should not have done."""

    page: Page
    requests: list[str] = field(default_factory=list)
    """Addresses of other hosts."""
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings on the console, and errors of scripts."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """What was sent to the completions."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints: its base, and what stands for a trained model."""
    folder = tmp_path_factory.mktemp("page") / "small"
    checkpoint = folder / "stages" / "zero" / "checkpoint"
    shipped = shipped_model("miniature-base-small")
    assert shipped is not None
    shutil.copytree(shipped, checkpoint)
    stages = {"zero": {"kind": "rl", "start": "miniature-base-small", "template": "r1-zero"}}
    recipe = {"name": "small", "stages": stages}
    (folder / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def url(run: Path) -> Iterator[str]:
    """The address of a server of the run."""
    with _server(["serve", str(run)]) as address:
        yield address


@pytest.fixture(scope="session")
def url_with_key(run: Path) -> Iterator[str]:
    """The address of a server that asks for `KEY`."""
    with _server(["serve", str(run), "--key", KEY]) as address:
        yield address


@contextmanager
def _server(arguments: list[str]) -> Iterator[str]:
    """Start a server, wait until it answers, and stop it as Ctrl-C does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{address}health", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            time.sleep(0.1)
            return False

    with Command([*arguments, "--port", str(port)]) as command:
        command.wait_until(answers)
        yield address
        os.kill(command.pid, signal.SIGINT)
        command.finish()


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Callable[..., Visit]]:
    """Open the page in a context of its own; at the end it must not have asked other hosts, nor complained."""
    contexts: list[BrowserContext] = []
    visits: list[Visit] = []

    def open_page(
        width: int = 1200, height: int = 850, address: str = url, **options: Any
    ) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SECONDS * 1000)
        visited = Visit(page)
        visits.append(visited)
        page.on("request", lambda request: _note_request(visited, request, address))
        page.on("console", lambda message: visited.complaints.append(message.text))
        page.on("pageerror", lambda error: visited.complaints.append(str(error)))
        page.goto(address)
        return visited

    yield open_page
    for context in contexts:
        context.close()
    assert not [request for visited in visits for request in visited.requests]
    assert not [complaint for visited in visits for complaint in visited.complaints]


def _note_request(visited: Visit, request: Request, address: str) -> None:
    if not request.url.startswith((address, "data:")):
        visited.requests.append(request.url)
    if request.url.endswith("/v1/chat/completions"):
        visited.bodies.append(json.loads(request.post_data))


Open = Callable[..., Visit]
COMPLETIONS = "**/v1/chat/completions"


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")


def answered(page: Page, count: int = 1) -> None:
    """Wait until all answers of the last turn have ended."""
    expect(page.locator(".turn:last-child .meta:visible")).to_have_count(count, timeout=60_000)


def stream(route: Route, *deltas: dict[str, str], finish: str = "stop") -> None:
    """Answer a request as the server would, with texts that no small model writes."""
    choices = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    choices.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    body = "".join(f"data: {json.dumps(choice)}\n\n" for choice in choices)
    route.fulfill(content_type="text/event-stream", body=body + "data: [DONE]\n\n")


@pytest.mark.slow
def test_a_question_is_answered_graded_and_survives_a_reload(visit: Open) -> None:
    page = visit().page
    page.get_by_role("button", name=QUESTION).click()
    expect(page.locator(".question")).to_have_text(f"You asked: {QUESTION}")
    verdict = page.locator(".verdict")
    expect(verdict).to_have_text(re.compile(r"✓ Right|✗ Wrong.*expected: east"), timeout=60_000)
    said = page.locator(".said").inner_text()
    expect(page.get_by_role("button", name="Example")).to_be_visible()
    page.reload()
    expect(page.locator(".said")).to_have_text(said)
    expect(page.locator(".question")).to_have_text(f"You asked: {QUESTION}")
    page.get_by_role("button", name="New").click()
    expect(page.locator(".turn")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".said")).to_have_text(said)


@pytest.mark.slow
def test_a_thought_is_open_while_it_comes_and_folds_before_the_answer(
    visit: Open, scripted: Scripted
) -> None:
    page = visit().page
    page.route(COMPLETIONS, lambda route: route.continue_(url=scripted.address))
    ask(page, QUESTION)
    thought = page.locator(".thought")
    expect(thought).to_have_attribute("open", "")
    label = thought.locator("summary")
    expect(label).to_have_text(re.compile(r"Thinking · \d+(\.\d)? s · 1 token"))
    expect(thought.locator(".text")).to_have_text("I count.")
    scripted.go.set()
    expect(page.locator(".said")).to_have_text("It is five.")
    expect(thought).not_to_have_attribute("open", "")
    scripted.end.set()
    answered(page)
    expect(label).to_have_text(re.compile(r"Thought for \d+(\.\d)? s · 1 token"))
    label.click()
    expect(thought.locator(".text")).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["button", "escape"])
def test_an_answer_is_stopped_and_the_next_one_comes(
    visit: Open, scripted: Scripted, way: str
) -> None:
    page = visit().page
    page.route(COMPLETIONS, lambda route: route.continue_(url=scripted.address))
    ask(page, QUESTION)
    scripted.go.set()
    expect(page.locator(".said")).to_have_text("It is five.")
    page.get_by_label("Stop").click() if way == "button" else page.keyboard.press("Escape")
    expect(page.locator(".ended")).to_have_text("Stopped before the end.")
    expect(page.get_by_label("Your question")).to_be_focused()
    # The server is not left writing for nobody.
    assert scripted.gone.wait(SECONDS)
    page.unroute(COMPLETIONS)
    ask(page, QUESTION)
    answered(page)
    expect(page.locator(".turn:last-child .verdict")).to_be_visible()
    expect(page.locator(".said").first).to_have_text("It is five.")


@pytest.mark.slow
def test_two_models_answer_side_by_side(visit: Open) -> None:
    visited = visit()
    page = visited.page
    page.get_by_role("button", name="Compare").click()
    first, second = page.get_by_label("Model", exact=True), page.get_by_label("Second model")
    assert {first.input_value(), second.input_value()} == {"base", "zero"}
    ask(page, QUESTION)
    answered(page, 2)
    assert [body["model"] for body in visited.bodies] == [first.input_value(), second.input_value()]
    left, right = (answer.bounding_box() for answer in page.locator(".answer").all())
    assert left is not None and right is not None
    assert left["y"] == right["y"] and left["x"] < right["x"]
    expect(page.locator(".answer h3")).to_have_text([first.input_value(), second.input_value()])
    page.reload()
    expect(page.locator(".answer")).to_have_count(2)
    expect(page.get_by_label("Second model")).to_have_value(second.input_value())


@pytest.mark.slow
def test_a_hostile_answer_stays_text(visit: Open) -> None:
    page = visit().page
    hostile = (
        '<img src=x onerror="document.title=1"><script>document.title=2</script>**<b>bold</b>**'
    )
    page.route(COMPLETIONS, lambda route: stream(route, {"reasoning_content": hostile}, {"content": f"{hostile}\n```\n{hostile}\n```\n`{hostile}` \\boxed{{{hostile}}}"}))  # fmt: skip
    ask(page, hostile)
    answered(page)
    assert page.locator("main img, main script, main b:not(.verdict b)").count() == 0
    assert page.locator(".thought .text").text_content() == hostile
    assert (page.locator(".said").text_content() or "").count("<img src=x") == 4
    expect(page.locator(".said strong")).to_have_text("<b>bold</b>")
    expect(page.locator(".said .boxed")).to_have_count(1)
    page.reload()
    assert page.locator("main img, main script").count() == 0


@pytest.mark.slow
def test_earlier_turns_are_sent_when_asked_for_and_without_thoughts(visit: Open) -> None:
    visited = visit()
    page = visited.page
    page.route(COMPLETIONS, lambda route: stream(route, {"reasoning_content": "secret"}, {"content": "said"}))  # fmt: skip
    for question in ("one", "two"):
        ask(page, question)
        answered(page)
    # Models of the miniature were trained on single questions.
    assert visited.bodies[1]["messages"] == [{"role": "user", "content": "two"}]
    page.get_by_role("button", name="Settings", exact=True).click()
    page.get_by_label("System text").fill("Be brief.")
    page.get_by_label("Send earlier turns").check()
    page.get_by_role("button", name="Done").click()
    ask(page, "three")
    answered(page)
    roles = [(m["role"], m["content"]) for m in visited.bodies[2]["messages"]]
    assert roles == [("system", "Be brief."), ("user", "one"), ("assistant", "said"), ("user", "two"), ("assistant", "said"), ("user", "three")]  # fmt: skip
    assert "secret" not in json.dumps(visited.bodies)


@pytest.mark.slow
def test_settings_are_sent_and_kept_and_nonsense_is_not(visit: Open) -> None:
    visited = visit()
    page = visited.page
    _settings(page, temperature="0.3", max_tokens="40", seed="7")
    ask(page, QUESTION)
    answered(page)
    sent = visited.bodies[0]
    assert (sent["temperature"], sent["max_tokens"], sent["seed"]) == (0.3, 40, 7)
    assert "top_p" not in sent
    page.get_by_role("button", name="Settings", exact=True).click()
    page.get_by_label("Temperature").fill("3")
    expect(page.locator("#settings-error")).to_have_text(re.compile("^Temperature: "))
    page.keyboard.press("Escape")
    page.reload()
    page.get_by_role("button", name="Settings", exact=True).click()
    expect(page.get_by_label("Temperature")).to_have_value("0.3")


@pytest.mark.slow
def test_dark_mode_follows_the_system_and_the_button(visit: Open) -> None:
    page = visit(color_scheme="dark").page
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_label("Use light colours").click()
    assert page.evaluate(background) != dark
    page.reload()
    assert page.evaluate(background) != dark
    page.get_by_label("Use dark colours").click()
    assert page.evaluate(background) == dark


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 900])
def test_no_width_needs_to_be_scrolled_sideways(visit: Open, width: int) -> None:
    page = visit(width=width, height=700).page
    page.route(COMPLETIONS, lambda route: stream(route, {"reasoning_content": "x" * 400}, {"content": f"{'y' * 400}\n```\n{'z' * 400}\n```"}))  # fmt: skip
    page.get_by_role("button", name="Compare").click()
    ask(page, "w" * 300)
    answered(page, 2)
    page.locator("summary").first.click()
    for opened in (False, True):
        if opened:
            page.get_by_role("button", name="Settings", exact=True).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_the_keyboard_alone_is_enough(visit: Open) -> None:
    visited = visit()
    page = visited.page
    area = page.get_by_label("Your question")
    expect(area).to_be_focused()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    expect(area).to_have_value("one\ntwo")
    # Enter that ends a word of an input method does not send it.
    area.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    assert not visited.bodies
    page.keyboard.press("Enter")
    answered(page)
    assert visited.bodies[0]["messages"][-1]["content"] == "one\ntwo"
    expect(area).to_have_value("")
    # From the top: model, compare, new, colours, settings.
    page.locator("h1").evaluate("(node) => { node.tabIndex = -1; node.focus(); }")
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached == ["model-0", "compare", "new", "theme", "settings"]
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#settings")).to_be_focused()


@pytest.mark.slow
def test_screen_readers_find_names_and_hear_the_end(visit: Open) -> None:
    page = visit().page
    ask(page, QUESTION)
    answered(page)
    expect(page.get_by_role("status")).to_have_text(re.compile("Right|Wrong"))
    expect(page.get_by_role("log", name="Conversation")).to_be_visible()
    expect(page.get_by_role("article", name="Answer of")).to_be_visible()
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, select, input, textarea')].filter((node) => "
        "!node.labels?.length && !node.getAttribute('aria-label') && !node.textContent.trim()).length"
    )
    assert nameless == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (429, {"Retry-After": "3"}, "The server is busy with other requests. Try again in 3 seconds."),
        (500, {}, "The server failed (status 500): out of luck"),
        (400, {}, "The server refuses the request: out of luck"),
        (401, {}, "This server asks for a key."),
    ],
)  # fmt: skip
def test_errors_of_the_server_are_told_in_words(
    visit: Open, status: int, headers: dict[str, str], words: str
) -> None:
    visited = visit()
    page = visited.page
    refusal = json.dumps({"error": {"message": "out of luck"}})
    page.route(COMPLETIONS, lambda route: route.fulfill(status=status, headers=headers, body=refusal))  # fmt: skip
    ask(page, QUESTION)
    expect(page.locator(".answer .error")).to_have_text(words)
    page.unroute(COMPLETIONS)
    page.get_by_role("button", name="again").click()
    answered(page)
    expect(page.locator(".answer .error")).to_be_hidden()
    expect(page.locator(".verdict")).to_be_visible()
    # The browser itself writes a line about each refused request.
    visited.complaints[:] = [c for c in visited.complaints if str(status) not in c]


@pytest.mark.slow
def test_a_server_that_is_gone_or_breaks_off(visit: Open) -> None:
    visited = visit()
    page = visited.page
    page.route(COMPLETIONS, lambda route: route.abort())
    ask(page, QUESTION)
    expect(page.locator(".answer .error")).to_have_text("The server cannot be reached. Is it still running?")  # fmt: skip
    page.unroute(COMPLETIONS)
    page.route(COMPLETIONS, lambda route: route.fulfill(content_type="text/event-stream", body='data: {"choices": [{"delta": {"content": "half"}}]}\n\n'))  # fmt: skip
    ask(page, QUESTION)
    expect(page.locator(".turn:last-child .error")).to_have_text(re.compile("The connection broke off"))  # fmt: skip
    expect(page.locator(".turn:last-child .said")).to_have_text("half")
    visited.complaints.clear()


@pytest.mark.slow
def test_a_key_is_asked_for_and_kept_for_the_tab_alone(visit: Open, url_with_key: str) -> None:
    visited = visit(address=url_with_key)
    page = visited.page
    expect(page.locator("#notice")).to_contain_text("This server asks for a key.")
    page.get_by_role("button", name="Enter key").click()
    expect(page.get_by_label("Key of the server")).to_be_focused()
    page.get_by_label("Key of the server").fill("wrong")
    page.get_by_role("button", name="Done").click()
    expect(page.locator("#notice")).to_contain_text("The server does not accept this key.")
    page.get_by_role("button", name="Enter key").click()
    page.get_by_label("Key of the server").fill(KEY)
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name=QUESTION).click()
    answered(page)
    expect(page.locator(".verdict")).to_be_visible()
    kept = page.evaluate("JSON.stringify({ ...localStorage })"), page.evaluate("JSON.stringify({ ...sessionStorage })")  # fmt: skip
    assert KEY not in kept[0] and KEY in kept[1]
    visited.complaints[:] = [c for c in visited.complaints if "401" not in c]


def _settings(page: Page, **values: str) -> None:
    labels = {"temperature": "Temperature", "max_tokens": "Tokens at most", "seed": "Seed"}
    page.get_by_role("button", name="Settings", exact=True).click()
    for name, value in values.items():
        page.get_by_label(labels[name]).fill(value)
    page.get_by_role("button", name="Done").click()
