"""The plain verifiers as the rest sees them: answers graded in worker processes.

In: problems and answers. Out: the scores of the functions in `tasks.plain.plain_grade`, and how many answers ended otherwise.
Here, in the process that trains, no answer is looked at: it is handed to a worker (`dianoia.sandbox.workers`), started
with the first answer, which has a limit of time and memory for each. Equal answers to one problem are graded once.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache, wraps
from threading import Lock

from dianoia.base.records import Problem
from dianoia.sandbox.workers import Bounds, Ended, Reply, Service
from dianoia.tasks.plain.plain_grade import BUILT_IN, item_of
from dianoia.tasks.plugins import PLUGIN_VERIFIERS, Registry
from dianoia.tasks.short_answers import Verifier
from dianoia.tasks.verifier_workers import Workers

BOUNDS = Bounds(cpu_seconds=0.5, wall_seconds=20.0, memory_bytes=2**30)
"""Of one answer, and of the lot that it travels in."""
_WORKERS = Workers("dianoia.tasks.plain.plain_grade:grade_items", BOUNDS, most=2, lot=64)
"""Two, since an answer takes microseconds: where one has to be killed the other goes on."""


Pair = tuple[Problem, str]


class Verdict(StrEnum):
    """What can become of an answer besides a score; each scores 0, for `reference` nothing."""

    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"


_verdicts: Counter[Verdict] = Counter()
_lock = Lock()


def plain_many(pairs: Sequence[Pair]) -> list[float | None]:
    """The scores of many answers, to problems of any plain verifiers, in order; what is no score is counted.

    Blocks for as long as the answers take, each at most `BOUNDS`; may be called from many threads.

    Raises:
        VerifierError: no worker process could be started.
    """
    replies = _replies(pairs)
    _count(replies)
    return [_score(problem, reply) for (problem, _), reply in zip(pairs, replies, strict=True)]


def ahead(pairs: Sequence[Pair]) -> None:
    """Grade many answers at once, so that the verifiers have them at hand; nothing is counted."""
    _replies(pairs)


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


def verdicts() -> dict[Verdict, int]:
    """Answers of this process that got no score from their verifier, by what became of them."""
    with _lock:
        return dict(_verdicts)


def shared_service() -> Service:
    """The workers of this process, started when first asked for."""
    return _WORKERS.service()


def _count(replies: Sequence[Reply]) -> None:
    lost = [Verdict(reply.ended) for reply in replies if reply.ended is not Ended.ANSWERED]
    if lost:
        with _lock:
            _verdicts.update(lost)


def _score(problem: Problem, reply: Reply) -> float | None:
    if reply.ended is not Ended.ANSWERED:
        return None if problem.verifier == "reference" else 0.0
    score: float | None = reply.value
    return score


@lru_cache
def _in_a_worker(pure: Verifier) -> Verifier:
    @wraps(pure)
    def verify(problem: Problem, answer: str) -> float | None:
        return plain_many([(problem, answer)])[0]

    return verify


PLAIN: Registry[Verifier] = Registry(
    lambda plugin: {name: _in_a_worker(v.grade) for name, v in plugin.verifiers.items()},
    {name: _in_a_worker(pure) for name, pure in BUILT_IN.items()},
)
"""The plain verifiers by name, graded by the workers."""
