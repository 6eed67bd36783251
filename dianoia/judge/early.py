"""Answers that are graded in other processes while the next samples are drawn.

In: rollouts, each as soon as it ends. Out: nothing; a verifier that was handed an answer has its verdict at hand when
it is asked (`Verifier.early`). Left out: scores, and verifiers that answer within microseconds or run programs.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from dianoia.base.records import Problem, Rollout
from dianoia.judge.judge import grade_ahead
from dianoia.tasks.catalog import VERIFIERS

Take = Callable[[Rollout], None]


@contextmanager
def graded_early(problems: Sequence[Problem]) -> Iterator[Take | None]:
    """What takes the rollouts of these problems; None where no verifier is asked early.

    On leaving, all that was taken is graded; what went wrong with it is raised.
    """
    if not any(_is_early(problem) for problem in problems):
        yield None
        return
    threads, handed = ThreadPoolExecutor(thread_name_prefix="early"), list[Future[None]]()

    def take(rollout: Rollout) -> None:
        if rollout.answer is not None and _is_early(rollout.problem):
            handed.append(threads.submit(grade_ahead, [rollout]))

    try:
        yield take
        for one in handed:
            one.result()
    finally:
        threads.shutdown(cancel_futures=True)


def _is_early(problem: Problem) -> bool:
    verifier = VERIFIERS.get(problem.verifier)  # a general prompt may name none that exists
    return verifier is not None and verifier.early
