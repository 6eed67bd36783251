"""Reward models as parts of a reward: which part of a rollout they read, and how much their scores earn (eq. 8 to 10).

    Reward = Reward_reasoning + Reward_general + Reward_language
    Reward_reasoning = accuracy + format        Reward_general = reward model + format

Of the first two one is active for each sample: a general prompt has no accuracy, not an accuracy of 0, and so no
entry for it in `Score.parts`; a problem of reasoning has none for the model of a general set.

In: rollouts. Out: a score per rollout for training, and a mean per problem for the held-out curve. The helpful model reads
the final part alone, so that it does not interfere with the reasoning; the safety model and a recipe's own reward model
(`rewards.models`) read the whole response (DeepSeek-R1 section 3.1). Not here: the model itself (`judge.reward_model_scores`).

Decisions where the paper is silent:
1. A sample that is malformed or truncated has no final part to show. It gets the lowest score of its group's
   finished samples: never more than the worst of them, format reward and all, so that a broken format is no
   way around a low score, whatever the scale of the model. Where none of the group finished, all of them get
   the lowest score that the model has given in this run.
2. That holds for the safety model too, although it could read a broken response: an empty one is harmless.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import fmean
from typing import Protocol

from dianoia.base.errors import UserError
from dianoia.base.records import Purpose, Rollout, Turn
from dianoia.judge.reward_part import RewardPart, ScoredBy, ScoringState, Values


class Scorer(Protocol):
    """The interface of a `judge.reward_model_scores.RewardModel`."""

    def score(self, prompts: Sequence[Sequence[Turn]], responses: Sequence[str]) -> list[float]:
        """Return the reward of each response to its prompt, a conversation that ends with the question."""
        ...


class RewardModelPart(RewardPart):
    """The scores of one reward model, as they are, without rescaling."""

    scored_by = ScoredBy.ALL

    def __init__(
        self,
        name: str,
        model: Scorer,
        weight: float = 1.0,
        purpose: Purpose = Purpose.REASONING,
        table: str = "rewards.models",
    ) -> None:
        """`purpose` is that of the groups that it scores; `table` of the recipe names the model, for messages."""
        super().__init__(name, weight, (purpose,))
        self.model, self.purpose, self.table = model, purpose, table
        self.lowest: float | None = None
        """The lowest score that it has given in training; a stage saves it in its state and resumes with it."""

    def score(self, rollouts: Sequence[Rollout], state: ScoringState) -> Values:
        """Score finished samples by the model and the others by the lowest score (decision 1).

        Raises UserError for a score that is no finite number.
        """
        # All groups in one call of the model: batches are cut by tokens, not by groups.
        scores_PG = self._by_group(rollouts, state.group_sizes)
        # Before filling: groups without a finished sample get the lowest score of this call too.
        self.lowest = _lowest(scores_PG, self.lowest)
        return [score for scores_G in scores_PG for score in fill_lowest(scores_G, self.lowest)]

    def mean_scores(self, rollouts_PG: Sequence[Sequence[Rollout]]) -> list[float] | None:
        """Return the mean score of each problem, unweighted; None if no sample of any problem has finished.

        A problem without a finished sample gets the lowest score of all. The lowest score of training stays as it is.
        """
        rollouts = [rollout for rollouts_G in rollouts_PG for rollout in rollouts_G]
        scores_PG = self._by_group(rollouts, [len(rollouts_G) for rollouts_G in rollouts_PG])
        # Held-out scores must not move the minimum of training, or a curve would change the rewards.
        lowest = _lowest(scores_PG, None)
        if lowest is None:
            return None
        filled_PG = (fill_lowest(scores_G, lowest) for scores_G in scores_PG)
        return [fmean(s for s in scores_G if s is not None) for scores_G in filled_PG]

    def _by_group(self, rollouts: Sequence[Rollout], group_sizes: Sequence[int]) -> list[Values]:
        """Return the model's score of every finished sample, None for the others, group by group."""
        finished = [rollout for rollout in rollouts if rollout.answer is not None]
        prompts = [rollout.problem.messages for rollout in finished]
        scores = self.model.score(prompts, [self._visible(rollout) for rollout in finished])
        for rollout, score in zip(finished, scores, strict=True):
            self._check(rollout, score)
        remaining = iter(scores)
        # Deal the scores out again: None at the places of samples that the model did not see.
        values: Iterator[float | None] = (
            None if rollout.answer is None else next(remaining) for rollout in rollouts
        )
        return [list(islice(values, size)) for size in group_sizes]

    def _visible(self, rollout: Rollout) -> str:
        """Return the part of a finished response that the model reads."""
        assert rollout.answer is not None, "only finished samples are shown"
        return rollout.answer if self.purpose is Purpose.HELPFUL else rollout.text

    def _check(self, rollout: Rollout, score: float) -> None:
        if not math.isfinite(score):
            raise UserError(
                f"{self.table}.{self.name}: the reward model gave {score} to sample {rollout.sample} of problem "
                f"{rollout.problem.id!r}, and one such score spoils every later one; the model's weights are "
                "broken, or it is loaded as another architecture than it was trained as"
            )


def fill_lowest(scores_G: Sequence[float | None], lowest: float | None = None) -> Values:
    """Give each sample without a score the lowest score of its group (decision 1).

    `lowest` stands in for a group without any score; None there: the part does not apply to the group.
    """
    scores = [score for score in scores_G if score is not None]
    # The worst of the group itself, so that breaking the format never pays.
    floor = min(scores) if scores else lowest
    return [floor if score is None else score for score in scores_G]


def _lowest(scores_PG: Sequence[Sequence[float | None]], earlier: float | None) -> float | None:
    scores = [score for scores_G in scores_PG for score in scores_G if score is not None]
    return min([*scores, *([] if earlier is None else [earlier])], default=None)
