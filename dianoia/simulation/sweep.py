"""Predictions over numbers of devices: which sharding fits, which split of samplers and learners is fastest. No torch.

In: an rl stage, its model, lengths, a machine, counts. Out: `Point`s. Memory decides the sharding, as in the plan.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from dianoia.config import RLStage
from dianoia.hardware.machine import Machine
from dianoia.recipe.plan.layout import Layout, Sharding
from dianoia.recipe.plan.memory import TIGHT, peak
from dianoia.recipe.plan.model_sizes import Size
from dianoia.simulation.prediction import RolloutTimes, Workload, check_samplers, predict
from dianoia.simulation.rates import Rates

_SHARES = (1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8)
"""Shares of the ranks that are tried as samplers."""


@dataclass(frozen=True, slots=True)
class Point:
    """A prediction."""

    times: RolloutTimes
    shard: Sharding
    fits: bool
    """Whether the memory of a rank is enough."""
    efficiency: float = 1.0
    """Tokens per second and device, over those that the sweep compares with."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Devices of a sweep."""

    machine: Machine
    """One rank's device; the ranks of a CPU share it."""
    rates: Rates
    per_node: int


def sweep(
    stage: RLStage,
    work: Workload,
    cluster: Cluster,
    counts: Sequence[int],
    reward_models: Collection[Size] = (),
    staleness: int = 0,
    overlap: bool = False,
    samplers: int | None = None,
    seed: int = 0,
    per_device: float | None = None,
) -> list[Point]:
    """Return a point per number of ranks; with `staleness` the fastest split between samplers and learners.

    `samplers`: ranks that only sample; None: as many as are fastest, and none if the weights are always the newest.
    `per_device`: tokens per second and device of which the efficiency is a share; None: those of the first point.

    Raises:
        ConfigError: `samplers` leaves no rank to learn.
    """
    points: list[Point] = []
    for ranks in counts:
        layout = Layout(ranks, cluster.per_node)
        splits = [samplers or 0]
        if staleness and samplers is None:
            splits = _splits(ranks, cluster.per_node)
        candidates = [
            _point(stage, work, cluster, layout, split, reward_models, staleness, overlap, seed)
            for split in splits
        ]
        # one that fits is better than a faster one that does not
        if candidates:
            # Ties go to the first candidate, which has the fewest samplers.
            points.append(min(candidates, key=lambda point: (not point.fits, point.times.total)))
    if not points:
        return []
    base = points[0].times.tokens_per_device if per_device is None else per_device
    # the ranks of a CPU share one device
    return [
        replace(
            point,
            efficiency=point.times.tokens_per_device
            * (point.times.ranks if cluster.machine.cpu else 1)
            / base,
        )
        for point in points
    ]


def _splits(ranks: int, per_node: int) -> list[int]:
    """Return numbers of samplers that leave at least one learner, and equally many learners on every node."""
    samplers = {round(share * ranks) for share in _SHARES} & set(range(1, ranks))
    learners = {count: ranks - count for count in samplers}
    # Learners on several nodes need equal ones, since a copy of the model is cut alike on each.
    return sorted(n for n, rest in learners.items() if rest <= per_node or not rest % per_node)


def _point(
    stage: RLStage,
    work: Workload,
    cluster: Cluster,
    layout: Layout,
    samplers: int,
    reward_models: Collection[Size],
    staleness: int,
    overlap: bool,
    seed: int,
) -> Point:
    # Before the memory of the learners is counted, which divides by their number.
    check_samplers(layout, samplers, staleness)
    learners = replace(layout, ranks=layout.ranks - samplers, served=samplers > 0)
    rates = cluster.rates.share(layout.ranks) if cluster.machine.cpu else cluster.rates
    shard, fits = _first_that_fits(stage, work, cluster, learners, reward_models)
    times = predict(work, rates, layout.with_shard(shard), samplers, staleness, overlap, seed)
    return Point(times, shard, fits)


def _first_that_fits(
    stage: RLStage,
    work: Workload,
    cluster: Cluster,
    layout: Layout,
    reward_models: Collection[Size],
) -> tuple[Sharding, bool]:
    """Return the sharding with least communication that fits the memory of a rank, else the widest; and whether it fits."""
    machine, size = cluster.machine, work.learning.size
    choices = layout.choices()
    if machine.memory is None:
        return choices[0], True
    # A GPU's memory belongs to one rank; a CPU's ranks share that of the node.
    room = TIGHT * machine.memory / (layout.node_ranks if machine.cpu else 1)
    for shard in choices:
        phase = peak(stage, size, machine, None, reward_models, layout.with_shard(shard))
        if phase.bytes <= room:
            return shard, True
    return choices[-1], False
