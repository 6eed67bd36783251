"""Servers that are started: their commands, their logs, and that none outlives its stage."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from dianoia.config import RolloutSettings
from dianoia.sampler.served.processes import ServerProcesses, _command, _environment
from dianoia.sandbox import interpreter
from tests.unit.rollout_servers import wait_for
from tests.unit.started_servers import WAIT, children, model_in, settings_of


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_command_of_vllm_has_what_rollouts_need(tmp_path: Path) -> None:
    for name in ("python", "vllm"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).touch()
    settings = RolloutSettings(
        engine="vllm", python=str(tmp_path), arguments=["--max-model-len", "2048"],
        environment={"X": "1"}, devices=["3,4"], key_env="HOME",
    )  # fmt: skip
    command = _command(settings, model_in(tmp_path, lora_rank=8), 8101)
    text = " ".join(command)
    assert command[:3] == [str(tmp_path / "bin" / "vllm"), "serve", str(tmp_path)]
    for part in (
        "--port 8101", "--dtype float32", "--logprobs-mode processed_logprobs", "--enable-scale-out",
        "--no-enable-chunked-prefill", "--enable-lora --max-loras 2 --max-lora-rank 8",
    ):  # fmt: skip
        assert part in text
    # What the user writes comes last, and counts.
    assert text.endswith("--max-model-len 2048") and "--max-model-len 5096" in text
    environment = _environment(settings, model_in(tmp_path, lora_rank=8), 0)
    assert environment["VLLM_SERVER_DEV_MODE"] == environment["X"] == "1"
    assert environment["CUDA_VISIBLE_DEVICES"] == "3,4"
    assert environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    assert environment["VLLM_API_KEY"] == os.environ["HOME"]
    on_gpu = " ".join(_command(settings, model_in(tmp_path, on_cpu=False), 1))
    assert "chunked" not in on_gpu and "--enforce-eager" not in on_gpu


def test_servers_end_with_close_and_a_server_that_has_ended_is_named(tmp_path: Path) -> None:
    settings = settings_of(sys.executable, "-c", WAIT, count=2)
    servers = ServerProcesses(settings, model_in(tmp_path), tmp_path)
    first, second = servers.urls
    wait_for(lambda: all(log.read_text() for log in servers.logs.values()))
    assert servers.logs[first].read_text() == f"['{tmp_path}', '{first.rpartition(':')[2]}']\n"
    pids = [children(process.pid)[0] for process in servers._processes.values()]
    os.kill(pids[0], signal.SIGKILL)
    wait_for(lambda: servers.ended(first) is not None)
    assert "has ended with status 9; its log" in str(servers.ended(first))
    assert servers.ended(second) is None and servers.ended("http://elsewhere:1") is None
    servers.close()
    assert not any(map(alive, pids))


def test_a_program_that_is_not_there_is_said_in_the_log(tmp_path: Path) -> None:
    servers = ServerProcesses(settings_of("/no/such/program"), model_in(tmp_path), tmp_path)
    (url,) = servers.urls
    wait_for(lambda: servers.ended(url) is not None)
    assert "/no/such/program cannot be run" in str(servers.ended(url))
    servers.close()


def test_no_server_outlives_a_stage_that_is_killed(tmp_path: Path) -> None:
    command = interpreter.command("tests.unit.started_servers:start", [str(tmp_path)])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stage:
        assert stage.stdout is not None
        guard, server = map(int, stage.stdout.readline().split())
        assert alive(guard) and alive(server)
        stage.kill()
    wait_for(lambda: not alive(guard) and not alive(server))
