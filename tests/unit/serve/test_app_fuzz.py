"""Random requests, most of them half right: no failure of the server, and nothing left behind.

`DIANOIA_FUZZ=10000` sets how many the slow test sends.
"""

import os
import random
import string
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.unit.serve.conftest import SECONDS, Running

_NUMBERS = (0, 1, 2, -1, 3, 16, 0.5, 1.0, 1e-9, 1e308, 2**31, 2**63, -(2**63), 10**30)
_NESTED: Any = {"a": [{"b": None}]}


def _text(randomness: random.Random) -> str:
    alphabet = string.printable + "é你🙂\u202e\x00\ufffd<think></answer>"
    return "".join(randomness.choices(alphabet, k=randomness.choice((0, 1, 5, 40, 400))))


def _anything(randomness: random.Random) -> Any:
    makers = (
        lambda: randomness.choice(_NUMBERS),
        lambda: randomness.choice((None, True, False, [], {}, "", _NESTED)),
        lambda: _text(randomness),
        lambda: [_text(randomness), randomness.choice(_NUMBERS)],
        lambda: randomness.choices(range(-2, 1600), k=randomness.choice((1, 5, 60))),
    )
    return randomness.choice(makers)()


def _message(randomness: random.Random) -> Any:
    content = randomness.choice((_text, _anything, lambda r: [{"type": "text", "text": _text(r)}]))
    role = randomness.choice(("user", "assistant", "system", "developer", "user", "tool", None))
    message = {"role": role, "content": content(randomness)}
    if randomness.random() < 0.2:
        message[randomness.choice(("reasoning", "name", "tool_calls", "x"))] = _anything(randomness)
    return message


def _fields(randomness: random.Random) -> dict[str, Any]:
    """Right values mostly, so that many requests come as far as the engine."""
    right: dict[str, Any] = {
        "max_tokens": randomness.randint(0, 12),
        "n": randomness.randint(1, 3),
        "seed": randomness.choice((0, 7, -(2**63))),
        "temperature": randomness.choice((0, 0.001, 1, 2)),
        "top_p": randomness.choice((1e-300, 0.5, 1)),
        "top_k": randomness.choice((-1, 0, 1, 2**62)),
        "stop": randomness.choice(("e", ["a", "</think>"], [], None)),
        "stream": randomness.random() < 0.3,
        "stream_options": {"include_usage": True},
        "echo": randomness.random() < 0.5,
        "logprobs": randomness.choice((True, False, 0, 1, 20)),
        "top_logprobs": randomness.randint(0, 20),
        "model": randomness.choice(("zero", "base", "small", "none")),
        "user": "u",
        "ignore_eos": True,
        "store": True,
        "tools": [],
        "presence_penalty": 0,
    }
    chosen = randomness.sample(sorted(right), k=randomness.randint(0, 6))
    fields = {name: right[name] for name in chosen}
    fields.setdefault("max_tokens", 4)
    if randomness.random() < 0.4:
        name = randomness.choice(
            [*right, "messages", "prompt", "unknown", "tools", "best_of", "min_p"]
        )
        fields[name] = _anything(randomness)
    return fields


def _request(seed: int) -> tuple[str, Any]:
    randomness = random.Random(seed)
    if randomness.random() < 0.5:
        messages = [_message(randomness) for _ in range(randomness.choice((1, 1, 1, 2, 3)))]
        return "chat/completions", {"messages": messages, **_fields(randomness)}
    prompt = randomness.choice((_text, _anything))(randomness)
    return "completions", {"prompt": prompt, **_fields(randomness)}


def send(server: Running, count: int) -> dict[int, int]:
    """Send requests, eight at a time, a tenth of them hung up on; return how often each status came."""
    statuses: dict[int, int] = {}
    lock = threading.Lock()

    def one(seed: int) -> None:
        path, body = _request(seed)
        timeout = 0.01 if seed % 10 == 0 else SECONDS
        try:
            response = server.http.post(f"{server.url}/v1/{path}", json=body, timeout=timeout)
        except httpx2.TimeoutException:
            assert seed % 10 == 0, "the server does not answer"
            return
        assert response.status_code < 500, (seed, body, response.text)
        if response.headers["Content-Type"].startswith("text/event-stream"):
            assert response.text.endswith("data: [DONE]\n\n"), (seed, body, response.text)
        with lock:
            statuses[response.status_code] = statuses.get(response.status_code, 0) + 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(count)))
    server.settle()
    assert not any(line._live for line in server.service.engine._lines.values())
    return statuses


def test_random_requests(server: Running) -> None:
    statuses = send(server, 120)
    assert min(statuses[200], statuses[400]) >= 15, statuses


@pytest.mark.slow
def test_ten_thousand_random_requests(server: Running) -> None:
    send(server, 500)
    memory, threads = _resident(), threading.active_count()
    send(server, int(os.environ.get("DIANOIA_FUZZ", "10000")))
    assert _resident() - memory < 64 * 2**20
    assert threading.active_count() <= threads + 8


def _resident() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - a file of the kernel
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
