"""Applies the rules: every claim gets its numbers and a verdict, or the reason why there is none.

In: `Evidence`. Out: a `Verdict` a rule. A claim holds if every check does, fails if one fails, and is not
decided where a part or a number is missing. Nothing is guessed: None is not "does not hold".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dianoia.claims.evidence import Evidence, Missing
from dianoia.claims.rules import RULES, Check, Rule
from dianoia.claims.value_text import say


@dataclass(frozen=True, slots=True)
class Value:
    """One checked number of a claim."""

    what: str
    needs: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    """`low` and `high` bound the 95 % interval; None where there is none, or no bound."""
    holds: bool | None
    note: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row of `claims` in `results.json`."""

    number: int
    title: str
    rule: str
    paper: str
    holds: bool | None
    why: str
    values: tuple[Value, ...]


def judge(evidence: Evidence) -> list[Verdict]:
    """All claims, in order."""
    return [_verdict(rule, evidence) for rule in RULES]


def _verdict(rule: Rule, evidence: Evidence) -> Verdict:
    absent = [part for part in rule.parts if part not in evidence.parts]
    values = () if absent else tuple(_value(check, evidence) for check in rule.checks)
    holds = all_of([value.holds for value in values]) if values else None
    why = _absent(absent) if absent else _why(holds, values)
    return Verdict(rule.number, rule.title, rule.rule, rule.paper, holds, why, values)


def all_of(verdicts: Sequence[bool | None]) -> bool | None:
    """Whether all hold: no where one does not, else unknown where one is unknown."""
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _value(check: Check, evidence: Evidence) -> Value:
    try:
        found = check.measure(evidence)
    except Missing as missing:
        return Value(check.what, check.needs, check.unit, None, None, None, None, str(missing))
    low, high = _finite(found.low), _finite(found.high)
    holds = check.holds(found)
    return Value(check.what, check.needs, check.unit, found.value, low, high, holds, found.note)


def _finite(number: float | None) -> float | None:
    """JSON has no infinity: a bound that is none is None."""
    return number if number is not None and math.isfinite(number) else None


def _absent(parts: Sequence[str]) -> str:
    return f"not measured in this recipe: [claims] names no {' and no '.join(parts)}"


def _why(holds: bool | None, values: Sequence[Value]) -> str:
    """The checks that decided."""
    deciding = [value for value in values if value.holds is holds]
    if holds is None:
        return "not measured: " + "; ".join(value.note for value in deciding)
    return "; ".join(_sentence(value) for value in deciding)


def _sentence(value: Value) -> str:
    return f"{value.what}: {say(value.value, value.unit)}, needs {value.needs}"
