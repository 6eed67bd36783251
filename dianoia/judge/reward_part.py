"""The protocol of every part of a reward: a batch of rollouts in, a list of values out.

Rules, reward functions of users, reward models and LLM graders are all `RewardPart`s; the judge (`judge.judge`) runs them
and adds them up. Not here: any part itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dianoia.base.records import Purpose, Rollout, RolloutGroup

Values = list[float | None]
"""One value per rollout, unweighted; None: the part does not apply to the rollout, which is not zero."""

ACCURACY = "accuracy"
FORMAT = "format"
LANGUAGE = "language"
GRADER = "judge"
"""Name of the part of an LLM grader that pays beside the accuracy. Recipes, metrics and runs have it."""
SIMPLE = (ACCURACY, FORMAT, LANGUAGE, "random", "overlong")
"""Parts whose mean says everything: shares, and a penalty that hardly any sample meets."""


@dataclass(slots=True)
class ScoringState:
    """What a part may read besides its rollouts, and where it logs. Each part gets a state of its own."""

    step: int = 0
    """Optimizer steps that are done."""
    steps: int = 1
    """Optimizer steps of the stage."""
    max_tokens: int = 0
    """Limit on response tokens that the rollouts were sampled under."""
    group_sizes: Sequence[int] = ()
    """Rollouts per group; the rollouts of a group follow one another."""
    accuracy: Sequence[float | None] = ()
    """Accuracy of each rollout, for parts that set `reads_accuracy`; empty for others."""
    notes: dict[str, Sequence[Any]] = field(default_factory=dict)
    """Log: columns for the file of rollouts, one entry per rollout."""
    metrics: dict[str, list[float]] = field(default_factory=dict)
    """Log: numbers for `metrics.jsonl`, averaged over all that parts log under one name."""
    verdicts: Sequence[str | None] = ()
    """Log: the verifier's verdict on each rollout (`Grade.label`)."""


class ScoredBy(StrEnum):
    """Which ranks of a stage score for a part."""

    SHARES = "shares"
    """Each rank scores some of the groups: a value depends on its own rollout or group alone."""
    ALL = "all"
    """Every rank is called about all groups: the part shares its work out itself."""
    FIRST = "first"
    """Rank 0 scores all groups: what it calls may count its calls, or costs money."""


class RewardPart(ABC):
    """One part of a reward."""

    scored_by: ScoredBy = ScoredBy.SHARES

    waits: bool = False
    """True if scoring waits for other processes or machines, so that it runs in a thread beside the other parts."""
    reads_accuracy: bool = False
    """True if the part reads `ScoringState.accuracy`, so that it runs after the others."""

    def __init__(
        self, name: str, weight: float = 1.0, purposes: Collection[Purpose] = tuple(Purpose)
    ) -> None:
        """`name` is the key in `Score.parts`, in metrics and in reports; `purposes` are those of the groups it covers."""
        self.name, self.weight, self.purposes = name, weight, purposes

    def covers(self, group: RolloutGroup) -> bool:
        """Return True if the part belongs to the reward of this group; a group that it does not cover has no entry."""
        return group.purpose in self.purposes

    @abstractmethod
    def score(self, rollouts: Sequence[Rollout], state: ScoringState) -> Values | Awaitable[Values]:
        """Return a value per rollout, in order, for all rollouts of all groups that the part covers.

        Awaitables of several parts are awaited together.
        """

    def figures(self) -> dict[str, float]:
        """Return metrics of what was scored since the last call."""
        return {}
