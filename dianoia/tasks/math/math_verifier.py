"""The verifier "math": problems of mathematics, graded in worker processes.

In: problems and answers. Out: grades as every verifier gives them, and judgements with verdict and reason. In the
process that trains, only the length of an answer is checked. Parsing and arithmetic run in worker processes
(`dianoia.sandbox.workers`), which start with the first answer and have limits of time and memory. Equal answers to one
problem are graded once.
"""

from collections.abc import Sequence

from dianoia.base.records import Problem
from dianoia.sandbox.workers import Bounds, Ended, Reply, WorkerPool
from dianoia.tasks.math.verdict import Judgement, Verdict
from dianoia.tasks.verifier import Grade, Pair, RunsIn, Verifier
from dianoia.tasks.verifier_workers import Workers

MAX_ANSWER_CHARS = 20_000
"""Longer answers are not read, wherever their box is."""
MAX_QUESTION_CHARS = 4_000
BOUNDS = Bounds(cpu_seconds=0.5, wall_seconds=20.0, memory_bytes=2**30)
"""Limits of one answer."""
_WORKERS = Workers("dianoia.tasks.math.grade:grade", BOUNDS)


def grade_many(pairs: Sequence[Pair]) -> list[Grade]:
    """Grade answers, in order, one per core at a time; each takes at most `BOUNDS`.

    May be called from many threads. Raises VerifierError when no worker process can be started.
    """
    return [_grade(judgement) for judgement in judged(pairs)]


def _grade(judgement: Judgement) -> Grade:
    reason = None if judgement.reason is None else judgement.reason.name.lower()
    return Grade(judgement.score, judgement.verdict, reason)


def shared_workers() -> WorkerPool:
    """Return the workers of this process; the first call starts them."""
    return _WORKERS.pool()


def judged(pairs: Sequence[Pair]) -> list[Judgement]:
    """Return a judgement per pair: on overlong texts at once, else from the memory of earlier ones or the workers."""
    requests = [
        (problem.answer, answer, problem.question[:MAX_QUESTION_CHARS])
        for problem, answer in pairs
        if not _too_long(problem, answer)
    ]
    replies = iter(_WORKERS.replies(requests))
    return [_too_long(problem, answer) or _judgement(next(replies)) for problem, answer in pairs]


def _too_long(problem: Problem, answer: str) -> Judgement | None:
    """Return the judgement on a pair of which a text is too long to be read; None for other pairs."""
    if len(problem.answer) > MAX_ANSWER_CHARS:
        return Judgement(Verdict.GOLD_UNREADABLE)
    return Judgement(Verdict.TOO_LARGE) if len(answer) > MAX_ANSWER_CHARS else None


def _judgement(reply: Reply) -> Judgement:
    return Judgement.read(reply.value if reply.ended is Ended.ANSWERED else reply.ended.value)


def _check_gold(problem: Problem) -> Grade:
    return grade_many([(problem, problem.answer)])[0]


MATH = Verifier(
    name="math",
    summary="1.0 for an answer that equals the gold answer, else 0.0; None when the gold answer cannot be read.",
    grade=grade_many,
    check_gold=_check_gold,
    runs_in=RunsIn.WORKERS,
    family="math",
    verdicts=Verdict,
    early=True,
)
