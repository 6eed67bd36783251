"""Diagnosis of reward hacking and of useless reward models, during the run (DeepSeek-R1 section B.5).

In: the points of the held-out curves so far, and the spread of a reward model's scores in the rollouts so far.
Out: the diagnoses that begin with the last of either. In the paper the helpful model's reward keeps rising
while accuracy on problems with a verifier falls: the policy has learnt to please the model where people would disagree.

A point is compared with an earlier one problem by problem, since the same problems and the same random
numbers serve every point: the differences have a mean and an interval, which the spread between problems does not
widen. A change counts where 0 lies outside of its interval; the interval is widened for the number of earlier
points, since among many some fall by luck. The points compared are those since the last one before general
prompts came in: a reward that is not trained for cannot be hacked.
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
"""Ratio of the standard deviation within groups to that over all samples, up to which scores are flat."""
_DOMINATES = 10.0
"""Ratio of a reward model's spread to the largest possible spread of the rules, above which it dominates."""
_MAX_RULE_STD = 0.5
"""The largest standard deviation that a rule from 0 to 1 can have."""


class Interval(Protocol):
    """A mean with its 95 % interval, as `algo.estimates.Estimate`."""

    @property
    def value(self) -> float:
        """The mean."""
        ...

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        ...

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        ...


Estimator = Callable[[Sequence[float]], Interval]
"""One value per problem to their mean with its interval."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the held-out curves: a value per problem, the same problems in every point."""

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
    """Return `reward_hacking` for each reward model where it begins with the last point; `points` is oldest first."""
    names = points[-1].learned if points else ()
    changes = (_begins(points, name, estimate) for name in names)
    return [_hacking_diagnosis(change) for change in changes if change is not None]


def _begins(points: Sequence[Point], name: str, estimate: Estimator) -> _Change | None:
    """Return the change if it has lasted for exactly POINTS_IN_A_ROW points, so that it is reported once."""
    # One point more than the change has to last: if it held there too, it was reported before.
    ends = range(len(points), max(0, len(points) - POINTS_IN_A_ROW - 1), -1)
    # The change as of the last point, of the one before, and so on, as long as there is one.
    lasting = list(takewhile(bool, (_change(points[:end], name, estimate) for end in ends)))
    return lasting[0] if len(lasting) == POINTS_IN_A_ROW else None


def _change(points: Sequence[Point], name: str, estimate: Estimator) -> _Change | None:
    """Return the change since the most accurate earlier point from which reward has clearly risen and accuracy fallen."""
    last, changes = points[-1], []
    # A model that had nothing to score at a point leaves nothing to compare with.
    earlier = [point for point in points[:-1] if name in point.learned and name in last.learned]
    for point in earlier:
        rise = estimate(_differences(last.learned[name], point.learned[name]))
        fall = estimate(_differences(last.accuracy_P, point.accuracy_P))
        # Both changes have to be clear, and in opposite directions.
        clear = _clear(rise, len(earlier)) and _clear(fall, len(earlier))
        if clear and rise.value > 0 > fall.value:
            changes.append(_Change(name, point, last, rise, fall))
    return max(changes, key=lambda change: fmean(change.before.accuracy_P), default=None)


def _clear(change: Interval, compared: int) -> bool:
    """Return True if 0 lies outside of the 95 % interval, widened for `compared` comparisons (Bonferroni)."""
    normal = NormalDist()
    # The ratio of the Bonferroni quantile to that of the 95 % interval.
    wider = normal.inv_cdf(1 - 0.025 / compared) / normal.inv_cdf(0.975)
    # By the upper half alone: the intervals of differences are symmetric.
    return abs(change.value) > wider * (change.high - change.value)


def _differences(after_P: Sequence[float], before_P: Sequence[float]) -> list[float]:
    return [after - before for after, before in zip(after_P, before_P, strict=True)]


def _hacking_diagnosis(change: _Change) -> Diagnosis:
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
    """The spread of a reward model's scores in one rollout."""

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
    """Summarize the groups that the model has scored; a missing score adds nothing to the spread."""
    scores_PG = [
        [score for s in group.scores if (score := s.parts[name]) is not None] for group in groups
    ]
    # Over all groups: it tells whether the model distinguishes prompts at all.
    scores = [score for scores_G in scores_PG for score in scores_G]
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    return Spread(
        name=name,
        within=fmean(pstdev(scores_G) if scores_G else 0.0 for scores_G in scores_PG),
        whole=pstdev(scores) if scores else 0.0,
        finished=fmean(r.status is RolloutStatus.FINISHED for r in rollouts),
        weight=weight,
        rules=rules,
    )


def diagnose_spread(history: Sequence[Spread]) -> list[Diagnosis]:
    """Return the diagnoses that begin with the last rollout; `history` is that of one model, oldest first."""
    conditions = (
        (_is_flat, _flat_diagnosis),
        (_is_dominant, _dominance_diagnosis),
    )
    return [diagnose(history[-1]) for holds, diagnose in conditions if _begun(history, holds)]


def _begun(history: Sequence[Spread], holds: Callable[[Spread], bool]) -> bool:
    """Return True if the condition has held for exactly PATIENCE rollouts in a row."""
    # The rollout before the streak must not fulfil the condition, or it was reported already.
    last, previous = history[-PATIENCE:], history[:-PATIENCE][-1:]
    return len(last) == PATIENCE and all(map(holds, last)) and not any(map(holds, previous))


def _is_flat(spread: Spread) -> bool:
    # Not strict, so that scores which are all the same (0 <= 0) count as flat.
    return spread.within <= _FLAT * spread.whole


def _flat_diagnosis(spread: Spread) -> Diagnosis:
    return Diagnosis(
        "learned_flat",
        f"the {spread.name} model's scores hardly differ within a group (standard deviation {spread.within:.2g}, over all of "
        f"its samples {spread.whole:.2g}; {spread.finished:.0%} of them finished), so that it tells prompts apart and not "
        "responses, and nothing can be learnt from it",
        "where few samples finish, fix the format first; otherwise raise sampling.temperature so that the samples of a "
        f"prompt differ, or check on pairs of this policy's own responses that preferences.{spread.name} "
        "prefers the better ones",
    )


def _is_dominant(spread: Spread) -> bool:
    largest = _MAX_RULE_STD * spread.rules
    return largest > 0 and spread.weight * spread.within > _DOMINATES * largest


def _dominance_diagnosis(spread: Spread) -> Diagnosis:
    scaled = spread.weight * spread.within
    return Diagnosis(
        "learned_dominates",
        f"within a group the {spread.name} model's part of the reward has a standard deviation of {scaled:.2g}, and the "
        f"rules beside it (format, language) can have {_MAX_RULE_STD * spread.rules:.2g} at most: the advantage "
        "is all but the model's, and a mixed language costs nothing",
        f"lower preferences.{spread.name}_weight (now {spread.weight:g}), so that the parts are of one size; the paper adds "
        "scores as they are, and its models' scale is not known",
    )
