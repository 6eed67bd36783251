"""The history of one RL stage, which its diagnoses look back on.

In: scored groups, and points of the held-out curves. Out: the diagnoses that begin with them. Flat rewards are diagnosed on
problems with a verifier, faults of a reward model on general prompts. Not here: the conditions (`judge.diagnosis`,
`judge.hacking`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dianoia.algo.estimates import estimate_unbounded
from dianoia.base.records import GENERAL, Group, Purpose
from dianoia.judge.diagnosis import PATIENCE, Diagnosis, diagnose
from dianoia.judge.functions import FunctionPart
from dianoia.judge.group_summary import BatchSummary, OneAnswer, summarize
from dianoia.judge.hacking import Point, Spread, diagnose_spread, hacking, spread
from dianoia.judge.reward_part import FORMAT, LANGUAGE
from dianoia.judge.unpaid import Unpaid
from dianoia.metrics.most_common_answer import one_answer
from dianoia.metrics.training_metrics import Weights

BATCHES = 64
"""Rollouts that the diagnosis of flat rewards looks back on."""
POINTS = 64
"""Points of the held-out curves that are compared."""


class History:
    """Summaries of rollouts and points of the held-out curves, the newest of each."""

    def __init__(
        self,
        relative: bool = True,
        weights: Weights | None = None,
        from_step: int = 0,
        functions: Sequence[FunctionPart] = (),
        trained_under: str | None = None,
    ) -> None:
        """Begin without any history.

        `relative` as in `summarize`; `weights` of the parts of the reward are given for a stage with reward models, which
        score from `from_step` on; `functions` are the reward functions of users; `trained_under` is the template of the start's
        own training where it is asked under another.
        """
        self.functions, self.trained_under = tuple(functions), trained_under
        self.relative, self.weights, self.from_step = relative, weights or {}, from_step
        self.batches: list[BatchSummary] = []
        self.spreads: dict[str, list[Spread]] = {}
        self.points: list[Point] = []

    def rollout(
        self, step: int, groups: Sequence[Group], thought_tokens: float | None
    ) -> list[Diagnosis]:
        """Add a rollout and return the diagnoses that begin with it.

        `thought_tokens` is the mean thought length of its problems with a verifier.
        """
        reasoning = [group for group in groups if group.purpose is Purpose.REASONING]
        answers = one_answer(reasoning)
        summary = summarize(step, reasoning, thought_tokens, self.relative, answers, self.functions)
        # The oldest are dropped: states stay small however long a stage runs.
        self.batches = [*self.batches, summary][-BATCHES:]
        diagnoses = diagnose(self.batches, self.trained_under)
        for purpose in GENERAL:
            general = [group for group in groups if group.purpose is purpose]
            diagnoses += self._spread(purpose.value, general)
        return diagnoses

    def _spread(self, name: str, groups: Sequence[Group]) -> list[Diagnosis]:
        """Add the spread of a reward model's scores and return the diagnoses that begin with it."""
        if not groups:
            return []
        rule_weights = sum(self.weights.get(rule, 0.0) for rule in (FORMAT, LANGUAGE))
        summary = spread(name, groups, self.weights[name], rule_weights)
        # One more than a diagnosis needs: it begins where the condition did not hold before.
        self.spreads[name] = [*self.spreads.get(name, []), summary][-PATIENCE - 1 :]
        return diagnose_spread(self.spreads[name])

    def point(self, point: Point) -> list[Diagnosis]:
        """Add a point of the held-out curves and return the diagnoses that begin with it."""
        # A reward that is not trained for cannot be hacked: points before general prompts came in do not count.
        earlier = [] if point.step <= self.from_step else self.points
        # The last point up to `from_step` is kept: it is the first with which later ones are compared.
        self.points = [*earlier, point][-POINTS:]
        return hacking(self.points, estimate_unbounded)

    def state(self) -> dict[str, Any]:
        """Return the state that `load_state` resumes from."""
        return {
            "batches": [asdict(summary) for summary in self.batches],
            "spreads": {
                name: [asdict(summary) for summary in summaries]
                for name, summaries in self.spreads.items()
            },
            "points": [asdict(point) for point in self.points],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from `state()`; fields that a state of an older version lacks get their defaults."""
        # States are tensors and plain values, which can be read without running code; so no dataclass is stored.
        self.batches = [_batch_summary(fields) for fields in state["batches"]]
        # JSON and the state's format know lists and dictionaries; dataclasses are rebuilt.
        self.spreads = {
            name: [Spread(**fields) for fields in summaries]
            for name, summaries in state["spreads"].items()
        }
        self.points = [
            Point(
                fields["step"],
                tuple(fields["accuracy_P"]),
                {name: tuple(values_P) for name, values_P in fields["learned"].items()},
            )
            for fields in state["points"]
        ]


def _batch_summary(fields: Mapping[str, Any]) -> BatchSummary:
    """Rebuild a summary from its fields, in which JSON has turned tuples into lists."""
    answer = fields.get("one_answer")
    return BatchSummary(
        **{
            **fields,
            "unparseable_ids": tuple(fields["unparseable_ids"]),
            "level_parts": tuple(fields.get("level_parts", ())),
            "one_answer": OneAnswer(**answer) if answer else None,
            "unpaid": {name: Unpaid(**of) for name, of in fields.get("unpaid", {}).items()},
        }
    )
