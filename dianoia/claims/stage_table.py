"""The stage table: every evaluated checkpoint that plays a part, on every domain.

In: `Evidence`. Out: rows of `stage_table` in `results.json`: pass@1 with its interval, the baseline beside it, thought
tokens and the share of the question's language, by domain, with reasoning as the mean of its four.
"""

from typing import Any

from dianoia.claims.evidence import REASONING, Evidence, Missing
from dianoia.claims.intervals import Bounded

METRICS = ("pass@1", "baseline", "thought_tokens", "target_language")
DOMAINS = (*REASONING, "reasoning", "general", "near-miss", "safety")
"""In the order of the table; others that were evaluated follow."""

Row = dict[str, Any]


def stage_table(evidence: Evidence) -> list[Row]:
    """A row a checkpoint, in the order of its first part; several parts may share one."""
    parts: dict[str, list[str]] = {}
    for part, checkpoint in evidence.parts.items():
        if evidence.evaluations.get(checkpoint):
            parts.setdefault(checkpoint, []).append(part)
    return [
        {"checkpoint": checkpoint, "parts": played, "domains": _domains(played[0], evidence)}
        for checkpoint, played in parts.items()
    ]


def _domains(part: str, evidence: Evidence) -> Row:
    measured = evidence.evaluations[evidence.parts[part]]
    every = dict.fromkeys((*DOMAINS, *measured))
    rows = {domain: _metrics(part, domain, evidence) for domain in every}
    return {domain: found for domain, found in rows.items() if found}


def _metrics(part: str, domain: str, evidence: Evidence) -> Row:
    found: Row = {}
    for metric in METRICS:
        try:
            estimate = evidence.estimate(part, domain, metric)
        except Missing:
            continue
        found[metric] = _plain(estimate) | {"n": evidence.problems(part, domain, metric)}
    return found


def _plain(estimate: Bounded) -> Row:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
