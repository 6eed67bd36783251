"""Servers of rollouts are looked for before any work: that they answer, or could be started."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import ConfigError, EndpointError
from dianoia.config import RolloutSettings
from dianoia.recipe.check.inputs import check_rollout_servers

WHERE = "stages.zero.rollouts"


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Health)
    server.status = 200  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def settings(**table: Any) -> RolloutSettings:
    return RolloutSettings(engine="vllm", **table)


def test_one_server_that_answers_is_enough(url: str) -> None:
    check_rollout_servers(WHERE, RolloutSettings(), planned=False)
    check_rollout_servers(WHERE, settings(servers=["http://127.0.0.1:9", url]), planned=False)


def test_servers_that_do_not_answer_are_refused_and_a_plan_does_not_ask(url: str) -> None:
    dead = settings(servers=["http://127.0.0.1:9"])
    check_rollout_servers(WHERE, dead, planned=True)
    with pytest.raises(
        EndpointError, match=r"zero.rollouts.servers: none of them answers \(http://127.0.0.1:9"
    ):
        check_rollout_servers(WHERE, dead, planned=False)


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"servers": ["http://10.0.0.2:8000"]}, "is another machine.*set weights to a folder"),
        ({"command": ["no-such-program", "{model}", "{port}"]}, "there is no program 'no-such-program'"),
        ({"python": "/no/such/venv"}, "there is no environment of Python here"),
        ({"python": "{empty}"}, "there is no .*vllm; install vLLM there"),
        ({"servers": ["http://localhost:1"], "key_env": "NO_SUCH_KEY"}, "key_env = 'NO_SUCH_KEY'.*missing"),
    ],
)  # fmt: skip
def test_what_could_not_work_is_refused_for_a_plan_too(
    table: dict[str, Any], reason: str, planned: bool, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    if table.get("python") == "{empty}":
        table = {"python": str(tmp_path)}
    with pytest.raises(ConfigError, match=f"^stages.zero.rollouts.*{reason}"):
        check_rollout_servers(WHERE, settings(**table), planned)
