"""A server on a free port in a thread, which the tests of this folder share."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from dianoia.base.errors import Stopped
from dianoia.bases import shipped_model
from dianoia.inference.checkpoints import Checkpoint
from dianoia.serve import running
from dianoia.serve.access import Access
from dianoia.serve.service import Options, Service

SECONDS = 60.0
QUESTION = "Tom has 12 apples and eats 5. How many are left?"


@dataclass
class Running:
    """A server that runs."""

    url: str
    service: Service
    http: httpx2.Client

    def post(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        return self.http.post(self.url + path, json=body, **options)

    def chat(self, **fields: Any) -> Any:
        body = {"messages": [{"role": "user", "content": QUESTION}], **fields}
        response = self.post("/v1/chat/completions", body)
        assert response.status_code == 200, response.text
        return response.json()

    def complete(self, **fields: Any) -> Any:
        response = self.post("/v1/completions", fields)
        assert response.status_code == 200, response.text
        return response.json()

    def settle(self) -> None:
        """Wait until no sample runs or waits, which is what a server without leaks comes to."""
        deadline = time.monotonic() + SECONDS
        while any(
            stats.running or stats.waiting
            for stats in map(self.service.engine.stats, self.service.loaded)
        ):
            assert time.monotonic() < deadline, "samples are left"
            time.sleep(0.005)


def checkpoints() -> list[Checkpoint]:
    folder = str(shipped_model("miniature-base-small"))
    return [Checkpoint("zero", folder), Checkpoint("small", folder, aliases=("base",))]


@contextmanager
def served(access: Access, options: Options) -> Iterator[Running]:
    service = Service(checkpoints(), "zero", options)
    service.load_default()
    listening = running.bound_socket("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    ready = threading.Event()
    servers: list[Any] = []

    def run() -> None:
        with suppress(Stopped):
            running.serve(service, access, listening, "a run", ready.set, servers.append)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert ready.wait(SECONDS)
        with httpx2.Client(timeout=SECONDS, trust_env=False) as http:
            yield Running(url, service, http)
    finally:
        servers[0].should_exit = True
        thread.join(SECONDS)
        assert not thread.is_alive()


Serve = Callable[..., Any]


@pytest.fixture
def serve() -> Serve:
    """Starts a server of one's own, with other limits."""
    return lambda access=None, **options: served(access or Access(), Options(**options))


@pytest.fixture(scope="package")
def server() -> Iterator[Running]:
    with served(Access(), Options()) as running_server:
        yield running_server
