"""Which two measurements the top of the page compares: like with like, or said.

In: a `Run`. Out: a `Comparison`. A checkpoint may have been evaluated by several stages, on other problems and with
other settings; the results keep the last. Of all measurements of the two checkpoints those are taken that were made on
the same problems, and with the fewest different settings.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dianoia.report.html_values import problem_set
from dianoia.report.run_reader import Metrics, Run

_PROBLEMS = (
    "problems",
    "whole_file",
)  # of one set the same number of problems is the same problems
_SETTINGS = ("template", "samples", "temperature", "top_p", "top_k", "max_tokens", "dtype")

Measurement = tuple[Mapping[str, Any], Metrics]
"""Settings of the stage, empty where they are not known, and what it found."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """First and last checkpoint on one domain."""

    before: str
    after: str
    domain: str
    metrics_before: Metrics
    metrics_after: Metrics
    problems_differ: bool = False
    """Whether the two were measured on different problems, so that nothing can be said."""
    differing: tuple[tuple[str, str, str], ...] = ()
    """Key, value before and value after, of the settings that differ."""


def compare(run: Run) -> Comparison | None:
    """First against last, on the first domain that both have; None without evaluation.

    Where the recipe says who plays which part, that is the base against the last model of the paper's chain.
    """
    if not run.evaluations:
        return None
    names = list(run.evaluations)
    before = run.playing("base") or names[0]
    after = run.playing("r1", "dev3", "dev2", "dev1", "zero") or names[-1]
    first, last = run.evaluations[before], run.evaluations[after]
    domain = next((d for d in ("all", "overall", *first) if d in first and d in last), None)
    if domain is None:
        return None
    pairs = [
        (_differences(earlier, later), earlier, later)
        for earlier in _measurements(run, before, domain)
        for later in _measurements(run, after, domain)
    ]
    (problems_differ, differing), (_, metrics_before), (_, metrics_after) = min(
        pairs, key=lambda pair: (pair[0][0], len(pair[0][1]))
    )
    return Comparison(
        before, after, domain, metrics_before, metrics_after, problems_differ, differing
    )


def _measurements(run: Run, checkpoint: str, domain: str) -> Iterator[Measurement]:
    """List what was measured of a checkpoint on a domain, the last stage first; the results alone where no stage tells
    more."""
    measured = [
        (stage.settings, stage.evaluations[checkpoint][domain])
        for stage in reversed(run.evaluated)
        if domain in stage.evaluations.get(checkpoint, {})
    ]
    yield from measured or [({}, run.evaluations[checkpoint][domain])]


def _differences(
    earlier: Measurement, later: Measurement
) -> tuple[bool, tuple[tuple[str, str, str], ...]]:
    """Compare two measurements: whether their problems differ, and the settings that do."""
    (before, metrics_before), (after, metrics_after) = earlier, later
    a, b = metrics_before.get("pass@1"), metrics_after.get("pass@1")
    counts_differ = a is not None and b is not None and a.n != b.n
    if not (before and after):
        return counts_differ, ()
    sets_differ = any(_said(before, key) != _said(after, key) for key in _PROBLEMS)
    return counts_differ or sets_differ, tuple(
        (key, _said(before, key), _said(after, key))
        for key in _SETTINGS
        if _said(before, key) != _said(after, key)
    )


def _said(settings: Mapping[str, Any], key: str) -> str:
    value = settings.get(key)
    if key == "problems" and not isinstance(value, dict):
        return problem_set(value)
    return "default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
