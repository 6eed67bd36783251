"""A stage that starts a server and waits, as a process of its own. Imports no torch, so that it starts at once."""

import sys
import time
from pathlib import Path

from dianoia.config import RolloutSettings
from dianoia.sampler.served.processes import ServedModel, ServerProcesses

WAIT = "import sys, time; print(sys.argv[1:], flush=True); time.sleep(60)"


def model_in(folder: Path, **changes: object) -> ServedModel:
    fields = {
        "folder": folder,
        "dtype": "float32",
        "positions": 40_960,
        "max_tokens": 1000,
        "lora_rank": 0,
        "on_cpu": True,
    }
    return ServedModel(**{**fields, **changes})  # type: ignore[arg-type]


def settings_of(*command: str, **options: object) -> RolloutSettings:
    places = ["{model}", "{port}"]
    return RolloutSettings(engine="vllm", command=[*command, *places], **options)  # type: ignore[arg-type]


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def start(folder: str) -> None:
    settings = settings_of(sys.executable, "-c", WAIT)
    servers = ServerProcesses(settings, model_in(Path(folder)), Path(folder))
    (process,) = servers._processes.values()
    while not children(process.pid):
        time.sleep(0.01)
    print(process.pid, *children(process.pid), flush=True)  # noqa: T201
    time.sleep(60)
