"""Servers that draw together: what a call says that has none of them."""

from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import EndpointError
from dianoia.sampler.served.connection import ServerConnection
from dianoia.sampler.served.fleet import Fleet
from dianoia.sampler.served.weight_load import WeightVersion
from dianoia.serve.running import bound_socket

NOT_READ: Any = None
VERSION = WeightVersion(1, "label", Path("folder"), NOT_READ)


@pytest.mark.parametrize(
    ("seconds", "ended", "cause"),
    [
        (None, None, "after 0 s of waiting (rollouts.patience)"),
        (0.25, None, "after 0.25 s of waiting (rollouts.start_seconds)"),
        (600.0, "it has ended with status 1", "and none can come back"),
    ],
)
def test_a_call_without_servers_names_the_key_that_ended_it(
    seconds: float | None, ended: str | None, cause: str
) -> None:
    with bound_socket("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    connection = ServerConnection(url, concurrency=1, timeout=1.0, key=None)
    fleet = Fleet(
        [connection], patience=0.0, joining=NOT_READ, ended=lambda _: ended, report=NOT_READ
    )
    with pytest.raises(EndpointError) as refused:
        fleet.load(VERSION, None, None, seconds)
    first, reason, _ = str(refused.value).split("\n")
    assert first == f"no server of rollouts is left, {cause}:"
    assert reason.startswith(f"  {url}: ")
