"""What a rule measures and what it asks of it: small functions from evidence to a number, and on to yes or no.

In: `Evidence`. Out: `Measured`, and whether it is enough. Each function here makes the one that a `Check` of
`rules` holds. Left out: thresholds, which are the rules' own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from dianoia.base.heldout_metrics import ACCURACY, HELPFUL
from dianoia.claims.evidence import Evidence, Missing
from dianoia.claims.intervals import Bounded, difference, mean, rank_correlation, ratio

ROUNDING = 1e-9
"""A number on its threshold, up to what arithmetic leaves behind, is on it."""
FEWEST_LEVELS = 3
"""Levels of difficulty that a rank correlation needs: of two, any order is perfect."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A number, with its 95 % interval where it has one."""

    value: float | None
    """None: what was looked for never came, and the note says so."""
    low: float | None = None
    high: float | None = None
    note: str = ""
    """What the number is made of."""


Measure = Callable[[Evidence], Measured]
Asked = Callable[[Measured], bool]


def _of(found: Bounded, note: str = "") -> Measured:
    return Measured(found.value, found.low, found.high, note)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


# What is measured --------------------------------------------------------------------------------


def level(part: str, domain: str, metric: str) -> Measure:
    """A metric as it is."""
    return lambda evidence: _of(evidence.estimate(part, domain, metric))


def times(part: str, of: str, domain: str, metric: str) -> Measure:
    """How many times as much of a metric one part has as another.

    No multiple of pass@1 for a part whose interval reaches down to its baseline: one answer to everything has as much.
    """

    def measure(evidence: Evidence) -> Measured:
        a, b = (evidence.estimate(name, domain, metric) for name in (part, of))
        if b.value <= 0:
            raise Missing(f"{metric} of {of} on {domain} is 0, so that nothing is a multiple of it")
        counts = _counts(evidence, (of, part), domain, metric)
        if metric != "pass@1":
            return _of(ratio(a, b), f"from {b.value:.3g} to {a.value:.3g}{counts}")
        note = f"from {_percent(b.value)} to {_percent(a.value)}{counts}"
        baseline = _baseline(evidence, part, domain)
        if baseline is None:
            return _of(ratio(a, b), note)
        note += f"; always the commonest gold answer: {_percent(baseline.value)}"
        if a.low <= baseline.value:
            return Measured(
                None, note=f"{note}, and {part} is not clearly above that: nothing multiplied"
            )
        return _of(ratio(a, b), note)

    return measure


def _counts(evidence: Evidence, parts: tuple[str, str], domain: str, metric: str) -> str:
    """The numbers of problems where two parts were not measured on as many; empty where they were."""
    one, other = (evidence.problems(part, domain, metric) for part in parts)
    return "" if one == other else f", on {one:,} and {other:,} problems"


def _baseline(evidence: Evidence, part: str, domain: str) -> Bounded | None:
    """What the commonest gold answer would have as the answer to everything; None for evaluations from before it was
    measured."""
    try:
        return evidence.estimate(part, domain, "baseline")
    except Missing:
        return None


def more(part: str, than: str, domain: str) -> Measure:
    """By how much pass@1 of one part is above another's."""

    def measure(evidence: Evidence) -> Measured:
        a, b = (evidence.estimate(name, domain, "pass@1") for name in (part, than))
        counts = _counts(evidence, (part, than), domain, "pass@1")
        note = f"{_percent(a.value)} against {_percent(b.value)}{counts}"
        baseline = _baseline(evidence, part, domain)
        if baseline is not None:
            note += f"; always the commonest gold answer: {_percent(baseline.value)}"
        return _of(difference(a, b), note)

    return measure


def hardest_less_easiest(part: str, domain: str, metric: str) -> Measure:
    """A metric at the hardest level of difficulty less that at the easiest."""

    def measure(evidence: Evidence) -> Measured:
        levels = _levels(evidence, part, domain, metric)
        (lowest, easiest), (highest, hardest) = levels[0], levels[-1]
        note = f"{easiest.value:.3g} at level {lowest:g}, {hardest.value:.3g} at level {highest:g}"
        return _of(difference(hardest, easiest), note)

    return measure


def rank_by_level(part: str, domain: str, metric: str) -> Measure:
    """Rank correlation of the levels of difficulty and a metric's means at them."""

    def measure(evidence: Evidence) -> Measured:
        levels = _levels(evidence, part, domain, metric)
        value = rank_correlation([at for at, _ in levels], [found.value for _, found in levels])
        return Measured(value, note=f"over {len(levels)} levels")

    return measure


def _levels(evidence: Evidence, part: str, domain: str, metric: str) -> list[tuple[float, Bounded]]:
    levels = evidence.levels(part, domain, metric)
    if len(levels) < FEWEST_LEVELS:
        raise Missing(
            f"{domain} problems have {len(levels)} levels of difficulty, and an order needs {FEWEST_LEVELS}"
        )
    return levels


def steps_saved(part: str, than: str, tolerance: float) -> Measure:
    """Optimizer steps by which `part` comes sooner within `tolerance` of the best of `than`'s held-out curve."""

    def measure(evidence: Evidence) -> Measured:
        here, there = evidence.course(part).problems, evidence.course(than).problems
        if here != there:
            raise Missing(
                f"the curve of {part} is of {here} and that of {than} of {there} problems"
            )
        curve, other = evidence.curve(part, ACCURACY), evidence.curve(than, ACCURACY)
        best = max(value for _, value in other)
        reached, before = (_first(points, best - tolerance) for points in (curve, other))
        assert before is not None, "a curve reaches its own best"
        told = f"{than} comes within {100 * tolerance:g} point of its best, {_percent(best)}, at step {before:g}"
        if reached is None:
            most = max(value for _, value in curve)
            return Measured(None, note=f"{told}; {part} never does, its best is {_percent(most)}")
        return Measured(before - reached, note=f"{told}; {part} at step {reached:g}")

    return measure


def _first(points: list[tuple[float, ...]], target: float) -> float | None:
    """The first step whose value reaches the target."""
    return next((step for step, value in points if value >= target - ROUNDING), None)


def lead_of_last_gain(chain: tuple[str, ...], domains: tuple[str, ...]) -> Measure:
    """The last step's gain in mean pass@1 over `domains`, less the largest gain of an earlier step of `chain`."""

    def measure(evidence: Evidence) -> Measured:
        means = [
            mean([evidence.estimate(part, d, "pass@1") for d in domains]).value for part in chain
        ]
        gains = [after - before for before, after in pairwise(means)]
        told = ", ".join(
            f"{part} {100 * gain:+.1f}" for part, gain in zip(chain[1:], gains, strict=True)
        )
        return Measured(gains[-1] - max(gains[:-1]), note=f"gains in points: {told}")

    return measure


def reward_past_best(part: str) -> Measure:
    """The helpful model's mean score at the last point of the curve, less that where accuracy is best."""

    def measure(evidence: Evidence) -> Measured:
        best, last = _best_and_last(evidence, part)
        note = f"{best[2]:.3g} at step {best[0]:g}, {last[2]:.3g} at step {last[0]:g}"
        return Measured(last[2] - best[2], note=note)

    return measure


def accuracy_past_best(part: str) -> Measure:
    """By how much held-out accuracy at the last point of the curve is below its best."""

    def measure(evidence: Evidence) -> Measured:
        best, last = _best_and_last(evidence, part)
        note = f"{_percent(best[1])} at step {best[0]:g}, {_percent(last[1])} at step {last[0]:g}"
        return Measured(best[1] - last[1], note=note)

    return measure


def _best_and_last(evidence: Evidence, part: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(step, accuracy, reward) where accuracy is best, the earliest of equals, and at the end."""
    points = evidence.curve(part, ACCURACY, HELPFUL)
    return max(points, key=lambda point: point[1]), points[-1]


# What is asked of it -----------------------------------------------------------------------------


def above(threshold: float) -> Asked:
    """The value is larger."""
    return lambda found: found.value is not None and found.value > threshold + ROUNDING


def below(threshold: float) -> Asked:
    """The value is smaller."""
    return lambda found: found.value is not None and found.value < threshold - ROUNDING


def at_least(threshold: float) -> Asked:
    """The value is as large or larger."""
    return lambda found: found.value is not None and found.value >= threshold - ROUNDING


def within(distance: float) -> Asked:
    """The value is no further from 0."""
    return lambda found: found.value is not None and abs(found.value) <= distance + ROUNDING


def surely_above(threshold: float) -> Asked:
    """The interval's lower end is larger."""
    return lambda found: found.low is not None and found.low > threshold + ROUNDING


def surely_at_least(threshold: float) -> Asked:
    """The interval's lower end is as large or larger."""
    return lambda found: found.low is not None and found.low >= threshold - ROUNDING
