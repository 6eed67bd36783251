"""The order in which stages run, and how long a run takes in that order. Pure.

In: the stages that each stage reads, the number of jobs, and for an estimate the seconds of each stage. Out: what to start
next, and the seconds until the last stage has ended. The scheduler (`pipeline.scheduler`) and the plan use the same rules.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def ready_stages(
    needs: Mapping[Node, Collection[Node]], begun: Collection[Node], done: Collection[Node]
) -> list[Node]:
    """Return the stages that can start now, in the order of the recipe.

    Args:
        needs: the stages that each stage reads; a stage is named after those that it reads.
    """
    return [
        stage
        for stage, sources in needs.items()
        if stage not in begun and all(source in done for source in sources)
    ]


def longest_chain_first(
    stages: Sequence[Node], needs: Mapping[Node, Collection[Node]]
) -> list[Node]:
    """Sort stages by the length of the longest chain that depends on each; equals keep their order."""
    lengths = chain_lengths(needs)
    return sorted(stages, key=lambda stage: -lengths[stage])


def chain_lengths(needs: Mapping[Node, Collection[Node]]) -> dict[Node, int]:
    """Return, per stage, how many stages the longest chain has that depends on it."""
    # Backwards, so that the length of a stage is final before it is passed on to the stages that it reads.
    lengths = dict.fromkeys(needs, 0)
    for stage in reversed(list(needs)):
        for source in needs[stage]:
            lengths[source] = max(lengths[source], lengths[stage] + 1)
    return lengths


def next_stage(
    needs: Mapping[Node, Collection[Node]],
    begun: Collection[Node],
    done: Collection[Node],
    jobs: int,
) -> Node | None:
    """Return the stage that a free job starts; None if none is ready.

    One job works through the recipe in its order. With several, the longest chain must not be kept waiting.
    """
    ready = ready_stages(needs, begun, done)
    ordered = ready if jobs == 1 else longest_chain_first(ready, needs)
    return ordered[0] if ordered else None


def run_seconds(
    needs: Mapping[Node, Collection[Node]], seconds: Mapping[Node, float], jobs: int
) -> float:
    """Return the seconds until all stages have ended if `jobs` of them run at the same time.

    Stages that `needs` names as sources and does not list count as done. Jobs do not slow one another down.
    """
    # Stages that do not run, such as those that are done, hold nobody up.
    waits = {stage: [s for s in sources if s in needs] for stage, sources in needs.items()}
    ends: dict[Node, float] = {}
    done: set[Node] = set()
    now = 0.0
    while len(done) < len(waits):
        while len(ends) - len(done) < jobs:
            stage = next_stage(waits, ends, done, jobs)
            if stage is None:
                break
            ends[stage] = now + seconds[stage]
        # The next stage to end; of several at the same moment, all have ended.
        now = min(end for stage, end in ends.items() if stage not in done)
        done |= {stage for stage, end in ends.items() if end <= now}
    return now
