"""Reward models in their place in RL: what they are shown of a rollout, and what their scores earn.

In: rollouts of general prompts. Out: scored groups for training, and a value a problem for the held-out curve.
The helpful model is shown the final part alone, so that it does not meddle with the reasoning; the safety
model the whole response (DeepSeek-R1 section 3.1). A sample that is malformed or truncated is not shown
(`dianoia.judge.learned`).
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Protocol

from dianoia.base.errors import UserError
from dianoia.base.records import Group, Rollout
from dianoia.judge.judge import judge
from dianoia.judge.learned import HELPFUL, learned, with_lowest
from dianoia.judge.rubric import Rubric
from dianoia.judge.rules import Rule


class Scorer(Protocol):
    """What a `judge.reward_model_scores.RewardModel` is here."""

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        """Reward of each response to its prompt."""
        ...


class Preferred:
    """One reward model, by the name of its part of the reward."""

    def __init__(
        self, name: str, model: Scorer, weight: float = 1.0, where: str = "preferences"
    ) -> None:
        """`where` is the table of the recipe that names it, for messages."""
        self.name, self.model, self.weight, self.where = name, model, weight, where
        self.lowest: float | None = None
        """The lowest score that it has given in training; part of what a stage resumes from."""

    def judge(self, rules: Sequence[Rule], rollouts_PG: Sequence[Sequence[Rollout]]) -> list[Group]:
        """Scored groups: the model's part beside `rules`, which hold no accuracy."""
        own = self.rules(rollouts_PG)
        return judge([Rubric((*rules, rule)) for rule in own], rollouts_PG)

    def rules(self, rollouts_PG: Sequence[Sequence[Rollout]]) -> list[Rule]:
        """The model's part of the reward of each group."""
        scores_PG = self.scores(rollouts_PG)
        self.lowest = _lowest(scores_PG, self.lowest)
        return [
            learned(self.name, with_lowest(scores_G, self.lowest), self.weight)
            for scores_G in scores_PG
        ]

    def measure(self, rollouts_PG: Sequence[Sequence[Rollout]]) -> list[float] | None:
        """Mean score of each problem, unweighted; None where no sample of any has finished.

        A problem without a finished sample gets the lowest score of all.
        """
        scores_PG = self.scores(rollouts_PG)
        lowest = _lowest(scores_PG, None)
        if lowest is None:
            return None
        filled_PG = (with_lowest(scores_G, lowest) for scores_G in scores_PG)
        return [fmean(s for s in scores_G if s is not None) for scores_G in filled_PG]

    def scores(self, rollouts_PG: Sequence[Sequence[Rollout]]) -> list[list[float | None]]:
        """The model's score of every finished sample, None for the others.

        Raises UserError for a score that is no finite number.
        """
        shown = [r for rollouts_G in rollouts_PG for r in rollouts_G if r.answer is not None]
        prompts = [rollout.problem.question for rollout in shown]
        scores = self.model.score(prompts, [self._part(rollout) for rollout in shown])
        for rollout, score in zip(shown, scores, strict=True):
            self._check(rollout, score)
        rest = iter(scores)
        return [
            [None if r.answer is None else next(rest) for r in rollouts_G]
            for rollouts_G in rollouts_PG
        ]

    def _part(self, rollout: Rollout) -> str:
        assert rollout.answer is not None, "only finished samples are shown"
        return rollout.answer if self.name == HELPFUL else rollout.text

    def _check(self, rollout: Rollout, score: float) -> None:
        if not math.isfinite(score):
            raise UserError(
                f"{self.where}.{self.name}: the reward model gave {score} to sample {rollout.sample} of problem "
                f"{rollout.problem.id!r}, and one such score spoils every later one; the model's weights are "
                "broken, or it is loaded as another architecture than it was trained as"
            )


def _lowest(scores_PG: Sequence[Sequence[float | None]], before: float | None) -> float | None:
    known = [score for scores_G in scores_PG for score in scores_G if score is not None]
    return min([*known, *([] if before is None else [before])], default=None)
