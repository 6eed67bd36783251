"""How a stage is spread over processes: ranks, nodes, and what ranks share. No torch.

In: the number of ranks, how many fit on a node, the recipe's `shard`, whether servers draw the rollouts. Out: `Layout`, which
the estimates of memory and time read. A rank is one process with one device (on a CPU: with its share of the cores); every
rank samples, scores and learns from its share of the groups. Servers run on devices of their own and count as no rank.
"""

from dataclasses import dataclass, replace
from typing import Literal

from dianoia.recipe.plan.number_format import plural

Sharding = Literal["none", "node", "all"]
"""Over which ranks weights, gradients and optimizer states are divided: over none, over those of a node, or over all."""
NODE_RANKS = 8
"""GPUs of a node where nothing else is said: the usual machine with NVLink has eight."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Processes of a stage."""

    ranks: int = 1
    per_node: int = NODE_RANKS
    """Most ranks of one node."""
    shard: Sharding = "none"
    served: bool = False
    """Whether servers draw the rollouts, so that no rank has a sampler."""

    @property
    def nodes(self) -> int:
        """Nodes that the ranks fill."""
        return -(-self.ranks // self.per_node)

    @property
    def node_ranks(self) -> int:
        """Ranks on the fullest node."""
        return min(self.ranks, self.per_node)

    @property
    def group(self) -> int:
        """Ranks that hold one copy of the trained model together."""
        return {"none": 1, "node": self.node_ranks, "all": self.ranks}[self.shard]

    @property
    def sharded(self) -> bool:
        """Return True if a rank holds less than a whole copy."""
        return self.group > 1

    def with_shard(self, shard: Sharding) -> "Layout":
        """Return the same ranks with another sharding."""
        return replace(self, shard=shard)

    def choices(self) -> tuple[Sharding, ...]:
        """Return the shardings that differ for these ranks, from the one with least communication."""
        divided: list[Sharding] = ["node"] if self.node_ranks > 1 else []
        return ("none", *divided, "all") if self.nodes > 1 else ("none", *divided)

    def __str__(self) -> str:
        """Return the ranks in words, such as `16 ranks on 2 nodes`."""
        if self.ranks == 1:
            return "1 rank"
        return f"{plural(self.ranks, 'rank')} on {plural(self.nodes, 'node')}"


ALONE = Layout()
"""One process with one device."""


def layout_of(ranks: int, per_node: int, nodes: int | None = None) -> Layout:
    """Return the layout of `ranks` ranks, at most `per_node` on a node; or of `nodes` nodes with `ranks` ranks each."""
    return Layout(ranks, per_node) if nodes is None else Layout(ranks * nodes, ranks)
