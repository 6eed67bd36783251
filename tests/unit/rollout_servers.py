"""Servers of rollouts in this process, each in a thread, some of them with a fault; and a served sampler over them."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import PreTrainedModel

from dianoia.base.errors import Stopped
from dianoia.config import RolloutSettings
from dianoia.sampler.factory import make_sampler
from dianoia.sampler.served.served_sampler import ServedSampler
from dianoia.serve import running
from dianoia.serve.access import Access
from dianoia.serve.rollout_engine import RolloutEngine
from dianoia.serve.rollout_routes import make_rollout_app

SECONDS = 30.0


class Server:
    """A server that runs until `stop`."""

    def __init__(self, engine: RolloutEngine, port: int = 0, key: str | None = None) -> None:
        self.engine = engine
        listening = running.bound_socket("127.0.0.1", port)
        self.port = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        ready, self._servers = threading.Event(), []
        app = make_rollout_app(engine, Access(key), SECONDS)

        def run() -> None:
            with suppress(Stopped):
                running.serve_app(app, engine, listening, ready.set, self._servers.append)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert ready.wait(SECONDS)

    def stop(self, wait: bool = True) -> None:
        self._servers[0].should_exit = True
        if wait:
            self._thread.join(SECONDS)
            assert not self._thread.is_alive()


@contextmanager
def serving(*engines: RolloutEngine, key: str | None = None) -> Iterator[list[Server]]:
    servers = [Server(engine, key=key) for engine in engines]
    try:
        yield servers
    finally:
        for server in servers:
            server.stop(wait=False)
        for server in servers:
            server.stop()


def engine_of(
    model: PreTrainedModel, kind: type[RolloutEngine] = RolloutEngine, source: Path | None = None
) -> RolloutEngine:
    """An engine with a copy of the model's weights; `source`: the folder that adapters are added to."""
    loaded: Any = SimpleNamespace(
        sampler=make_sampler(model, slots=8),
        config=model.config,
        dtype=model.dtype,
        positions=model.config.max_position_embeddings,
        stop_ids=frozenset({0}),
        checkpoint=SimpleNamespace(source=str(source)),
    )
    return kind(loaded, "policy", slots=8)


@contextmanager
def sampler_over(
    servers: Sequence[Server | str], model: PreTrainedModel, folder: Path, **options: Any
) -> Iterator[ServedSampler]:
    """A served sampler; the words of its report are in `report`."""
    lora, key = options.pop("lora", None), options.pop("key", None)
    urls = [server if isinstance(server, str) else server.url for server in servers]
    settings = {"concurrency": 4, "patience": 5.0, "weights": str(folder), **options}
    sampler = ServedSampler(
        model.config,
        None,  # type: ignore[arg-type]  # only servers that are started need a tokenizer
        model.state_dict(),
        RolloutSettings(engine="vllm", servers=urls, **settings),
        folder=folder,
        name="zero",
        dtype=torch.float32,
        max_tokens=16,
        key=key,
        lora=lora,
        report=(report := []).append,
    )
    sampler.said = report  # type: ignore[attr-defined]
    try:
        yield sampler
    finally:
        sampler.close()


def wait_for(true: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
