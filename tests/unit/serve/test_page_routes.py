"""The chat page's files, and its lookups of the miniature's questions."""

import re
from html.parser import HTMLParser

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dianoia.bases import shipped_model
from dianoia.serve.page_routes import PageContent, PageModel, file_routes, lookup_routes

QUESTION = "Lily faces east. Turns: a right, b back, c right. Which way now?"
"""A held-out problem of the miniature; the answer is east."""
BASE = PageModel("base", str(shipped_model("miniature-base-small")))
OTHER = PageModel("other", "Some/Where-1B")


def client(*models: PageModel, title: str = "") -> TestClient:
    content = PageContent(models, models[0].name, title)
    return TestClient(Starlette(routes=[*file_routes(), *lookup_routes(content)]))


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("/", "text/html"), ("/page/style.css", "text/css"), ("/page/page.js", "text/javascript")],
)
def test_files_come_with_their_type_and_a_strict_policy(path: str, media_type: str) -> None:
    response = client(BASE).get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert "unsafe" not in policy and "*" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"


def test_the_page_names_no_other_host_and_has_no_inline_script() -> None:
    opened = client(BASE)
    texts = {path: opened.get(path).text for path in ("/", "/page/style.css", "/page/page.js")}
    for path, text in texts.items():
        # The namespace of the icon is a name, not an address.
        hosts = set(
            re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text.replace("http://www.w3.org", ""))
        )
        assert not hosts, path
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", texts["/page/page.js"])  # fmt: skip

    class Attributes(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            assert not [name for name, _ in attributes if name.startswith("on") or name == "style"]
            assert tag != "style"
            assert tag != "script" or dict(attributes)["src"] == "page/page.js"

    Attributes().feed(texts["/"])


def test_other_paths_are_not_files() -> None:
    for path in (
        "/page/",
        "/page/index.html",
        "/page/../page_routes.py",
        "/page/%2e%2e/__init__.py",
    ):
        assert client(BASE).get(path).status_code == 404


def test_examples_are_offered_where_a_model_of_the_miniature_is_served() -> None:
    offered = client(OTHER, BASE, title="mine").get("/page/examples").json()
    assert offered["single_turn"] and offered["default"] == "other"
    assert offered["about"] == "other and base of mine answer."
    expected = {"question": QUESTION, "language": "en", "kind": "Logic", "difficulty": 3}
    assert expected in offered["questions"]
    offered = client(OTHER).get("/page/examples").json()
    assert (offered["single_turn"], offered["questions"]) == (False, [])
    assert offered["about"] == "other answers."
    many = [PageModel(f"m{number}", "Some/Where") for number in range(5)]
    about = client(*many, title="mine").get("/page/examples").json()["about"]
    assert about == "5 checkpoints of mine answer, m0 if you choose no other."


def test_an_answer_to_a_known_question_is_graded() -> None:
    ask = client(BASE)
    body = {"question": QUESTION, "answer": r"\boxed{east}", "finish_reason": "stop"}
    right = ask.post("/page/verdict", json=body).json()
    assert right == {"known": True, "domain": "logic", "verdict": "right", "expected": "east", "reason": "", "score": 1.0}  # fmt: skip
    wrong = ask.post("/page/verdict", json={**body, "answer": "west"}).json()
    assert (wrong["verdict"], wrong["expected"]) == ("wrong", "east")
    cut = ask.post("/page/verdict", json={**body, "finish_reason": "length"}).json()
    assert (cut["verdict"], cut["score"]) == ("ungraded", None)
    unknown = ask.post("/page/verdict", json={**body, "question": "2+3?"}).json()
    assert unknown == {"known": False}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"[1]", "object"),
        (b'{"question": "2+3?"}', "answer"),
        (b'{"question": 5, "answer": "5"}', "question"),
        (b'{"question": "", "answer": "", "gold": "5"}', "gold"),
        (b'{"question": "%s", "answer": ""}' % (b"x" * 100_001), "question"),
        (b"\xff", ""),
    ],
)
def test_a_body_that_is_no_request_is_refused_in_words(body: bytes, word: str) -> None:
    response = client(BASE).post("/page/verdict", content=body)
    assert response.status_code == 400
    assert word in response.json()["error"]["message"]
