"""Measures and conditions of the rules: functions from evidence to a value, and from a value to yes or no.

In: `Evidence`. Out: `Measured`. Each public function here returns a `Measure` or a `Condition`, of which `claims.claim_rules`
builds its checks. Not here: thresholds, which are the rules' own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from dianoia.algo.estimates import paired_correlation, paired_difference
from dianoia.claims.evidence import REASONING, Evidence, Missing
from dianoia.claims.intervals import (
    Bounded,
    Interval,
    difference,
    mean,
    rank_correlation,
    ratio,
)

HELDOUT_ACCURACY = "heldout/pass@1"
"""Metric of an rl stage: share of right samples on its held-out problems."""
HELDOUT_HELPFUL = "heldout/rewards/helpful/mean"
"""Metric of an rl stage: mean score of the helpful reward model on held-out general prompts."""

ROUNDING = 1e-9
"""Tolerance at a threshold, for the rounding of floats."""
MIN_LEVELS = 3
"""Levels of difficulty that a rank correlation needs: two are always in perfect order."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A value, with its 95 % interval if it has one."""

    value: float | None
    """None if what the rule looks for never happened; the note says so."""
    low: float | None = None
    high: float | None = None
    note: str = ""
    """How the value is computed."""


Measure = Callable[[Evidence], Measured]
Condition = Callable[[Measured], bool]


def _with_note(interval: Bounded, note: str = "") -> Measured:
    return Measured(interval.value, interval.low, interval.high, note)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


# Measures of evaluations -------------------------------------------------------------------------


def metric_of(part: str, domain: str, metric: str) -> Measure:
    """Measure a metric as it is."""
    return lambda evidence: _with_note(evidence.estimate(part, domain, metric))


def ratio_of(part: str, reference: str, domain: str, metric: str) -> Measure:
    """Measure the ratio of a metric of one part to that of another.

    A part whose pass@1 is not clearly above its baseline has no ratio, since giving the same answer to every problem
    would score as well.
    """

    def measure(evidence: Evidence) -> Measured:
        numerator, denominator = (
            evidence.estimate(name, domain, metric) for name in (part, reference)
        )
        # An undecided claim: with a reference of 0 every ratio would be infinite.
        if denominator.value <= 0:
            raise Missing(f"{metric} of {reference} on {domain} is 0, so there is no ratio to it")
        counts = _problem_counts(evidence, (reference, part), domain, metric)
        interval, pairing = _paired_ratio(evidence, (part, reference), domain, metric)
        # Only accuracy has a baseline.
        if metric != "pass@1":
            note = f"from {denominator.value:.3g} to {numerator.value:.3g}{counts}; {pairing}"
            return _with_note(interval, note)
        note = (
            f"from {_percent(denominator.value)} to {_percent(numerator.value)}{counts}; {pairing}"
        )
        baseline = _baseline(evidence, part, domain)
        if baseline is None:
            return _with_note(interval, note)
        note += f"; {_baseline_note(baseline)}"
        # RL could reach this accuracy by answering everything alike, which is no reasoning.
        if numerator.low <= baseline.value:
            return Measured(
                None, note=f"{note}, and {part} is not clearly above it, so there is no ratio"
            )
        return _with_note(interval, note)

    return measure


PAIRED = "interval paired by problem"
"""Part of a value's note."""


def _paired_ratio(
    evidence: Evidence, parts: tuple[str, str], domain: str, metric: str
) -> tuple[Interval, str]:
    """Return the ratio of a metric of two parts, paired by problem where both have the same ones, and what it is."""
    numerator, denominator = (evidence.estimate(part, domain, metric) for part in parts)
    pairs = evidence.pairs(*parts, domain, metric)
    if isinstance(pairs, str):
        return ratio(numerator, denominator), _unpaired(pairs)
    shares = metric in _SHARES
    correlation = paired_correlation(pairs.first_P, pairs.second_P, shares=shares)
    return ratio(numerator, denominator, correlation), PAIRED


_SHARES = ("pass@1", "reflecting", "target_language")
"""Metrics whose values per problem lie in [0, 1]."""


def _paired_gain(evidence: Evidence, parts: tuple[str, str], domain: str) -> tuple[Interval, str]:
    """Return the difference in pass@1 of two parts, paired by problem where both have the same ones, and what it is.

    That of `reasoning` is the mean of the differences of its domains, whose problems are independent of one another.
    """
    members = REASONING if domain == "reasoning" else (domain,)
    gains, reasons = [], []
    for member in members:
        accuracy, other = (evidence.estimate(part, member, "pass@1") for part in parts)
        gain = difference(accuracy, other)
        pairs = evidence.pairs(*parts, member, "pass@1")
        if isinstance(pairs, str):
            reasons.append(pairs)
        else:
            # Of accuracy every problem has a value: a sample without an answer is wrong.
            values = [[v or 0.0 for v in values_P] for values_P in (pairs.first_P, pairs.second_P)]
            paired = paired_difference(*values)
            down, up = paired.value - paired.low, paired.high - paired.value
            gain = Interval(gain.value, gain.value - down, gain.value + up)
        gains.append(gain)
    return mean(gains), _unpaired(*dict.fromkeys(reasons)) if reasons else PAIRED


def _unpaired(*reasons: str) -> str:
    return f"interval not paired by problem: {', '.join(reasons)}"


def _problem_counts(evidence: Evidence, parts: tuple[str, str], domain: str, metric: str) -> str:
    """Return the numbers of problems of two parts as a clause; empty if they are equal."""
    first, second = (evidence.problem_count(part, domain, metric) for part in parts)
    return "" if first == second else f", on {first:,} and {second:,} problems"


def _baseline(evidence: Evidence, part: str, domain: str) -> Bounded | None:
    """Return the pass@1 of the most common gold answer given to every problem; None for older evaluations."""
    try:
        return evidence.estimate(part, domain, "baseline")
    except Missing:
        return None


def _baseline_note(baseline: Bounded) -> str:
    return f"baseline (always the most common gold answer): {_percent(baseline.value)}"


def gain_of(part: str, reference: str, domain: str) -> Measure:
    """Measure by how much the pass@1 of one part exceeds that of another."""

    def measure(evidence: Evidence) -> Measured:
        accuracy, other = (evidence.estimate(name, domain, "pass@1") for name in (part, reference))
        counts = _problem_counts(evidence, (part, reference), domain, "pass@1")
        interval, pairing = _paired_gain(evidence, (part, reference), domain)
        note = f"{_percent(accuracy.value)} against {_percent(other.value)}{counts}; {pairing}"
        baseline = _baseline(evidence, part, domain)
        if baseline is not None:
            note += f"; {_baseline_note(baseline)}"
        # Not the mean of the differences, which rounding may move in the last bit.
        return Measured(accuracy.value - other.value, interval.low, interval.high, note)

    return measure


def gain_over_difficulty(part: str, domain: str, metric: str) -> Measure:
    """Measure a metric at the hardest level of difficulty minus that at the easiest."""

    def measure(evidence: Evidence) -> Measured:
        levels = _levels(evidence, part, domain, metric)
        # Levels are sorted from easy to hard.
        (lowest, easiest), (highest, hardest) = levels[0], levels[-1]
        note = f"{easiest.value:.3g} at level {lowest:g}, {hardest.value:.3g} at level {highest:g}"
        return _with_note(difference(hardest, easiest), note)

    return measure


def rank_by_difficulty(part: str, domain: str, metric: str) -> Measure:
    """Measure the rank correlation of the levels of difficulty and a metric's means at them."""

    def measure(evidence: Evidence) -> Measured:
        levels = _levels(evidence, part, domain, metric)
        difficulties = [level for level, _ in levels]
        value = rank_correlation(difficulties, [estimate.value for _, estimate in levels])
        return Measured(value, note=f"over {len(levels)} levels")

    return measure


def _levels(evidence: Evidence, part: str, domain: str, metric: str) -> list[tuple[float, Bounded]]:
    levels = evidence.by_level(part, domain, metric)
    if len(levels) < MIN_LEVELS:
        raise Missing(
            f"{domain} problems have {len(levels)} levels of difficulty, and an order needs {MIN_LEVELS}"
        )
    return levels


def lead_of_last_gain(chain: tuple[str, ...], domains: tuple[str, ...]) -> Measure:
    """Measure the gain in mean pass@1 of the last step of `chain` minus the largest gain of an earlier step."""

    def measure(evidence: Evidence) -> Measured:
        # One number per checkpoint: all domains weigh the same.
        means = [
            mean([evidence.estimate(part, domain, "pass@1") for domain in domains]).value
            for part in chain
        ]
        gains = [after - before for before, after in pairwise(means)]
        listed = ", ".join(
            f"{part} {100 * gain:+.1f}" for part, gain in zip(chain[1:], gains, strict=True)
        )
        return Measured(gains[-1] - max(gains[:-1]), note=f"gains in points: {listed}")

    return measure


# Measures of curves ------------------------------------------------------------------------------


def steps_saved(part: str, reference: str, tolerance: float) -> Measure:
    """Measure by how many optimizer steps `part` comes earlier within `tolerance` of the best of `reference`."""

    def measure(evidence: Evidence) -> Measured:
        problems, others = (evidence.training(name).problems for name in (part, reference))
        # Accuracies on different problems cannot be compared.
        if problems != others:
            raise Missing(
                f"the curve of {part} is of {problems} and that of {reference} of {others} problems"
            )
        curve, reference_curve = (
            evidence.curve(name, HELDOUT_ACCURACY) for name in (part, reference)
        )
        best = max(value for _, value in reference_curve)
        # Both curves must reach the same target, so the reference is also held to the tolerance.
        step, reference_step = (
            _first_step(points, best - tolerance) for points in (curve, reference_curve)
        )
        assert reference_step is not None, "a curve reaches its own best"
        note = (
            f"{reference} comes within {100 * tolerance:g} point of its best, {_percent(best)}, at step "
            f"{reference_step:g}"
        )
        # Not missing: the curve ended without reaching the target, so the claim fails.
        if step is None:
            highest = max(value for _, value in curve)
            return Measured(
                None, note=f"{note}; {part} never does, its best is {_percent(highest)}"
            )
        return Measured(reference_step - step, note=f"{note}; {part} at step {step:g}")

    return measure


def _first_step(points: list[tuple[float, ...]], target: float) -> float | None:
    """Return the first step whose value reaches the target; None if none does."""
    return next((step for step, value in points if value >= target - ROUNDING), None)


def reward_gain_past_best(part: str) -> Measure:
    """Measure the helpful model's mean score at the end of the curve minus that at the best accuracy."""

    def measure(evidence: Evidence) -> Measured:
        best, last = _best_and_last_points(evidence, part)
        note = f"{best[2]:.3g} at step {best[0]:g}, {last[2]:.3g} at step {last[0]:g}"
        return Measured(last[2] - best[2], note=note)

    return measure


def accuracy_loss_past_best(part: str) -> Measure:
    """Measure by how much held-out accuracy at the end of the curve is below its best."""

    def measure(evidence: Evidence) -> Measured:
        best, last = _best_and_last_points(evidence, part)
        note = f"{_percent(best[1])} at step {best[0]:g}, {_percent(last[1])} at step {last[0]:g}"
        return Measured(best[1] - last[1], note=note)

    return measure


def _best_and_last_points(
    evidence: Evidence, part: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (step, accuracy, reward) at the best accuracy, the earliest if several are equal, and at the end."""
    points = evidence.curve(part, HELDOUT_ACCURACY, HELDOUT_HELPFUL)
    # `max` returns the first of equal points.
    return max(points, key=lambda point: point[1]), points[-1]


# Conditions --------------------------------------------------------------------------------------


def above(threshold: float) -> Condition:
    """Require the value to be larger."""
    return lambda measured: measured.value is not None and measured.value > threshold + ROUNDING


def below(threshold: float) -> Condition:
    """Require the value to be smaller."""
    return lambda measured: measured.value is not None and measured.value < threshold - ROUNDING


def at_least(threshold: float) -> Condition:
    """Require the value to be as large or larger."""
    return lambda measured: measured.value is not None and measured.value >= threshold - ROUNDING


def within(distance: float) -> Condition:
    """Require the value to be no further from 0."""
    return lambda measured: (
        measured.value is not None and abs(measured.value) <= distance + ROUNDING
    )


def low_end_above(threshold: float) -> Condition:
    """Require the interval's lower end to be larger."""
    return lambda measured: measured.low is not None and measured.low > threshold + ROUNDING


def low_end_at_least(threshold: float) -> Condition:
    """Require the interval's lower end to be as large or larger."""
    return lambda measured: measured.low is not None and measured.low >= threshold - ROUNDING
