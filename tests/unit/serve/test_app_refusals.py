"""What a server refuses, each time with the field and the reason; and whom."""

import re
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from dianoia.base.errors import ConfigError
from dianoia.sampler.native.cpu.cpu_decoder import DecodeLoop
from dianoia.serve.access import Access
from dianoia.serve.api_errors import ApiError
from dianoia.serve.request_types import ChatRequest, CompletionRequest, read_request
from dianoia.serve.running import _BoundedHead, bound_socket, check_address
from tests.unit.serve.conftest import QUESTION, SECONDS, Running, Serve

USER = [{"role": "user", "content": QUESTION}]


@pytest.mark.parametrize(
    ("fields", "field", "word"),
    [
        ({"tools": [{}]}, "tools", "not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format", "not supported"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "not supported"),
        ({"presence_penalty": True}, "presence_penalty", "not supported"),
        ({"logit_bias": {"5": 1}}, "logit_bias", "not supported"),
        ({"temprature": 1}, "temprature", "did you mean 'temperature'"),
        ({"temperature": -1}, "temperature", "greater than or equal to 0"),
        ({"temperature": 1e-9}, "temperature", "0.001"),
        ({"temperature": "1"}, "temperature", "number"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"n": 0}, "n", "1"),
        ({"n": 129}, "n", "128"),
        ({"n": True}, "n", "integer"),
        ({"seed": 2**63}, "seed", "less than"),
        ({"stop": ""}, "stop", "1 character"),
        ({"stop": ["a"] * 17}, "stop", "16"),
        ({"max_tokens": 0}, "max_tokens", "1"),
        ({"messages": []}, "messages", "1 item"),
        ({"messages": "hello"}, "messages", "list"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages", "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "text"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages", "surrogate"),
        ({"messages": [{"role": "user", "content": "x", "tool_call_id": "1"}]}, "messages.0.tool_call_id", "no such field"),
    ],
)  # fmt: skip
def test_a_field_that_is_refused(fields: dict[str, Any], field: str, word: str) -> None:
    with pytest.raises(ApiError) as refusal:
        read_request(ChatRequest, {"messages": USER, **fields})
    assert (refusal.value.status, refusal.value.field) == (400, field)
    assert word in str(refusal.value)


def test_what_changes_nothing_is_accepted_and_said(server: Running) -> None:
    neutral = {"tools": [], "response_format": {"type": "text"}, "presence_penalty": 0.0, "logit_bias": None}  # fmt: skip
    request, ignored = read_request(
        ChatRequest,
        {"messages": [{**USER[0], "name": "Tom"}], "metadata": {"a": 1}, "store": True, "service_tier": None, **neutral},
    )  # fmt: skip
    assert request == read_request(ChatRequest, {"messages": USER})[0]
    assert ignored == ["messages.name", "metadata", "store"]
    body = {"prompt": "a", "max_tokens": 1, "store": False}
    response = server.post("/v1/completions", body)
    assert response.headers["X-Dianoia-Ignored"] == "store"
    assert "X-Dianoia-Ignored" not in server.post("/v1/completions", {"prompt": "a"}).headers


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "word"),
    [
        ("chat/completions", {"messages": [*USER, *USER]}, 400, None, "user and assistant in turn"),
        ("chat/completions", {"messages": [{"role": "system", "content": "x"}]}, 400, None, "user's question"),
        ("chat/completions", {"messages": [{"role": "user"}]}, 400, None, "no content"),
        ("chat/completions", {"messages": USER, "top_logprobs": 2}, 400, None, "logprobs: true"),
        ("chat/completions", {"messages": USER, "max_tokens": 5, "max_completion_tokens": 6}, 400, None, "the same"),
        ("chat/completions", {"messages": USER, "max_tokens": 5000}, 400, "context_length_exceeded", "1,024 in all"),
        ("chat/completions", {"messages": [{"role": "user", "content": "12 " * 2000}]}, 400, "context_length_exceeded", "Shorten"),
        ("completions", {"prompt": ""}, 400, None, "no tokens"),
        ("completions", {"prompt": []}, 400, None, "prompt"),
        ("completions", {"prompt": [5, 5000]}, 400, None, "token 5000"),
        ("completions", {"prompt": [-1]}, 400, None, "prompt"),
        ("completions", {"prompt": "a", "max_tokens": 0}, 400, None, "echo"),
        ("completions", {"prompt": ["a"] * 200, "n": 2}, 429, "queue_full", "wait already"),
        ("completions", {"prompt": "a", "model": "none"}, 404, "model_not_found", "no such model"),
    ],
)  # fmt: skip
def test_a_request_that_is_refused(
    server: Running, path: str, body: Any, status: int, code: str | None, word: str
) -> None:
    response = server.post(f"/v1/{path}", body)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert word in error["message"]
    server.settle()


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "JSON"), (b"{", "JSON"), (b"[1]", "object"), (b"\xff", "UTF-8"), (b'{"n":1,"n":2}', "twice"), (b"[" * 5000, "deep")],
)  # fmt: skip
def test_a_body_that_is_no_request(server: Running, content: bytes, word: str) -> None:
    headers = {"Content-Type": "application/json"}
    response = server.http.post(f"{server.url}/v1/completions", content=content, headers=headers)
    assert response.status_code == 400
    assert word in response.json()["error"]["message"]


def test_paths_and_methods_that_there_are_not(server: Running) -> None:
    assert server.http.get(f"{server.url}/v1/embeddings").json()["error"]["message"]
    assert server.http.get(f"{server.url}/v1/completions").status_code == 405
    form = server.http.post(f"{server.url}/v1/completions", content=b"{}", headers={"Content-Type": "text/plain"})  # fmt: skip
    assert form.status_code == 415


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example:80"}, 403),
        ({"Host": "localhost:9"}, 200),
        ({"Host": "[::1]:9"}, 200),
        ({"Host": "["}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:5", "Origin": "http://localhost:5"}, 200),
        ({"Host": "localhost:5", "Origin": "http://localhost:6"}, 403),
    ],
)
def test_other_pages_may_not_ask(server: Running, headers: dict[str, str], status: int) -> None:
    for path in ("/v1/models", "/", "/metrics"):
        response = server.http.get(server.url + path, headers=headers)
        assert response.status_code == status
        assert "access-control-allow-origin" not in response.headers


def test_a_key_is_asked_for(serve: Serve) -> None:
    access = Access("a-key", hosts=["models.lan"], body_bytes=1000)
    with serve(access) as server:
        get = server.http.get
        for path in ("/v1/models", "/v1/models/zero", "/page/examples"):
            assert get(server.url + path).status_code == 401
            for wrong in ("Bearer a-kez", "Bearer", "Basic a-key", "a-key", "Bearer \u00fc"):
                response = get(server.url + path, headers={"Authorization": wrong.encode("utf-8")})
                assert response.status_code == 401
                assert response.json()["error"]["code"] == "invalid_api_key"
            headers = {"Authorization": "Bearer a-key", "Host": "models.lan"}
            assert get(server.url + path, headers=headers).status_code == 200
        for path in ("/", "/health", "/metrics", "/openapi.json"):
            assert get(server.url + path).status_code == 200
        body = {"prompt": "a" * 2000}
        too_large = server.post("/v1/completions", body, headers={"Authorization": "Bearer a-key"})
        assert (too_large.status_code, too_large.json()["error"]["code"]) == (413, "body_too_large")
        # Without a length the body is cut off while it comes.
        parts = (b'{"prompt": "' + b"a" * 600 for _ in range(3))
        headers = {"Authorization": "Bearer a-key", "Content-Type": "application/json"}
        chunked = server.http.post(f"{server.url}/v1/completions", content=parts, headers=headers)
        assert chunked.status_code == 413


@pytest.fixture
def slow_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token takes some milliseconds, as of a larger model."""
    advance = DecodeLoop.advance

    def slow(self: DecodeLoop, steps: int, shares: int) -> bool:
        time.sleep(0.005)
        return advance(self, 1, shares)

    monkeypatch.setattr(DecodeLoop, "advance", slow)


LONG: dict[str, Any] = {"prompt": "a", "ignore_eos": True, "max_tokens": 400}


@pytest.mark.usefixtures("slow_steps")
def test_a_full_queue_says_when_to_come_again(serve: Serve) -> None:
    with serve(max_waiting=2, slots=1) as server:
        server.complete(prompt="a", max_tokens=1)  # the slots are known
        body = {**LONG, "n": 3, "stream": True}
        with server.http.stream("POST", f"{server.url}/v1/completions", json=body) as stream:
            lines = stream.iter_lines()  # dropping the iterator would hang up
            next(lines)
            full = server.post("/v1/completions", LONG)
            assert full.status_code == 429
            assert 1 <= int(full.headers["Retry-After"]) <= 60
        server.settle()


@pytest.mark.usefixtures("slow_steps")
def test_a_request_that_takes_too_long(serve: Serve) -> None:
    with serve(timeout=0.3) as server:
        late = server.post("/v1/completions", LONG)
        assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
        body = {**LONG, "stream": True}
        with server.http.stream("POST", f"{server.url}/v1/completions", json=body) as stream:
            assert '"code":"timeout"' in [line for line in stream.iter_lines() if line][-1]
        server.settle()


@pytest.fixture
def endless_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sample ever ends by itself, however late a client's end is noticed."""

    def nothing(_loop: DecodeLoop, _steps: int) -> list[int]:
        time.sleep(0.001)
        return []

    monkeypatch.setattr(DecodeLoop, "_decode", nothing)


@pytest.mark.usefixtures("endless_samples")
def test_a_client_that_hangs_up_frees_its_slots(server: Running) -> None:
    body = b'{"prompt": "a", "ignore_eos": true, "max_tokens": 400, "n": 60}'
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"  # fmt: skip
    port = int(server.url.rpartition(":")[2])
    before, counted = threading.active_count(), gone(server)
    deadline = time.monotonic() + SECONDS
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + body)
        while not server.service.engine.stats("zero").running:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    server.settle()
    assert threading.active_count() <= before + 1
    # The slots are free before the request is counted.
    while gone(server) == counted:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert gone(server) == counted + 1


def gone(server: Running) -> int:
    """Return how many requests for completions the server has counted whose clients went away."""
    text = server.http.get(f"{server.url}/metrics").text
    count = re.search(r'requests_total\{endpoint="completions",status="499"\} (\d+)', text)
    return int(count[1]) if count else 0


def test_headers_without_an_end_are_refused(server: Running) -> None:
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
        answer = b""
        with suppress(ConnectionError):
            for _ in range(64):
                connection.sendall(b"a" * 2**16)
        with suppress(ConnectionError):
            answer = connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 400") or not answer
    assert server.http.get(f"{server.url}/health").status_code == 200


def test_no_part_of_a_stream_waits_for_an_acknowledgement(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Nagle's algorithm each would wait for 40 ms, once a connection has carried an answer."""
    accepted: list[int] = []
    made = _BoundedHead.connection_made

    def noted(self: _BoundedHead, transport: Any) -> None:
        made(self, transport)
        connection = transport.get_extra_info("socket")
        accepted.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(_BoundedHead, "connection_made", noted)
    with httpx2.Client(trust_env=False) as http:
        assert http.get(f"{server.url}/health").status_code == 200
    assert accepted and all(accepted)


def test_another_address_needs_a_key() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        check_address(host, None)
    for host in ("0.0.0.0", "192.168.1.5", "::", "models.lan"):
        with pytest.raises(ConfigError, match="set a key"):
            check_address(host, None)
        check_address(host, "a-key")


def test_a_port_in_use_is_said() -> None:
    with bound_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be served.*--port"):
            bound_socket("127.0.0.1", port)


def test_completion_requests_are_read() -> None:
    for prompt in ("a", ["a", "b"], [1, 2], [[1], [2, 3]]):
        assert read_request(CompletionRequest, {"prompt": prompt})[0].prompt == prompt
