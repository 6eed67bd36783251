"""What became of answers that were judged in other processes, counted by verifier and verdict.

A time-out, a crash and a wrong answer score the same and are three different things; a run has to show them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from threading import Lock

from dianoia.base.records import Problem
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.verifier import Grade

Counts = dict[str, dict[str, int]]
"""Answers by verifier and verdict."""

COUNTED: Mapping[str, type[StrEnum]] = {
    VERIFIERS[name].family: VERIFIERS[name].verdicts for name in ("code", "math", "exact")
}
"""Verdicts by family of verifiers; reasons of a verdict stand behind a stroke."""
_counts: dict[str, Counter[str]] = {family: Counter() for family in COUNTED}
_lock = Lock()


def count(problem: Problem, grade: Grade) -> None:
    """Count the verdict of a grade, if it has one."""
    if grade.verdict is not None and grade.label is not None:
        with _lock:
            _counts[VERIFIERS[problem.verifier].family].update({grade.verdict, grade.label})


def _seen(family: str) -> Counter[str]:
    with _lock:
        return Counter(_counts[family])


@contextmanager
def counted(problems: Iterable[Problem]) -> Iterator[Counts]:
    """The counts of what the block judges, there when it has ended; none where no problem asks for any."""
    found: Counts = {}
    before = {name: _seen(name) for name in COUNTED}
    yield found
    names = {VERIFIERS[p.verifier].family for p in problems if p.verifier in VERIFIERS}
    for name in sorted(names):
        after = _seen(name) - before[name]
        reasons = {label: after[label] for label in sorted(after) if "/" in label}
        found[name] = {verdict.value: after[verdict] for verdict in COUNTED[name]} | reasons


def added(all_counts: Iterable[Mapping[str, Mapping[str, int]]]) -> Counts:
    """Counts of several batches together."""
    total: Counts = {}
    for counts in all_counts:
        for name, verdicts in counts.items():
            sums = total.setdefault(name, {})
            for verdict, count in verdicts.items():
                sums[verdict] = sums.get(verdict, 0) + count
    return total
