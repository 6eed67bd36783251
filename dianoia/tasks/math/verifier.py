"""The verifier "math": problems of mathematics, graded in worker processes.

In: problems and answers. Out: scores as every verifier gives them, and verdicts, counted. Here, in the process that
trains, an answer's length is looked at and nothing else: reading, arithmetic and math-verify run in workers
(`dianoia.runtime.service`), started with the first answer, each with a limit of time and memory. Equal answers
to one problem are graded once.
"""

import atexit
import os
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from threading import Lock

from dianoia.base.records import Problem
from dianoia.runtime.service import Bounds, Ended, Reply, Service
from dianoia.tasks.math.verdict import Verdict

MAX_ANSWER_CHARS = 20_000
"""Longer ones are not read, wherever their box stands."""
MAX_QUESTION_CHARS = 4_000
BOUNDS = Bounds(cpu_seconds=0.5, wall_seconds=20.0, memory_bytes=2**30)
"""Of one answer."""
_TARGET = "dianoia.tasks.math.grade:grade"
_REMEMBERED = 20_000

_verdicts: Counter[Verdict] = Counter()
_known: OrderedDict[bytes, Verdict] = OrderedDict()
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


def judged(pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
    """The verdicts themselves, in order; counted."""
    found = _graded(pairs)
    with _lock:
        _verdicts.update(found)
    return found


def verdicts() -> dict[Verdict, int]:
    """Answers that this process has judged so far, by verdict."""
    with _lock:
        return dict(_verdicts)


def shared_service() -> Service:
    """The workers of this process, started when first asked for."""
    return _service(os.getpid())


@lru_cache(maxsize=1)
def _service(_process: int) -> Service:
    """A process that was forked has its own: two must not speak on one socket."""
    service = Service(_TARGET, BOUNDS)
    atexit.register(service.close)
    return service


def _graded(pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
    """A verdict each: what is too long at once, what is known from memory, the rest by the workers."""
    keys = [_key(problem, answer) for problem, answer in pairs]
    found = _recalled(keys)
    asked = {
        key: (problem.answer, answer, problem.question[:MAX_QUESTION_CHARS])
        for key, (problem, answer) in zip(keys, pairs, strict=True)
        if key is not None and key not in found
    }
    if asked:
        replies = shared_service().map(list(asked.values()))
        new = {
            key: _verdict(reply, answer == gold)
            for (key, (gold, answer, _)), reply in zip(asked.items(), replies, strict=True)
        }
        _remember(new)
        found |= new
    return [
        _too_long(problem) if key is None else found[key]
        for key, (problem, answer) in zip(keys, pairs, strict=True)
    ]


def _key(problem: Problem, answer: str) -> bytes | None:
    """Equal for what has one verdict; None for an answer that is too long to be read."""
    if max(len(answer), len(problem.answer)) > MAX_ANSWER_CHARS:
        return None
    question = problem.question[:MAX_QUESTION_CHARS]
    said = "\0".join((str(len(answer)), answer, str(len(question)), question, problem.answer))
    return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _too_long(problem: Problem) -> Verdict:
    gold = len(problem.answer) > MAX_ANSWER_CHARS
    return Verdict.GOLD_UNREADABLE if gold else Verdict.TOO_LARGE


def _verdict(reply: Reply, is_gold: bool) -> Verdict:
    """A gold answer that cannot be graded beside itself cannot be read."""
    found = Verdict(reply.value if reply.ended is Ended.ANSWERED else reply.ended.value)
    return Verdict.GOLD_UNREADABLE if is_gold and found is not Verdict.RIGHT else found


def _recalled(keys: Sequence[bytes | None]) -> dict[bytes, Verdict]:
    with _lock:
        return {key: _known[key] for key in keys if key is not None and key in _known}


def _remember(new: Mapping[bytes, Verdict]) -> None:
    """The newest so many are kept."""
    with _lock:
        _known.update(new)
        while len(_known) > _REMEMBERED:
            _known.popitem(last=False)
