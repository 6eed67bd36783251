"""Endpoints that misbehave: on real sockets, each bounded in size, depth and time, and never a traceback."""

import base64
import gzip
import json
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import ConfigError, EndpointError
from dianoia.config import EndpointSettings
from dianoia.models import endpoint as module
from dianoia.models.endpoint import Answer, Endpoint

Script = Callable[[socket.socket], None]
"""Writes a reply to a request that has been read."""


def completion(content: Any = "5", **options: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": content}}], **options}


def reply(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Sockets:
    """Accepts connections, reads each request, and lets a script answer."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"
        self.scripts: list[Script | bytes] = []
        self.requests: list[bytes] = []
        self.over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(65536)
            self.requests.append(head)
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            try:
                if isinstance(script, bytes):
                    connection.sendall(script)
                else:
                    script(connection)
            except OSError:
                pass  # the client has had enough


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sockets]:
    monkeypatch.setattr(module, "_FIRST_WAIT", 0.01)
    server = Sockets()
    yield server
    server.over.set()
    server.listener.close()


@pytest.fixture
def ask(sockets: Sockets, tmp_path: Path) -> Callable[..., Answer]:
    def ask(**options: Any) -> Answer:
        settings = {"url": sockets.url, "model": "m", "retries": 1, "timeout": 5.0} | options
        endpoint = Endpoint(EndpointSettings(**settings), tmp_path / "answers")
        return endpoint.ask([[{"role": "user", "content": "2+3?"}]])[0]

    return ask


Ask = Callable[..., Answer]


def as_json(value: Any) -> bytes:
    return reply(json.dumps(value).encode())


@pytest.mark.parametrize(
    "data",
    [
        reply(b'{"choices": [{"message": {"content": "\\ud800"}}]}'),
        reply(b"[" * 200_000 + b"]" * 200_000),
        reply(b'{"a": ' * 200_000 + b"1" + b"}" * 200_000),
        reply(b'{"choices": ' + b"[" * 200 + b"]" * 200 + b"}"),
        reply(b'{"choices": [{"message": {"content": ' + b"7" * 5000 + b"}}]}"),
        reply(b"\xff\xfe\x00"),
        reply(b""),
        reply(b"null"),
        reply(b"<html>busy</html>", "Content-Type: text/html"),
        as_json({"choices": {"0": 1}}),
        as_json({"choices": "text"}),
        as_json({"choices": [None]}),
        as_json({"choices": [{"message": "text"}]}),
        as_json({"choices": [[1]]}),
        as_json(completion(5)),
        as_json(completion(True)),
        as_json(completion(["5"])),
        as_json(completion({"text": "5"})),
        reply(b'{"choices": [], "choices": [{"message": {"content": "5"}}]}'),
        reply(b"not gzip at all", "Content-Encoding: gzip"),
        reply(gzip.compress(b"x" * 1000, mtime=0)[:-20], "Content-Encoding: gzip"),
        reply(b"x", "Content-Encoding: br"),
        reply(b"x", "Content-Encoding: gzip, gzip"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
)
def test_an_unusable_reply_is_asked_again_and_then_told(
    data: bytes, ask: Ask, sockets: Sockets, tmp_path: Path
) -> None:
    sockets.scripts = [data, as_json(completion("5"))]
    assert ask() == Answer("5", cut=False)
    (remaining,) = tmp_path.rglob("*.json")
    remaining.unlink()
    sockets.scripts = [data]
    with pytest.raises(EndpointError, match="did not answer in 2 attempts") as caught:
        ask()
    assert len(str(caught.value)) < 1000
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    "usage",
    [
        "many", [1, 2], 5, True, None, {}, {"total_tokens": "60"}, {"total_tokens": -60}, {"total_tokens": 0},
        {"total_tokens": float("nan")}, {"total_tokens": float("inf")}, {"total_tokens": [60]},
        {"total_tokens": True}, {"total_tokens": 10**30}, {"total_tokens": None}, {"total_tokens": 0.5},
    ],
)  # fmt: skip
def test_a_budget_is_spent_whatever_the_endpoint_counts(
    usage: Any, sockets: Sockets, tmp_path: Path
) -> None:
    sockets.scripts = [as_json(completion("x" * 396, usage=usage))]
    settings = EndpointSettings(url=sockets.url, model="m", budget_tokens=150, concurrency=1)
    endpoint = Endpoint(settings, tmp_path)
    prompts = [[{"role": "user", "content": f"2+{n}?"}] for n in range(9)]
    with pytest.raises(EndpointError, match="200 tokens of budget_tokens = 150"):
        endpoint.ask(prompts)  # (4 + 396) / 4 each, so that two are paid for
    assert len(sockets.requests) == 2


def test_a_count_in_a_float_is_believed(sockets: Sockets, tmp_path: Path) -> None:
    sockets.scripts = [as_json(completion("5", usage={"total_tokens": 60.0}))]
    endpoint = Endpoint(EndpointSettings(url=sockets.url, model="m"), tmp_path)
    endpoint.ask([[{"role": "user", "content": "2+3?"}]])
    assert endpoint.tokens == 60


def test_an_answer_without_text_costs_something(sockets: Sockets, tmp_path: Path) -> None:
    sockets.scripts = [as_json(completion(None))]
    endpoint = Endpoint(EndpointSettings(url=sockets.url, model="m"), tmp_path)
    assert endpoint.ask([[{"role": "user", "content": ""}]]) == [Answer("", cut=False)]
    assert endpoint.tokens == 1


# Time and size -----------------------------------------------------------------------------------


def drip(head: bytes, piece: bytes, seconds: float) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(seconds)

    return script


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "script",
    [
        drip(HEAD + b"Content-Length: 100000\r\n\r\n", b" ", 0.05),
        drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 0.05),
        drip(b"HTTP/1.1 200 OK\r\n", b"X", 0.05),
        drip(b"", b"H", 0.05),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.001),
        drip(b"HTTP/1.1 503 Busy\r\nContent-Length: 100000\r\n\r\n", b" ", 0.05),
        drip(b"HTTP/1.1 401 No\r\nContent-Length: 100000\r\n\r\n", b" ", 0.05),
    ],
)
def test_the_whole_time_is_bounded(script: Script, ask: Ask, sockets: Sockets) -> None:
    sockets.scripts = [script]
    began = time.monotonic()
    with pytest.raises(EndpointError, match=r"(?s)in all|Error"):
        ask(timeout=0.2, retries=0)
    assert time.monotonic() - began < 4


def endless(head: bytes, piece: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)

    return script


MANY = b"x" * 65536


def blanks(window: int) -> bytes:
    """256 MiB of blanks, compressed and without an end; window: 31 for gzip, 15 for zlib."""
    packer = zlib.compressobj(1, zlib.DEFLATED, window)
    # After a full flush a block refers to nothing before it, so that one can be repeated.
    first, block = (
        packer.compress(b" " * 2**20) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    return first + 255 * block


@pytest.mark.parametrize(
    "script",
    [
        endless(HEAD + b"\r\n", MANY),
        endless(HEAD + b"Content-Length: 6000000000\r\n\r\n", MANY),
        endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + MANY + b"\r\n"),
        endless(HEAD + b"Content-Encoding: gzip\r\n\r\n", MANY),
        reply(blanks(31), "Content-Encoding: gzip"),
        reply(blanks(15), "Content-Encoding: deflate"),
    ],
)
def test_the_size_is_bounded(script: Script | bytes, ask: Ask, sockets: Sockets) -> None:
    sockets.scripts = [script]
    tracemalloc.start()
    try:
        with pytest.raises(EndpointError, match="a reply of more than 16 MiB"):
            ask(retries=0)
        assert tracemalloc.get_traced_memory()[1] < 128 * 2**20
    finally:
        tracemalloc.stop()


def test_what_is_compressed_unasked_is_read(ask: Ask, sockets: Sockets) -> None:
    body = json.dumps(completion("5")).encode()
    sockets.scripts = [reply(gzip.compress(body), "Content-Encoding: gzip")]
    assert ask().text == "5"
    assert b"accept-encoding: identity" in sockets.requests[0].lower()


# The key -----------------------------------------------------------------------------------------

KEY = "sk-a/b+c=secret"


def test_a_redirect_is_not_followed_and_the_key_stays(
    ask: Ask, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Sockets()
    other.scripts = [as_json(completion("stolen"))]
    monkeypatch.setenv("SOME_KEY", KEY)
    for status in ("301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"):
        sockets.scripts = [reply(b"", f"Location: {other.url}/{KEY}", status=status)]
        with pytest.raises(EndpointError, match="redirects to.*the host in url only") as item:
            ask(key_env="SOME_KEY")
        assert KEY not in str(item.value)
    assert not other.requests


@pytest.mark.parametrize(
    "echo",
    [KEY, f"Bearer {KEY}", "sk-a%2Fb%2Bc%3Dsecret", base64.b64encode(KEY.encode()).decode()],
)
def test_a_key_that_is_repeated_is_masked_everywhere(
    echo: str, ask: Ask, sockets: Sockets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    sockets.scripts = [as_json(completion(f"Your key is {echo}."))]
    assert ask(key_env="SOME_KEY").text.endswith("***.")
    written = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "***" in written and "secret" not in written and echo not in written
    for status in ("401 No", "503 Busy", "400 Bad", "200 OK"):
        sockets.scripts = [reply(b"x" * 290 + echo.encode(), f"X: {echo}", status=status)]
        with pytest.raises(EndpointError) as caught:
            ask(key_env="SOME_KEY", model=f"m{status[:3]}")
        assert "secret" not in str(caught.value) and echo[:8] not in str(caught.value)


def test_a_stand_in_for_a_key_is_a_word(
    ask: Ask, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "EMPTY")
    sockets.scripts = [as_json(completion("The set is EMPTY."))]
    assert ask(key_env="SOME_KEY").text == "The set is EMPTY."


@pytest.mark.parametrize(
    "key", ["sk-secret\nsk-other", "sk-secret\r\nX: y", "sk secret", "sk-sécret", "sk-\x00secret"]
)
def test_a_key_that_cannot_be_sent_is_not_shown(
    key: str, ask: Ask, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.os, "environ", {"SOME_KEY": key})
    with pytest.raises(ConfigError, match="cannot be sent") as caught:
        ask(key_env="SOME_KEY")
    assert "cret" not in str(caught.value) and not sockets.requests


def test_a_key_in_the_url(ask: Ask, sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    with pytest.raises(ConfigError, match="url holds the key") as caught:
        ask(key_env="SOME_KEY", url=f"{sockets.url}/sk-secret/v1")
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:sk-secret@host/v1", "https://sk-secret@host/v1", "http://host/v1?key=sk-secret",
        "http://host/v1#sk-secret", "sk-secret@host/v1", "user:sk-secret@host/v1", "ftp://sk-secret@host/v1",
        "http://:sk-secret@host/v1", "http://sk-secret@/v1",
    ],
)  # fmt: skip
def test_a_secret_in_the_url_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        EndpointSettings(url=url, model="m")
    message = str(caught.value.errors()[0]["ctx"]["error"])  # type: ignore[attr-defined]
    assert "secret" not in message


@pytest.mark.parametrize(
    "url",
    ["http://[::1/v1", "http://host:99999/v1", "http://host:abc/v1", "http:// host/v1", "http://h\x00/v1",
     "http://höst/v1", "http://host/v1\n", ""],
)  # fmt: skip
def test_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="no address of an API"):
        EndpointSettings(url=url, model="m")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "nonsense://x"),
        ("HTTP_PROXY", "http://[::1"),
        ("SSL_CERT_FILE", "/nowhere.pem"),
    ],
)
def test_an_environment_that_cannot_be_used(
    name: str, value: str, ask: Ask, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    sockets.scripts = [as_json(completion("5"))]
    try:
        ask()
    except EndpointError as error:
        assert name in str(error), "some are not looked at for this address"


# Kept answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damaged",
    [b"", b"{", b"[]", b"\xff", b"\0" * 50, b'{"text": 5, "cut": false}', b'{"text": "5"}'],
)
def test_a_damaged_answer_is_asked_again(
    damaged: bytes, ask: Ask, sockets: Sockets, tmp_path: Path
) -> None:
    sockets.scripts = [as_json(completion("5"))]
    ask()
    (remaining,) = tmp_path.rglob("*.json")
    remaining.write_bytes(damaged)
    assert ask().text == "5" and len(sockets.requests) == 2
    assert json.loads(remaining.read_text()) == {"text": "5", "cut": False}
