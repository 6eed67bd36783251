"""How ranks are laid out on the nodes of a cluster, and the environment of each. No Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dianoia.base.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Node:
    """What one node of the cluster has, used or not."""

    address: str
    cpus: float
    gpus: float

    def ranks(self, cpus: int, gpus: int) -> int:
        """Return how many ranks that take so much each the node has room for."""
        by_gpus = int(self.gpus) // gpus if gpus else None
        by_cpus = int(self.cpus) // cpus
        return by_cpus if by_gpus is None else min(by_cpus, by_gpus)


@dataclass(frozen=True, slots=True)
class Layout:
    """The same number of ranks on each of several nodes; ranks are numbered node by node."""

    nodes: int
    per_node: int
    cpus: int
    """Of each rank."""
    gpus: int
    """Of each rank: 1, or 0 on CPUs."""

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self.nodes * self.per_node

    def bundles(self) -> list[dict[str, float]]:
        """Return the room to reserve, a bundle for all ranks of a node."""
        bundle = {"CPU": float(self.cpus * self.per_node)}
        if self.gpus:
            bundle["GPU"] = float(self.gpus * self.per_node)
        return [dict(bundle) for _ in range(self.nodes)]

    def node_of(self, rank: int) -> int:
        """Return the number of the bundle, and so of the node, of a rank."""
        return rank // self.per_node


def lay_out(nodes: Sequence[Node], ranks: int, cpus: int, gpus: int) -> Layout:
    """Return the layout with as few nodes as possible: ranks of one node exchange data fastest.

    Every node gets equally many, since a model may be divided among the ranks of a node.

    Args:
        cpus: of each rank; 0: an even part of its node's.
        gpus: of each rank, 0 or 1.

    Raises:
        ConfigError: the cluster has not enough; the message says what it has.
    """
    room = [node.ranks(max(1, cpus), gpus) for node in nodes]
    # The fewest nodes first: ranks of one node exchange without the network.
    for per_node in range(ranks, 0, -1):
        count = ranks // per_node
        fitting = [node for node, free in zip(nodes, room, strict=True) if free >= per_node]
        if ranks % per_node == 0 and len(fitting) >= count:
            most = sorted((int(node.cpus) for node in fitting), reverse=True)
            # Of the smallest node among those with most CPUs: every rank gets equally many.
            return Layout(count, per_node, cpus or most[count - 1] // per_node, gpus)
    option = f"--gpus {ranks}" if gpus else f"--ranks {ranks}"
    each = "a GPU and a CPU" if gpus else "a CPU" if cpus <= 1 else f"{cpus} CPUs"
    has = "; ".join(_node_text(node) for node in nodes) or "no node"
    raise ConfigError(
        f"{option}: each rank takes {each}, every node gets equally many, and the cluster has no room for it: {has}. "
        f"{_advice(room, ranks)}"
    )


def _node_text(node: Node) -> str:
    gpus = f", {node.gpus:g} GPUs" if node.gpus else ""
    return f"{node.address} has {node.cpus:g} CPUs{gpus}"


def _advice(room: Sequence[int], ranks: int) -> str:
    """Return the largest smaller number of ranks that fits."""
    fitting = (
        count
        for count in range(min(ranks - 1, sum(room)), 0, -1)
        if any(
            count % per_node == 0 and sum(free >= per_node for free in room) >= count // per_node
            for per_node in range(1, count + 1)
        )
    )
    largest = next(fitting, 0)
    return f"{largest} would fit; or add nodes" if largest else "Add nodes"


def gpu_count(nodes: Sequence[Node]) -> int:
    """Return the GPUs of all nodes."""
    return sum(int(node.gpus) for node in nodes)


PASSED_ON = ("DIANOIA_", "HF_", "NCCL_", "GLOO_", "TORCH_", "OMP_", "CUDA_LAUNCH_")
"""Beginnings of the names of variables that ranks get from the driver: settings, not the machine's own."""


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the driver that its ranks get too."""
    return {name: text for name, text in environment.items() if name.startswith(PASSED_ON)}


def rank_environment(rank: int, layout: Layout, host: str, port: int, gpus: Sequence[str] = ()) -> dict[str, str]:  # fmt: skip
    """Return what torchrun would set for a rank; `gpus` are those that all ranks of its node share.

    A rank takes the GPU whose place in the list is its local rank.
    """
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(layout.size),
        "LOCAL_RANK": str(rank % layout.per_node),
        "LOCAL_WORLD_SIZE": str(layout.per_node),
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),  # none on CPUs, whatever the node has
    }
