"""The real command: it says where it is, answers, and ends at a signal; what is wrong is said in one line."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import httpx2
import pytest

from tests.smoke.commands import SECONDS, Command, fresh, run_command

MODEL = "miniature-base-small"


def _print_into(pipe: str) -> None:
    """Make a pipe the standard output of this process, buffered as Python does it for one."""
    os.dup2(os.open(pipe, os.O_WRONLY), 1)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - as long as the process


def _first_line(pipe: IO[bytes]) -> Any:
    """Return the line that a program waits for; what comes too late is an error."""
    readable, _, _ = select.select([pipe], [], [], SECONDS)
    assert readable, "the line does not come"
    return json.loads(pipe.readline())


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Command, Any]]:
    """The command and what it says once it is ready, read as another program reads it."""
    monkeypatch.chdir(tmp_path)
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    arguments = ["serve", MODEL, "--port", "0", "--json"]
    with Command(arguments, partial(_print_into, pipe)) as command, open(pipe, "rb") as lines:  # noqa: PTH123
        yield command, _first_line(lines)


@pytest.mark.slow
def test_a_program_waits_for_the_line(tmp_path: Path) -> None:
    """In an interpreter of its own, through the pipe of `subprocess`."""
    environment = {**os.environ}
    environment.pop("PYTHONUNBUFFERED", None)
    arguments = fresh(["serve", MODEL, "--port", "0", "--json"])
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, env=environment, cwd=tmp_path
    ) as process:
        try:
            assert process.stdout is not None
            ready = _first_line(process.stdout)
            with httpx2.Client(trust_env=False, timeout=60) as http:
                assert http.get(f"{ready['url']}/health").json()["status"] == "ok"
        finally:
            process.terminate()
        assert process.stdout.read() == b"", "one line and nothing else"
        assert process.wait(SECONDS) == 143


@pytest.mark.parametrize(
    ("number", "status", "name"),
    [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")],
)
def test_serve_answers_until_a_signal(
    serving: tuple[Command, Any], number: int, status: int, name: str
) -> None:
    command, ready = serving
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
            os.kill(command.pid, number)
            assert '"code":"stopping"' in [line for line in lines if line][-1]
    finished = command.finish()
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
