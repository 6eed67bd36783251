"""What an RL stage's diagnoses look back on, from rollout to rollout and from point to point.

In: scored groups, and points of the held-out curves. Out: the diagnoses that begin with them. Flat rewards are
looked for among problems with a verifier, what is wrong with a reward model among general prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dianoia.algo.estimates import estimate_unbounded
from dianoia.base.records import GENERAL, Group, Purpose
from dianoia.judge.diagnosis import PATIENCE, Diagnosis, diagnose
from dianoia.judge.group_summary import BatchSummary, OneAnswer, summarize
from dianoia.judge.hacking import Point, Spread, diagnose_spread, hacking, spread
from dianoia.judge.reward_part import FORMAT, LANGUAGE
from dianoia.metrics.commonest_answer import one_answer
from dianoia.metrics.training_metrics import Weights

BATCHES = 64
"""Rollouts that the diagnosis of flat rewards looks back on."""
POINTS = 64
"""Points of the held-out curves that are compared."""


class Watch:
    """The history of one stage, as far as diagnoses need it."""

    def __init__(
        self, relative: bool = True, weights: Weights | None = None, from_step: int = 0
    ) -> None:
        """`relative` as `summarize`; `weights` of a stage with reward models, in play from `from_step` on."""
        self.relative, self.weights, self.from_step = relative, weights or {}, from_step
        self.batches: list[BatchSummary] = []
        self.spreads: dict[str, list[Spread]] = {}
        self.points: list[Point] = []

    def rollout(
        self, step: int, groups: Sequence[Group], thought_tokens: float | None
    ) -> list[Diagnosis]:
        """What begins with a rollout; `thought_tokens` is the mean of its problems with a verifier."""
        reasoning = [group for group in groups if group.purpose is Purpose.REASONING]
        given = one_answer(reasoning)
        summary = summarize(step, reasoning, thought_tokens, self.relative, given)
        self.batches = [*self.batches, summary][-BATCHES:]
        found = diagnose(self.batches)
        for purpose in GENERAL:
            general = [group for group in groups if group.purpose is purpose]
            found += self._spread(purpose.value, general)
        return found

    def _spread(self, name: str, groups: Sequence[Group]) -> list[Diagnosis]:
        if not groups:
            return []
        rules = sum(self.weights.get(rule, 0.0) for rule in (FORMAT, LANGUAGE))
        found = spread(name, groups, self.weights[name], rules)
        self.spreads[name] = [*self.spreads.get(name, []), found][-PATIENCE - 1 :]
        return diagnose_spread(self.spreads[name])

    def point(self, point: Point) -> list[Diagnosis]:
        """What begins with a point of the held-out curves."""
        earlier = [] if point.step <= self.from_step else self.points
        self.points = [*earlier, point][-POINTS:]
        return hacking(self.points, estimate_unbounded)

    def state(self) -> dict[str, Any]:
        """What `load_state` needs to go on."""
        return {
            "batches": [asdict(summary) for summary in self.batches],
            "spreads": {n: [asdict(one) for one in some] for n, some in self.spreads.items()},
            "points": [asdict(point) for point in self.points],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state()` was taken."""
        self.batches = [
            BatchSummary(
                **{
                    **one,
                    "unparseable_ids": tuple(one["unparseable_ids"]),
                    "level_parts": tuple(one.get("level_parts", ())),
                    "one_answer": OneAnswer(**given) if (given := one.get("one_answer")) else None,
                }
            )
            for one in state["batches"]
        ]
        self.spreads = {n: [Spread(**one) for one in some] for n, some in state["spreads"].items()}
        self.points = [
            Point(
                one["step"],
                tuple(one["accuracy_P"]),
                {name: tuple(values_P) for name, values_P in one["learned"].items()},
            )
            for one in state["points"]
        ]
