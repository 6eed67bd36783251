"""The real command: it says where it is, answers, and ends at a signal; what is wrong is said in one line."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.smoke.commands import Command, run_command

MODEL = "miniature-base-small"


def _printed(command: Command) -> str:
    path = Path(command._folder.name, "out")
    return path.read_text() if path.exists() else ""


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    monkeypatch.chdir(tmp_path)
    with Command(["serve", MODEL, "--port", "0", "--json"]) as command:
        command.wait_until(lambda: _printed(command).endswith("}\n"))
        yield command


@pytest.mark.parametrize(
    ("number", "status", "name"),
    [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")],
)
def test_serve_answers_until_a_signal(
    serving: Command, number: int, status: int, name: str
) -> None:
    ready = json.loads(_printed(serving))
    assert (ready["models"], ready["default"], ready["key"]) == ([MODEL], MODEL, False)
    url = f"{ready['url']}/v1/completions"
    with httpx2.Client(trust_env=False, timeout=60) as http:
        body = {"prompt": "2+3=", "max_tokens": 3, "seed": 1}
        assert http.post(url, json=body).json()["usage"]["completion_tokens"] <= 3
        endless = {"prompt": "a", "max_tokens": 1000, "n": 100, "ignore_eos": True, "stream": True}
        # A client in the middle of an answer does not hold up the end.
        with http.stream("POST", url, json=endless) as stream:
            lines = stream.iter_lines()
            next(lines)
            os.kill(serving.pid, number)
            assert '"code":"stopping"' in [line for line in lines if line][-1]
    finished = serving.finish()
    assert (finished.returncode, finished.stderr) == (status, f"dianoia: stopped by {name}\n")


def test_what_cannot_be_served_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases = {
            ("--port", port): f"127.0.0.1:{port} cannot be served",
            ("--host", "0.0.0.0"): "set a key with --key-file",
            ("--key", "two words"): "--key: a key is one word",
            ("--only", "zero"): "--only chooses among the checkpoints of a run",
        }
        for options, message in cases.items():
            refused = run_command(["serve", MODEL, *options])
            assert refused.returncode == 2
            assert message in refused.stderr and refused.stderr.count("\n") == 1
