"""The plain verifiers as the rest sees them: answers graded in worker processes.

In: problems and answers. Out: grades: the scores of the functions in `tasks.plain.plain_grade`, or a verdict on an answer that ended otherwise.
Here, in the process that trains, no answer is looked at: it is handed to a worker (`dianoia.sandbox.workers`), started
with the first answer, which has a limit of time and memory for each. Equal answers to one problem are graded once.
"""

from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

from dianoia.base.records import Problem
from dianoia.sandbox.workers import Bounds, Ended, Reply, Service
from dianoia.tasks.plain.plain_grade import BUILT_IN, item_of
from dianoia.tasks.plugins import PLUGIN_VERIFIERS, Registry
from dianoia.tasks.verifier import Grade, GradeFunction, Pair, RunsIn, Verifier
from dianoia.tasks.verifier_workers import Workers

BOUNDS = Bounds(cpu_seconds=0.5, wall_seconds=20.0, memory_bytes=2**30)
"""Of one answer, and of the lot that it travels in."""
_WORKERS = Workers("dianoia.tasks.plain.plain_grade:grade_items", BOUNDS, most=2, lot=64)
"""Two, since an answer takes microseconds: where one has to be killed the other goes on."""


class Verdict(StrEnum):
    """What can become of an answer besides a score; each scores 0, for `reference` nothing."""

    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"


def grade_many(pairs: Sequence[Pair]) -> list[Grade]:
    """Grade answers to problems of any plain verifiers, in order; each takes at most `BOUNDS`.

    May be called from many threads. Raises VerifierError when no worker process can be started.
    """
    replies = _replies(pairs)
    return [_grade(problem, reply) for (problem, _), reply in zip(pairs, replies, strict=True)]


def _grade(problem: Problem, reply: Reply) -> Grade:
    """Return the score of a reply; only an answer that a worker did not survive has a verdict."""
    if reply.ended is Ended.ANSWERED:
        return Grade(reply.value)
    return Grade(None if problem.verifier == "reference" else 0.0, Verdict(reply.ended))


def _replies(pairs: Sequence[Pair]) -> list[Reply]:
    """Grade answers, those of each plugin by its own workers; one reply per pair, in order."""
    indices: defaultdict[str, list[int]] = defaultdict(list)
    for index, (problem, _) in enumerate(pairs):
        indices["" if problem.verifier in BUILT_IN else problem.verifier].append(index)
    replies: dict[int, Reply] = {}
    for verifier, members in indices.items():
        workers = _plugin_workers(verifier) if verifier else _WORKERS
        items = [item_of(*pairs[index]) for index in members]
        replies |= zip(members, workers.replies(items), strict=True)
    return [replies[index] for index in range(len(pairs))]


@lru_cache
def _plugin_workers(verifier: str) -> Workers:
    """Return the workers of a plugin's verifier; they import the plugin, which the others never do."""
    return Workers(PLUGIN_VERIFIERS[verifier].worker, BOUNDS, most=2, lot=64)


def shared_service() -> Service:
    """The workers of this process, started when first asked for."""
    return _WORKERS.service()


@lru_cache
def _verifier(name: str, rule: GradeFunction) -> Verifier:
    """Make a verifier whose rule runs in the workers, and on a gold answer in this process."""
    return Verifier(
        name=name,
        summary=" ".join((rule.__doc__ or "").split("\n\n")[0].split()),
        grade=grade_many,
        check_gold=lambda problem: Grade(rule(problem, problem.answer)),
        runs_in=RunsIn.WORKERS,
        family="plain",
        verdicts=Verdict,
    )


PLAIN: Registry[Verifier] = Registry(
    lambda plugin: {name: _verifier(name, v.grade) for name, v in plugin.verifiers.items()},
    {name: _verifier(name, rule) for name, rule in BUILT_IN.items()},
)
"""The plain verifiers by name, graded by the workers."""
