"""A judge on several ranks: each part is scored where it should be, and every rank has every score."""

from collections.abc import Sequence
from typing import Any

from dianoia.base.records import Completion, Problem, Purpose, Rollout, RolloutGroup, RolloutStatus
from dianoia.distributed.group import ranks
from dianoia.judge.judge import Judge
from dianoia.judge.reward_part import ACCURACY, RewardPart, ScoredBy, ScoringState, Values
from dianoia.metrics.votes import with_votes
from tests.rank_processes import run_ranks

PROBLEMS = [Problem(f"p{n}", "2+3?", "5", "exact") for n in range(4)]
TOKENS = [3, 9, 1, 4]


class Counting(RewardPart):
    """Gives each rollout its number of tokens, and remembers how many it was shown."""

    def __init__(self, name: str, scored_by: ScoredBy) -> None:
        super().__init__(name)
        self.scored_by, self.shown, self.sizes = scored_by, 0, list[int]()

    def score(self, rollouts: Sequence[Rollout], state: ScoringState) -> Values:
        self.shown += len(rollouts)
        self.sizes = list(state.group_sizes)
        state.metrics["calls"] = [float(len(rollouts))]
        state.notes[f"note-{self.name}"] = [r.sample for r in rollouts]
        if self.name == ACCURACY:
            state.verdicts = ["right" if r.answer == "5" else "wrong" for r in rollouts]
        return [float(len(rollout.completion.ids)) for rollout in rollouts]


class Reading(Counting):
    """Gives the negative of the accuracy."""

    reads_accuracy = True

    def score(self, rollouts: Sequence[Rollout], state: ScoringState) -> Values:
        self.shown += len(rollouts)
        return [-value if value else 0.0 for value in state.accuracy]


def _rollout(problem: Problem, sample: int, tokens: int) -> Rollout:
    completion = Completion((1,) * tokens, (0.0,) * tokens, True)
    answer = "5" if sample else f"{tokens}"
    return Rollout(problem, sample, (9,), completion, "", RolloutStatus.FINISHED, "", answer)


def _judged() -> tuple[Any, ...]:
    parts = [
        Counting(ACCURACY, ScoredBy.SHARES),
        Counting("function", ScoredBy.FIRST),
        Counting("model", ScoredBy.ALL),
        Reading("cosine", ScoredBy.SHARES),
    ]
    judge = Judge(parts)
    groups = [
        RolloutGroup(p, tuple(_rollout(p, s, tokens + s) for s in range(2)), Purpose.REASONING)
        for p, tokens in zip(PROBLEMS, TOKENS, strict=True)
    ]
    scored = judge.score(groups, ScoringState())
    votes = [group.votes_G for group in with_votes(scored)]
    shown = {part.name: part.shown for part in parts}
    totals = [[(s.total, s.parts, s.verdict) for s in group.scores] for group in scored]
    notes = [[s.notes for s in group.scores] for group in scored]
    return totals, votes, notes, shown, judge.figures(), ranks().rank


def test_every_rank_has_the_scores_of_one_process() -> None:
    (alone,) = run_ranks(_judged, 1)
    first, second = run_ranks(_judged, 2)
    assert first[:2] == second[:2] == alone[:2]
    assert alone[3] == dict.fromkeys((ACCURACY, "function", "model", "cosine"), 8)
    # By tokens: 9+10 to one rank; 4+5, 3+4 and 1+2 to the other.
    assert (first[3][ACCURACY], second[3][ACCURACY]) == (2, 6)
    assert (first[3]["function"], second[3]["function"]) == (8, 0)
    assert first[3]["model"] == second[3]["model"] == 8
    assert (first[3]["cosine"], second[3]["cosine"]) == (2, 6)
    assert first[2] == alone[2], "rank 0 writes them, so it has all notes"
    assert first[4].keys() == alone[4].keys()
