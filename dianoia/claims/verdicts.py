"""Applies a rule to a run: the values that it needs, and whether the claim holds.

In: a `Rule` and `Evidence`. Out: a `Verdict`. A claim holds if every check holds and fails if any check fails. Otherwise
a value is missing and the claim is undecided: None, which is not "does not hold".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dianoia.claims.evidence import Evidence, Missing
from dianoia.claims.measures import Condition, Measure
from dianoia.claims.value_format import format_value


@dataclass(frozen=True, slots=True)
class Check:
    """One value of a claim, and the condition that it must meet."""

    title: str
    needs: str
    """The condition in words."""
    unit: str
    """One of `value_format.UNITS`."""
    measure: Measure
    holds: Condition


@dataclass(frozen=True, slots=True)
class Rule:
    """A claim of the paper with the checks that decide it. It holds if every check does."""

    number: int
    title: str
    rule: str
    """The checks in words."""
    paper: str
    """What the paper reports."""
    parts: tuple[str, ...]
    """Parts of `[claims]` without which the claim is undecided."""
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A checked value; as data, a row of a claim's `values` whose keys are these names."""

    what: str
    needs: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    """`low` and `high` bound the 95 % interval; None: no interval, or no bound."""
    holds: bool | None
    note: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a claim holds; as data, a row of `claims` whose keys are these names."""

    number: int
    title: str
    rule: str
    paper: str
    holds: bool | None
    why: str
    values: tuple[Value, ...]


def verdict_on(rule: Rule, evidence: Evidence) -> Verdict:
    """Apply a rule to a run."""
    # Without all parts the claim is not about this recipe, so nothing is measured.
    missing_parts = [part for part in rule.parts if part not in evidence.parts]
    values = () if missing_parts else tuple(_value(check, evidence) for check in rule.checks)
    holds = combine([value.holds for value in values]) if values else None
    why = _why_not_measured(missing_parts) if missing_parts else _why(holds, values)
    return Verdict(rule.number, rule.title, rule.rule, rule.paper, holds, why, values)


def combine(verdicts: Sequence[bool | None]) -> bool | None:
    """Return False if any verdict is False, otherwise None if any is None, otherwise True."""
    # One failed check is enough, even if another value is missing.
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _value(check: Check, evidence: Evidence) -> Value:
    try:
        measured = check.measure(evidence)
    except Missing as missing:
        return Value(check.title, check.needs, check.unit, None, None, None, None, str(missing))
    return Value(
        what=check.title,
        needs=check.needs,
        unit=check.unit,
        value=measured.value,
        low=_finite(measured.low),
        high=_finite(measured.high),
        # A measured value of None fails the check: the event never happened, which is known.
        holds=check.holds(measured),
        note=measured.note,
    )


def _finite(number: float | None) -> float | None:
    """Return None for an infinite bound, which JSON cannot hold."""
    return number if number is not None and math.isfinite(number) else None


def _why_not_measured(parts: Sequence[str]) -> str:
    return f"not measured in this recipe: its [claims] table has no {' and no '.join(parts)}"


def _why(holds: bool | None, values: Sequence[Value]) -> str:
    """Return the values that decided, or what is missing."""
    # For a claim that fails, only the failing checks; for one that holds, all of them.
    # `is`, as None, True and False are three answers here.
    deciding = [value for value in values if value.holds is holds]
    if holds is None:
        return "not measured: " + "; ".join(value.note for value in deciding)
    return "; ".join(
        f"{value.what}: {format_value(value.value, value.unit)}, needs {value.needs}"
        for value in deciding
    )
