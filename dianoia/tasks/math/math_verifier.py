"""The verifier "math": problems of mathematics, graded in worker processes.

In: problems and answers. Out: scores as every verifier gives them, and judgements, counted by verdict and reason. Here,
in the process that trains, an answer's length is looked at and nothing else: reading and arithmetic run in workers
(`dianoia.sandbox.workers`), started with the first answer, each with a limit of time and memory. Equal answers
to one problem are graded once.
"""

from collections import Counter
from collections.abc import Sequence
from threading import Lock

from dianoia.base.records import Problem
from dianoia.sandbox.workers import Bounds, Ended, Reply, Service
from dianoia.tasks.math.verdict import Judgement, Verdict
from dianoia.tasks.verifier_workers import Workers

MAX_ANSWER_CHARS = 20_000
"""Longer ones are not read, wherever their box stands."""
MAX_QUESTION_CHARS = 4_000
BOUNDS = Bounds(cpu_seconds=0.5, wall_seconds=20.0, memory_bytes=2**30)
"""Of one answer."""
_WORKERS = Workers("dianoia.tasks.math.grade:grade", BOUNDS)

_verdicts: Counter[str] = Counter()
_lock = Lock()


def math(problem: Problem, answer: str) -> float | None:
    """1.0 for an answer that equals the gold answer, else 0.0; None when the gold answer cannot be read.

    Blocks for as long as the answer takes, at most `BOUNDS`; may be called from many threads.

    Raises:
        VerifierError: no worker process could be started.
    """
    return judged([(problem, answer)])[0].score


def math_many(pairs: Sequence[tuple[Problem, str]]) -> list[float | None]:
    """As `math`, for many answers at once: results in order, an answer a core at a time."""
    return [verdict.score for verdict in judged(pairs)]


def ahead(pairs: Sequence[tuple[Problem, str]]) -> None:
    """Grade many answers at once, so that `math` has them at hand; nothing is counted."""
    _graded(pairs)


def judged(pairs: Sequence[tuple[Problem, str]]) -> list[Judgement]:
    """The judgements themselves, in order; counted."""
    judgements = _graded(pairs)
    with _lock:
        for judgement in judgements:
            _verdicts[judgement.verdict.value] += 1
            if judgement.reason is not None:
                _verdicts[f"{judgement.verdict}/{judgement.reason.name.lower()}"] += 1
    return judgements


def verdicts() -> dict[str, int]:
    """Answers that this process has judged so far, by verdict; unreadable ones by reason too (`unreadable/text_behind`)."""
    with _lock:
        return dict(_verdicts)


def shared_service() -> Service:
    """The workers of this process, started when first asked for."""
    return _WORKERS.service()


def _graded(pairs: Sequence[tuple[Problem, str]]) -> list[Judgement]:
    """A judgement each: what is too long at once, what is known from memory, the rest by the workers."""
    asked = [
        (problem.answer, answer, problem.question[:MAX_QUESTION_CHARS])
        for problem, answer in pairs
        if not _too_long(problem, answer)
    ]
    replies = iter(_WORKERS.replies(asked))
    return [_too_long(problem, answer) or _judgement(next(replies)) for problem, answer in pairs]


def _too_long(problem: Problem, answer: str) -> Judgement | None:
    """The judgement on a text that is too long to be read; None for others."""
    if len(problem.answer) > MAX_ANSWER_CHARS:
        return Judgement(Verdict.GOLD_UNREADABLE)
    return Judgement(Verdict.TOO_LARGE) if len(answer) > MAX_ANSWER_CHARS else None


def _judgement(reply: Reply) -> Judgement:
    return Judgement.read(reply.value if reply.ended is Ended.ANSWERED else reply.ended.value)
