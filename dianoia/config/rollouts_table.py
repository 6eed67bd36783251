"""The `rollouts` table of an `rl` stage: who draws the rollouts, and how old the weights may be that draw them.

Decisions:
1. vLLM is never imported: its pins of PyTorch and transformers are not ours. It runs in an environment of its own, behind HTTP.
2. `staleness` is exact and not an upper bound: rollout n is drawn with the weights of rollout n - k, whatever the speed of
   servers and learner. So a seed still decides every result.
"""

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from dianoia.config.settings import Settings

SERVER_KEYS = frozenset(
    {
        "servers",
        "python",
        "command",
        "count",
        "devices",
        "arguments",
        "environment",
        "weights",
        "patience",
        "start_seconds",
    }
)
"""Keys that say where rollouts are drawn and never what is drawn; with `concurrency`, `timeout` and `key_env` of all tables."""
_URL = re.compile(r"https?://[^\s/@?#]+/?")
MODEL_PLACE, PORT_PLACE = ("{" + name + "}" for name in ("model", "port"))
"""In `command`: what is replaced by the folder of the model, and by the port."""


class RolloutSettings(Settings):
    """Who draws the rollouts of a stage; absent: this process, with the newest weights."""

    engine: Literal["native", "vllm"] = "native"
    """`native`: in the process that trains. `vllm`: servers of vLLM, or of `dianoia serve --rollouts`."""
    servers: list[str] = []
    """Only with `vllm`: addresses of servers that run, such as `["http://10.0.0.2:8000"]`."""
    python: str | None = None
    """Only with `vllm`: the environment in which vLLM is installed, a folder or its Python. Servers are started there
    with the stage and end with it."""
    command: list[str] = []
    """Instead of `python`: the command that starts a server, program and arguments; `{model}` and `{port}` are
    replaced."""
    count: int = Field(default=1, ge=1)
    """Number of servers that are started, each with its own port."""
    devices: list[str] = []
    """`CUDA_VISIBLE_DEVICES` of each server that is started, such as `["4", "5"]` or `["4,5"]`; absent: that of the
    stage."""
    arguments: list[str] = []
    """Further options of `vllm serve`, such as `["--tensor-parallel-size", "2"]`."""
    environment: dict[str, str] = {}
    """Environment variables of servers that are started."""
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable that holds the key of the servers."""
    weights: str | None = None
    """Folder in which each version of the weights is written, under a path that the servers see too; absent: `/dev/shm`
    where it has room, else the stage's folder. Required for servers on other machines."""
    lora: Literal["adapter", "merged"] = "adapter"
    """With a `lora` table: servers get each version as an adapter, or as merged weights."""
    concurrency: int = Field(default=64, ge=1)
    """Requests under way at the same time per server."""
    timeout: float = Field(default=600.0, gt=0)
    """Seconds that one response may take; after them it is drawn again, on another server if there is one."""
    patience: float = Field(default=60.0, ge=0)
    """Seconds to wait for a server to come back when none is left."""
    start_seconds: float = Field(default=600.0, gt=0)
    """Seconds that servers may take to start."""
    staleness: int = Field(default=0, ge=0, le=16)
    """k: a rollout is drawn with the weights of k rollouts before, while the learner takes the steps of those between. 0:
    with the newest weights, before the learner goes on. Above 0 needs `algorithm.importance_cap`."""

    @property
    def served(self) -> bool:
        """Return True if servers draw the rollouts."""
        return self.engine == "vllm"

    @model_validator(mode="after")
    def _engine_reads_every_key(self) -> Self:
        if self.served:
            return self
        for name, field in type(self).model_fields.items():
            if name not in ("engine", "staleness") and getattr(self, name) != field.default:
                raise ValueError(
                    f'{name} belongs to servers, and engine = "native" has none, so nothing would read it; remove it, or '
                    'set engine = "vllm"'
                )
        return self

    @model_validator(mode="after")
    def _servers_are_named_once(self) -> Self:
        named = [key for key in ("servers", "python", "command") if getattr(self, key)]
        if self.served and len(named) != 1:
            raise ValueError(
                (f"{' and '.join(named)} are set" if named else 'engine = "vllm" names no servers')
                + '; set one of servers = ["http://HOST:PORT"] (they run already), python = "VENV" (vLLM is started there) '
                "and command = [...]"
            )
        if self.servers and (self.devices or self.arguments or self.environment or self.count > 1):
            raise ValueError(
                "count, devices, arguments and environment are for servers that are started, and those of servers = "
                f"{self.servers} run already; remove them"
            )
        if self.devices and len(self.devices) != self.count:
            raise ValueError(
                f"devices has {len(self.devices)} entries and count = {self.count}: give each server its devices"
            )
        return self

    @model_validator(mode="after")
    def _addresses_and_command(self) -> Self:
        for url in self.servers:
            if not _URL.fullmatch(url):
                raise ValueError(
                    f"servers: {url!r} is no address of a server; write http:// or https://, host and port, without a path, "
                    "such as http://10.0.0.2:8000"
                )
        if len({url.rstrip("/") for url in self.servers}) != len(self.servers):
            raise ValueError(f"servers = {self.servers}: an address stands there twice")
        missing = [
            place
            for place in (MODEL_PLACE, PORT_PLACE)
            if not any(place in part for part in self.command)
        ]
        if self.command and missing:
            raise ValueError(
                f"command has no {missing[0]}, so the server could not be told; for example "
                '["dianoia", "serve", "{model}", "--port", "{port}", "--rollouts"]'
            )
        if self.command and self.arguments:
            raise ValueError(
                "arguments are options of `vllm serve`; write those of command into it"
            )
        return self
