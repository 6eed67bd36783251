"""What became of answers that were judged in other processes, counted by verifier and verdict.

A time-out, a crash and a wrong answer score the same and are three different things; a run has to show them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from dianoia.base.records import Problem
from dianoia.tasks import code, math, plain
from dianoia.tasks.catalog import CONCURRENT

Counts = dict[str, dict[str, int]]
"""Answers by verifier and verdict."""

COUNTED: Mapping[str, tuple[type[StrEnum], Callable[[], Mapping[Any, int]]]] = {
    "code": (code.Verdict, code.verdicts),
    "math": (math.Verdict, math.verdicts),
    "plain": (plain.Verdict, plain.verdicts),
}
"""Verdicts of a verifier, and how many of each this process has seen; reasons of a verdict stand behind a stroke."""


@contextmanager
def counted(problems: Iterable[Problem]) -> Iterator[Counts]:
    """The counts of what the block judges, there when it has ended; none where no problem asks for any."""
    found: Counts = {}
    before = {name: dict(seen()) for name, (_, seen) in COUNTED.items()}
    yield found
    for name in sorted({_counted_as(problem.verifier) for problem in problems} & COUNTED.keys()):
        verdicts, seen = COUNTED[name]
        after = seen()
        counts = {v.value: after.get(v, 0) - before[name].get(v, 0) for v in verdicts}
        reasons = sorted(reason for reason in after if reason not in counts)
        more = {reason: after[reason] - before[name].get(reason, 0) for reason in reasons}
        found[name] = counts | {reason: count for reason, count in more.items() if count}


def _counted_as(verifier: str) -> str:
    """Every verifier that runs programs counts as `code`, every one that compares by bounded rules as `plain`."""
    if verifier in CONCURRENT:
        return "code"
    return "plain" if verifier in plain.PLAIN else verifier


def added(all_counts: Iterable[Mapping[str, Mapping[str, int]]]) -> Counts:
    """Counts of several batches together."""
    total: Counts = {}
    for counts in all_counts:
        for name, verdicts in counts.items():
            sums = total.setdefault(name, {})
            for verdict, count in verdicts.items():
                sums[verdict] = sums.get(verdict, 0) + count
    return total
