"""Requests that schemathesis makes from the published schema: no failure of the server, and nothing left behind.

Needs schemathesis, which no extra brings; see CONTRIBUTING.md. `DIANOIA_FUZZ` sets how many requests there are.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")

pytestmark = pytest.mark.slow

MODEL = "miniature-base-small"
MOST_TOKENS = 8
"""Of an answer, so that the time goes into requests."""
SECONDS = 60
LEAK = 48 * 2**20
"""Bytes by which the server's memory may grow: the allocator's share, not that of 10,000 requests."""


class Server:
    """`dianoia serve` in a process of its own, whose memory is that of serving alone."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "dianoia", "serve", MODEL, "--port", "0", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder)
        assert self.process.stdout is not None
        self.url: str = json.loads(self.process.stdout.readline())["url"]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=SECONDS) as reply:
            return json.load(reply)

    def resident(self) -> int:
        fields = Path("/proc", str(self.process.pid), "statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    try:
        yield running
    finally:
        running.process.terminate()
        assert running.process.stdout is not None
        running.process.stdout.close()
        assert running.process.wait(SECONDS) == 143


def _answerable(body: Any, number: int) -> None:
    """Bound the work of a request; and repair what the schema cannot say in every other one, so that it is answered."""
    if not isinstance(body, dict):
        return
    for name, most in (("max_tokens", MOST_TOKENS), ("max_completion_tokens", MOST_TOKENS), ("n", 2)):  # fmt: skip
        if type(body.get(name)) is int:
            body[name] = min(body[name], most)
    if number % 2:
        body["model"] = MODEL
        if isinstance(body.get("messages"), list):
            body["messages"] = [{"role": "user", "content": "a"}]
            # Two names of one limit.
            body["max_tokens"] = body["max_completion_tokens"] = MOST_TOKENS
    if not {"max_tokens", "max_completion_tokens"} & set(body):
        body["max_tokens"] = MOST_TOKENS


def test_requests_of_the_schema(server: Server) -> None:
    schema = schemathesis.openapi.from_dict(server.get("/openapi.json"))
    operations = [operation.ok() for operation in schema.get_all_operations()]
    # What takes no parameters is the same request each time.
    posts = [operation for operation in operations if operation.method == "post"]
    modes = list(schemathesis.GenerationMode)
    pairs = [(operation, mode) for operation in posts for mode in modes]
    pairs += [(operation, modes[0]) for operation in operations if operation not in posts]
    count = int(os.environ.get("DIANOIA_FUZZ", "10000"))
    statuses: Counter[tuple[str, int]] = Counter()
    memory: list[int] = []
    for operation, mode in pairs:

        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        @hypothesis.settings(
            max_examples=max(1, count // (len(posts) * len(modes))),
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        def ask(case: Any) -> None:
            _answerable(case.body, statuses.total())
            response = case.call(base_url=server.url, timeout=SECONDS)
            statuses[case.path, response.status_code] += 1
            assert response.status_code < 500, response.text
            # The first requests fill buffers that stay.
            if statuses.total() == count // 10:
                memory.append(server.resident())

        ask()
    (model,) = server.get("/health")["models"].values()
    assert (model["running"], model["waiting"]) == (0, 0)
    grown = server.resident() - memory[0]
    summary = f"{statuses.total()} requests, {dict(statuses)}, memory {grown / 2**20:+.1f} MiB"
    assert grown < LEAK, summary
    for path in ("/v1/completions", "/v1/chat/completions"):
        assert statuses[path, 200] >= count // 100, summary
    sys.stderr.write(f"\n{summary}\n")
