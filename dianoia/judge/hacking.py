"""Whether a learned reward still means what it should, told while the run goes (DeepSeek-R1 section B.5).

In: the points of the held-out curves so far, and what a reward model's scores were like in the rollouts so far.
Out: the diagnoses that begin with the last of either. In the paper the helpful model's reward keeps rising
while accuracy on problems with a verifier falls: the policy has found what the model likes and people would not.

A point is compared with an earlier one problem by problem, since the same problems and the same random
numbers serve every point: the differences have a mean and an interval, in which the problems' own spread plays no
part. A change counts where 0 lies outside of its interval; the interval is widened for the number of earlier
points, since among many some fall by luck. The points compared are those since the last one before general
prompts came in: a reward that nobody trains for cannot be hacked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import NormalDist, fmean, pstdev
from typing import Protocol

from dianoia.base.records import Group, RolloutStatus
from dianoia.judge.diagnosis import PATIENCE, Diagnosis

POINTS_IN_A_ROW = 2
"""Points of the held-out curve for which a change has to last."""
_FLAT = 0.01
_DOMINATES = 10.0
_MOST_OF_A_RULE = 0.5
"""The largest standard deviation that a rule from 0 to 1 can have."""


class Interval(Protocol):
    """A mean with its 95 % interval, as `algo.estimates.Estimate`."""

    @property
    def value(self) -> float:
        """The mean."""
        ...

    @property
    def low(self) -> float:
        """Where the interval begins."""
        ...

    @property
    def high(self) -> float:
        """Where the interval ends."""
        ...


Estimator = Callable[[Sequence[float]], Interval]
"""From one value a problem to their mean with its interval."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the held-out curves, a value a problem, the same problems in every point."""

    step: int
    accuracy_P: tuple[float, ...]
    """Share of right samples of each problem with a verifier."""
    learned: Mapping[str, tuple[float, ...]]
    """Mean score of each general prompt, by reward model; a model that had nothing to score is absent."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A reward that rose while accuracy fell."""

    name: str
    before: Point
    after: Point
    rise: Interval
    fall: Interval


def hacking(points: Sequence[Point], estimate: Estimator) -> list[Diagnosis]:
    """The `reward_hacking` that begins with the last point, of each reward model; oldest point first."""
    names = points[-1].learned if points else ()
    return [_told(found) for name in names if (found := _begins(points, name, estimate))]


def _begins(points: Sequence[Point], name: str, estimate: Estimator) -> _Change | None:
    """The change, where it has been there for just so many points as it has to last."""
    ends = range(len(points), max(0, len(points) - POINTS_IN_A_ROW - 1), -1)
    lasting = list(takewhile(bool, (_change(points[:end], name, estimate) for end in ends)))
    return lasting[0] if len(lasting) == POINTS_IN_A_ROW else None


def _change(points: Sequence[Point], name: str, estimate: Estimator) -> _Change | None:
    """Since the most accurate earlier point from which the reward has clearly risen and accuracy fallen."""
    last, found = points[-1], []
    earlier = [point for point in points[:-1] if name in point.learned and name in last.learned]
    for point in earlier:
        rise = estimate(_differences(last.learned[name], point.learned[name]))
        fall = estimate(_differences(last.accuracy_P, point.accuracy_P))
        clear = _clear(rise, len(earlier)) and _clear(fall, len(earlier))
        if clear and rise.value > 0 > fall.value:
            found.append(_Change(name, point, last, rise, fall))
    return max(found, key=lambda change: fmean(change.before.accuracy_P), default=None)


def _clear(change: Interval, compared: int) -> bool:
    """Whether 0 lies outside of the 95 % interval, widened as for so many comparisons (Bonferroni)."""
    normal = NormalDist()
    wider = normal.inv_cdf(1 - 0.025 / compared) / normal.inv_cdf(0.975)
    return abs(change.value) > wider * (change.high - change.value)


def _differences(after_P: Sequence[float], before_P: Sequence[float]) -> list[float]:
    return [after - before for after, before in zip(after_P, before_P, strict=True)]


def _told(change: _Change) -> Diagnosis:
    name, before, after = change.name, change.before, change.after
    scores, right = before.learned[name], before.accuracy_P
    rise, fall = change.rise, change.fall
    return Diagnosis(
        "reward_hacking",
        f"since step {before.step} the {name} model's reward on held-out prompts has risen from {fmean(scores):.2f} to "
        f"{fmean(after.learned[name]):.2f} by step {after.step} ({rise.value:+.2f}, 95 % interval "
        f"{rise.low:+.2f} to {rise.high:+.2f}), while pass@1 on held-out problems has fallen from {fmean(right):.1%} "
        f"to {fmean(after.accuracy_P):.1%} ({_points(fall.value)} points, {_points(fall.low)} to "
        f"{_points(fall.high)}): the policy learns what the model rewards and unlearns what is right",
        f"stop here or earlier, set preferences.from_step later (the paper: only the last 400 of 1,700 steps), "
        f"lower preferences.{name}_weight or preferences.share, or train the {name} model on responses of "
        "this policy",
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


# The scores of a rollout -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spread:
    """How far a reward model tells the samples of one rollout apart."""

    name: str
    within: float
    """Mean over its groups of the population standard deviation of their scores, unweighted."""
    whole: float
    """Population standard deviation of all of its scores."""
    finished: float
    """Share of its samples that finished."""
    weight: float
    rules: float
    """Sum of the weights of the other rules of the same rollouts, each from 0 to 1."""


def spread(name: str, groups: Sequence[Group], weight: float, rules: float) -> Spread:
    """Of the groups that the model has scored; a score that is missing counts as equal to all others."""
    scores_PG = [
        [score for s in group.scores if (score := s.parts[name]) is not None] for group in groups
    ]
    known = [score for scores_G in scores_PG for score in scores_G]
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    return Spread(
        name=name,
        within=fmean(pstdev(scores_G) if scores_G else 0.0 for scores_G in scores_PG),
        whole=pstdev(known) if known else 0.0,
        finished=fmean(r.status is RolloutStatus.FINISHED for r in rollouts),
        weight=weight,
        rules=rules,
    )


def diagnose_spread(history: Sequence[Spread]) -> list[Diagnosis]:
    """The diagnoses that begin with the last rollout; `history` is that of one model, oldest first."""
    conditions = ((_flat, _flat_told), (_dominates, _dominates_told))
    return [told(history[-1]) for holds, told in conditions if _begun(history, holds)]


def _begun(history: Sequence[Spread], holds: Callable[[Spread], bool]) -> bool:
    """Whether the condition has held for just PATIENCE rollouts in a row."""
    last, before = history[-PATIENCE:], history[:-PATIENCE][-1:]
    return len(last) == PATIENCE and all(map(holds, last)) and not any(map(holds, before))


def _flat(one: Spread) -> bool:
    return one.within <= _FLAT * one.whole


def _flat_told(one: Spread) -> Diagnosis:
    return Diagnosis(
        "learned_flat",
        f"the {one.name} model's scores hardly differ within a group (standard deviation {one.within:.2g}, over all of "
        f"its samples {one.whole:.2g}; {one.finished:.0%} of them finished), so that it tells prompts apart and not "
        "responses, and nothing can be learnt from it",
        "where few samples finish, mend the format first; otherwise raise sampling.temperature so that the samples of a "
        f"prompt differ, or check on pairs of this policy's own responses that preferences.{one.name} "
        "prefers the better ones",
    )


def _dominates(one: Spread) -> bool:
    most = _MOST_OF_A_RULE * one.rules
    return most > 0 and one.weight * one.within > _DOMINATES * most


def _dominates_told(one: Spread) -> Diagnosis:
    scaled = one.weight * one.within
    return Diagnosis(
        "learned_dominates",
        f"within a group the {one.name} model's part of the reward has a standard deviation of {scaled:.2g}, and the "
        f"rules beside it (format, language) can have {_MOST_OF_A_RULE * one.rules:.2g} at most: the advantage "
        "is all but the model's, and a mixed language costs nothing",
        f"lower preferences.{one.name}_weight (now {one.weight:g}), so that the parts are of one size; the paper adds "
        "scores as they are, and its models' scale is not known",
    )
