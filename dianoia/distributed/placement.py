"""Which rank a process is, and where the ranks meet. No torch.

torchrun's environment is read as it is: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT. Any other
launcher that sets it will do.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from dianoia.base.errors import ConfigError

LOOPBACK = "127.0.0.1"
"""Address at which the ranks of one command meet; no other machine can reach it."""


@dataclass(frozen=True, slots=True)
class RankCount:
    """How many ranks run each stage of a command."""

    size: int = 1
    per_machine: int = 1


ALONE = RankCount()
"""A process by itself."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One rank among the ranks of a stage."""

    rank: int
    size: int
    """Number of ranks on all machines."""
    local_rank: int
    """Number of the rank among those of its machine; its GPU has this number."""
    local_size: int
    """Number of ranks on this machine."""
    host: str = LOOPBACK
    """Name or address of rank 0's machine."""
    port: int = 0
    listener: int | None = None
    """Descriptor of a socket that listens at `port`, in the process that hosts the store; None: it opens one."""
    hosts_store: bool | None = None
    """Whether this process hosts the store in which ranks meet; None: rank 0 does."""

    @property
    def is_host(self) -> bool:
        """Return True if this process hosts the store."""
        return self.rank == 0 if self.hosts_store is None else self.hosts_store


def placement_by_environment(environment: Mapping[str, str] = os.environ) -> Placement | None:
    """Return the placement that a launcher such as torchrun has set; None without one, or for a single rank.

    Raises:
        ConfigError: a variable is missing, or is no number in its range.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    rank, size = _whole(environment, "RANK", 0), _whole(environment, "WORLD_SIZE", 1)
    if size == 1:
        return None
    if rank >= size:
        raise ConfigError(
            f"RANK={rank} and WORLD_SIZE={size}: ranks are numbered from 0 to {size - 1}; start the command with torchrun, or "
            "unset both variables to run one process"
        )
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if name not in environment:
            raise ConfigError(
                f"RANK={rank} and WORLD_SIZE={size} are set and {name} is not, so the ranks cannot find one another; start the "
                "command with torchrun, or unset RANK and WORLD_SIZE to run one process"
            )
    agent = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return Placement(
        rank,
        size,
        _whole(environment, "LOCAL_RANK", 0, default=rank),
        _whole(environment, "LOCAL_WORLD_SIZE", 1, default=size),
        environment["MASTER_ADDR"],
        _whole(environment, "MASTER_PORT", 1),
        # torchrun's agent has opened the store already.
        hosts_store=False if agent else None,
    )


def _whole(
    environment: Mapping[str, str], name: str, least: int, default: int | None = None
) -> int:
    text = environment.get(name)
    if text is None and default is not None:
        return default
    if text is None or not (text.isascii() and text.isdigit()) or int(text) < least:
        raise ConfigError(
            f"{name}={text}: a launcher sets it to a whole number from {least} on; start the command with torchrun, or unset "
            "RANK and WORLD_SIZE to run one process"
        )
    return int(text)
