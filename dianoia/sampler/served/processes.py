"""Servers that are started with a stage and end with it, however that ends.

In: commands. Out: addresses at which the servers will answer, and why one has ended. Each server runs below a guard, a process of ours in a
session of its own that ends it once the stage's process is gone: its standard input closes then, after a SIGKILL too. Not here: when a
server is ready (`fleet`). No torch, so that a guard is small.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dianoia.config.rollouts_table import MODEL_PLACE, PORT_PLACE, RolloutSettings
from dianoia.models.vllm_environment import vllm_program
from dianoia.sandbox import interpreter

HOST = "127.0.0.1"
_GRACE = 20.0
"""Seconds that a server has to end by itself; vLLM ends several processes."""
_POLL_SECONDS = 0.25
_TAIL = 2000
"""Characters of a log that a message shows."""
_PROMPT_TOKENS = 4096
"""Room for a prompt beside the longest response, in the context that vLLM is started with."""
_VLLM = {
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    # The environment of vLLM is its own; packages of this one would be found first.
    "PYTHONPATH": "",
}
_VLLM_CPU = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_WAIT_POLICY": "passive",
}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What servers are started with."""

    folder: Path
    dtype: str
    """`float32` or `bfloat16`."""
    positions: int | None
    """Most tokens of a prompt with its response."""
    max_tokens: int
    """Of the longest response."""
    lora_rank: int
    """0: no adapters."""
    on_cpu: bool


class ServerProcesses:
    """The servers of a stage. Close it to end them."""

    def __init__(self, settings: RolloutSettings, model: ServedModel, log_folder: Path) -> None:
        """Start them; they take a while to answer. Raises ConfigError for a command that cannot be run."""
        self.logs: dict[str, Path] = {}
        """Log of each server by its address."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for number, port in enumerate(_free_ports(settings.count)):
            url = f"http://{HOST}:{port}"
            environment = os.environ | _environment(settings, model, number)
            self.logs[url] = log_folder / f"rollout-server-{number + 1}.log"
            self._processes[url] = _guarded(
                _command(settings, model, port), environment, self.logs[url]
            )

    @property
    def urls(self) -> list[str]:
        """Addresses of the servers."""
        return list(self._processes)

    def ended(self, url: str) -> str | None:
        """Return why a server has ended, with the end of its log; None while it runs."""
        process = self._processes.get(url)
        if process is None or process.poll() is None:
            return None
        log = self.logs[url]
        text = log.read_text(encoding="utf-8", errors="replace").strip()[-_TAIL:]
        return f"it has ended with status {process.returncode}; its log, {log}, ends:\n{text}"

    def close(self) -> None:
        """End all servers."""
        for process in self._processes.values():
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()
        for process in self._processes.values():
            try:
                process.wait(_GRACE + 5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at. Another program may take one before the server does, which then ends."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [bound.getsockname()[1] for bound in sockets]
    for bound in sockets:
        bound.close()
    return ports


def _environment(settings: RolloutSettings, model: ServedModel, number: int) -> dict[str, str]:
    variables: dict[str, str] = {}
    if settings.python is not None:
        variables |= _VLLM
        if model.on_cpu:
            # What the user has set already stays.
            variables |= {key: os.environ.get(key, value) for key, value in _VLLM_CPU.items()}
        if model.lora_rank:
            variables["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
        if settings.key_env is not None:
            variables["VLLM_API_KEY"] = os.environ.get(settings.key_env, "")
    if settings.devices:
        variables["CUDA_VISIBLE_DEVICES"] = settings.devices[number]
    return variables | settings.environment


def _command(settings: RolloutSettings, model: ServedModel, port: int) -> list[str]:
    if settings.python is None:
        values = {MODEL_PLACE: str(model.folder), PORT_PLACE: str(port)}
        return [_filled(part, values) for part in settings.command]
    command = [str(vllm_program(settings.python)), "serve", str(model.folder)]
    command += ["--served-model-name", "policy", "--host", HOST, "--port", str(port)]
    command += ["--dtype", model.dtype, "--logprobs-mode", "processed_logprobs"]
    command += ["--enable-scale-out"]
    if model.positions is not None:
        context = min(model.positions, model.max_tokens + _PROMPT_TOKENS)
        command += ["--max-model-len", str(context)]
    if model.on_cpu:
        # A seeded prompt that is cut would end the engine; compiling takes longer than a short run saves.
        command += ["--no-enable-chunked-prefill", "--enforce-eager"]
    if model.lora_rank:
        # Two: the next version is proved while the old one is there.
        command += ["--enable-lora", "--max-loras", "2", "--max-lora-rank", str(model.lora_rank)]
    return command + settings.arguments


def _filled(part: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        part = part.replace(name, value)
    return part


def _guarded(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    """Start a command below a guard."""
    target = f"{__name__}:guard"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            interpreter.command(target, [list(command), dict(environment)]),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            # Ctrl-C goes to the group of the command, which writes a state first.
            start_new_session=True,
        )


# In the guard --------------------------------------------------------------------------------------


def guard(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a command until it ends, or until the process that started the guard does; then end all of its processes."""
    parent = os.getppid()
    try:
        server = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        print(f"{command[0]} cannot be run: {error}", file=sys.stderr)  # noqa: T201 - the log
        sys.exit(127)
    # A forked process of the stage may hold the other end of standard input, so the parent is looked at too.
    while server.poll() is None and os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin.fileno()], [], [], _POLL_SECONDS)
        if readable and not os.read(sys.stdin.fileno(), 1):
            break
    status = server.poll()
    _end(server)
    sys.exit(1 if status is None else abs(status))


def _end(server: "subprocess.Popen[bytes]") -> None:
    """End a server and all processes of its session."""
    # The server alone at first: it ends its own processes, in the order that frees their shared memory.
    server.terminate()
    deadline = time.monotonic() + _GRACE
    while server.poll() is None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
