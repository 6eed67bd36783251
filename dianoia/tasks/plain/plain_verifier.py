"""The plain verifiers as the rest sees them: answers graded in worker processes.

In: problems and answers. Out: the scores of the functions in `tasks.plain.plain_grade`, and how many answers ended otherwise.
Here, in the process that trains, no answer is looked at: it is handed to a worker (`dianoia.sandbox.workers`), started
with the first answer, which has a limit of time and memory for each. Equal answers to one problem are graded once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import wraps
from threading import Lock

from dianoia.base.records import Problem
from dianoia.sandbox.workers import Bounds, Ended, Reply, Service
from dianoia.tasks.plain.plain_grade import PURE, sent
from dianoia.tasks.short_answers import Verifier
from dianoia.tasks.verifier_workers import Workers

BOUNDS = Bounds(cpu_seconds=0.5, wall_seconds=20.0, memory_bytes=2**30)
"""Of one answer, and of the lot that it travels in."""
_WORKERS = Workers("dianoia.tasks.plain.plain_grade:grade_lot", BOUNDS, most=2, lot=64)
"""Two, since an answer takes microseconds: where one has to be killed the other goes on."""


class Verdict(StrEnum):
    """What can become of an answer besides a score; each scores 0, for `reference` nothing."""

    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"


_verdicts: Counter[Verdict] = Counter()
_lock = Lock()


def plain_many(pairs: Sequence[tuple[Problem, str]]) -> list[float | None]:
    """The scores of many answers, to problems of any plain verifiers, in order; what is no score is counted.

    Blocks for as long as the answers take, each at most `BOUNDS`; may be called from many threads.

    Raises:
        VerifierError: no worker process could be started.
    """
    replies = _WORKERS.replies([sent(problem, answer) for problem, answer in pairs])
    _count(replies)
    return [_score(problem, reply) for (problem, _), reply in zip(pairs, replies, strict=True)]


def ahead(pairs: Sequence[tuple[Problem, str]]) -> None:
    """Grade many answers at once, so that the verifiers have them at hand; nothing is counted."""
    _WORKERS.replies([sent(problem, answer) for problem, answer in pairs])


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


def _in_a_worker(pure: Verifier) -> Verifier:
    @wraps(pure)
    def verify(problem: Problem, answer: str) -> float | None:
        return plain_many([(problem, answer)])[0]

    return verify


PLAIN: Mapping[str, Verifier] = {name: _in_a_worker(pure) for name, pure in PURE.items()}
"""The plain verifiers by name, graded by the workers."""
