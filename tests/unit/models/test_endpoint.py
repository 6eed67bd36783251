"""A model behind an endpoint: failures that pass, slow answers, the cache, the budget, the key."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dianoia.base import stopping
from dianoia.base.errors import ConfigError, EndpointError, Stopped
from dianoia.base.stopping import sampling_may_be_given_up, stop_when
from dianoia.config import EndpointSettings
from dianoia.models import endpoint as module
from dianoia.models.endpoint import Answer, Endpoint, endpoint_key

Reply = tuple[int, dict[str, Any] | str, float]
"""Status, body, seconds before it comes."""


def said(text: str, reason: str = "stop", tokens: int | None = 10, wait: float = 0.0) -> Reply:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return (
        200,
        {"choices": [choice], **({"usage": {"total_tokens": tokens}} if tokens else {})},
        wait,
    )


class Server(ThreadingHTTPServer):
    """Answers by a script, request by request; then echoes. Remembers what came."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Reply] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.lock, self.now, self.most = threading.Lock(), 0, 0
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.now += 1
            server.most = max(server.most, server.now)
            server.bodies.append(body)
            server.headers.append(dict(self.headers))
            server.paths.append(self.path)
            reply = server.script.pop(0) if server.script else said(body["messages"][0]["content"])
        status, content, wait = reply
        time.sleep(wait)
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        with server.lock:
            server.now -= 1
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if status == 429:
                self.send_header("Retry-After", "0.01")
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            pass  # the client did not wait

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "_FIRST_WAIT", 0.01)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


Make = Callable[..., Endpoint]


@pytest.fixture
def make(server: Server, tmp_path: Path) -> Make:
    def make(**options: Any) -> Endpoint:
        settings = {"url": server.url, "model": "m", "retries": 2, "timeout": 5.0} | options
        return Endpoint(EndpointSettings(**settings), tmp_path / "answers")

    return make


def asked(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in texts]


def test_answers_come_in_order(make: Make, server: Server) -> None:
    server.script = [said("slow", wait=0.3)]
    replies = make(concurrency=1).ask(asked("a", "b", "c"))
    assert [answer.text for answer in replies] == ["slow", "b", "c"]
    assert set(server.paths) == {"/v1/chat/completions"}
    assert server.bodies[1] == {
        "model": "m",
        "messages": [{"role": "user", "content": "b"}],
        "temperature": 0.0,
        "max_tokens": 4096,
    }
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_failure_that_passes(status: int, make: Make, server: Server) -> None:
    server.script = [(status, "busy", 0.0), (status, "busy", 0.0)]
    assert make().ask(asked("a")) == [Answer("a", cut=False)]
    assert len(server.bodies) == 3


def test_a_slow_answer_is_asked_again(make: Make, server: Server) -> None:
    server.script = [said("late", wait=1.0)]
    assert make(timeout=0.2).ask(asked("a")) == [Answer("a", cut=False)]
    assert len(server.bodies) == 2


LISTED = {"choices": [{"message": {"content": ["a"]}}]}


@pytest.mark.parametrize(
    "body", ["<html>", {"choices": []}, {"choices": [{}]}, "[]", "null", LISTED]
)
def test_no_chat_completion(body: Any, make: Make, server: Server) -> None:
    server.script = [(200, body, 0.0)]
    assert make().ask(asked("a")) == [Answer("a", cut=False)]


def test_one_that_stays_away(make: Make, server: Server, tmp_path: Path) -> None:
    server.script = [(503, "overloaded", 0.0)] * 3
    with pytest.raises(
        EndpointError, match="did not answer in 3 attempts.*overloaded.*same command"
    ):
        make().ask(asked("a"))
    removed = make(url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(EndpointError, match="in 1 attempts.*ConnectError"):
        removed.ask(asked("a"))
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "key_env"), (404, "url"), (400, "max_tokens"), (422, "model")]
)
def test_a_refusal_is_not_repeated(status: int, advice: str, make: Make, server: Server) -> None:
    server.script = [(status, "no such thing", 0.0)]
    with pytest.raises(EndpointError, match=f"refuses.*status {status}.*no such thing.*{advice}"):
        make().ask(asked("a"))
    assert len(server.bodies) == 1


def test_a_refusal_ends_the_others(make: Make, server: Server) -> None:
    server.script = [(401, "no", 0.0)]
    with pytest.raises(EndpointError, match="status 401"):
        make(concurrency=1).ask(asked(*map(str, range(50))))
    assert len(server.bodies) < 50


def test_what_was_answered_is_not_asked_again(make: Make, server: Server, tmp_path: Path) -> None:
    assert make().ask(asked("a", "b", "a")) == [Answer(t, False) for t in "aba"]
    assert len(server.bodies) == 2
    again = make()
    assert again.ask(asked("b", "a")) == [Answer(t, False) for t in "ba"]
    assert len(server.bodies) == 2 and again.requests == 0
    make(temperature=0.5).ask(asked("a"))
    make(model="n").ask(asked("a"))
    make(max_tokens=7).ask(asked("a"))
    assert len(server.bodies) == 5
    assert len(list(tmp_path.rglob("*.json"))) == 5


def test_after_a_signal_no_further_request_is_sent(
    make: Make, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was under way is answered and stored."""
    monkeypatch.setattr(stopping, "GRACE_SECONDS", -1.0)
    endpoint = make(concurrency=2)
    with (
        stop_when(lambda: len(server.bodies) >= 3),
        sampling_may_be_given_up(),
        pytest.raises(Stopped, match="drawn again"),
    ):
        endpoint.ask(asked(*"abcdefghij"))
    sent = len(server.bodies)
    assert 3 <= sent <= 4
    assert [answer.text for answer in endpoint.ask(asked(*"abcdefghij"))] == [*"abcdefghij"]
    assert len(server.bodies) == 10, "none is asked twice"


def test_an_answer_that_was_cut(make: Make, server: Server) -> None:
    server.script = [said("half", reason="length")]
    assert make().ask(asked("a")) == [Answer("half", cut=True)]
    assert make().ask(asked("a")) == [Answer("half", cut=True)]


def test_an_empty_answer(make: Make, server: Server) -> None:
    server.script = [(200, {"choices": [{"message": {"content": None}}]}, 0.0)]
    assert make().ask(asked("a")) == [Answer("", cut=False)]


def test_at_most_so_many_at_the_same_time(make: Make, server: Server) -> None:
    server.script = [said("x", wait=0.05)] * 12
    make(concurrency=3).ask(asked(*map(str, range(12))))
    assert 2 <= server.most <= 3


def test_the_budget_of_requests(make: Make, server: Server) -> None:
    server.script = [(500, "", 0.0)]  # a repetition is a request too
    with pytest.raises(EndpointError, match="3 requests of budget_requests = 3.*same command"):
        make(budget_requests=3, concurrency=1).ask(asked("a", "b", "c"))
    assert len(server.bodies) == 3
    # the same again: a and b are known, and there is a budget for c
    extra = make(budget_requests=3, concurrency=1)
    assert [answer.text for answer in extra.ask(asked("a", "b", "c"))] == ["a", "b", "c"]
    assert extra.requests == 1


def test_the_budget_of_tokens(make: Make, server: Server) -> None:
    server.script = [said("a", tokens=60), said("x" * 240, tokens=None)]
    model = make(budget_tokens=100, concurrency=1)
    with pytest.raises(EndpointError, match="120 tokens of budget_tokens = 100"):
        model.ask(asked("a", "b", "c"))  # 60, and without a count 240 characters / 4
    assert model.tokens == 120 and len(server.bodies) == 2


def test_the_key_is_sent_and_shown_nowhere(
    make: Make, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    model = make(key_env="SOME_KEY")
    model.ask(asked("a"))
    assert server.headers[0]["Authorization"] == "Bearer sk-secret"
    server.script = [(401, "the key sk-secret is wrong", 0.0)]
    with pytest.raises(EndpointError) as caught:
        model.ask(asked("b"))
    assert "sk-secret" not in str(caught.value) and "***" in str(caught.value)
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert written and not any("sk-secret" in text for text in written)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_key_that_is_not_there(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("SOME_KEY", value)
    settings = EndpointSettings(url="http://localhost/v1", model="m", key_env="SOME_KEY")
    with pytest.raises(ConfigError, match=r"key_env = 'SOME_KEY'.*export it"):
        endpoint_key(settings)
    assert endpoint_key(EndpointSettings(url="http://localhost/v1", model="m")) is None


def test_a_repetition_is_a_new_request_with_an_answer_of_its_own(
    make: Make, server: Server
) -> None:
    server.script = [said("one"), said("two")]
    first = make(concurrency=1).ask(asked("a", "a", "a"), [0, 1, 0])
    assert [answer.text for answer in first] == ["one", "two", "one"]
    again = make().ask(asked("a", "a"), [1, 0])
    assert [answer.text for answer in again] == ["two", "one"]
    assert [answer.text for answer in make().ask(asked("a"))] == ["one"]
    assert len(server.bodies) == 2 and server.bodies[0] == server.bodies[1], "the number is ours"
