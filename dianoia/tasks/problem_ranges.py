"""A range of a problem set's training problems, the same for every seed of a run."""

from dianoia.base.records import Problem
from dianoia.tasks.plugins import ProblemSource

STREAM = 800_000
"""The stream that ranges are counted in, named after the paper's 800k samples."""


def problem_range(source: ProblemSource, first: int, count: int) -> list[Problem]:
    """Training problems `first` to `first + count - 1`, each once, in order.

    A range longer than a file reaches into the file's next epoch; what comes again is left out there, and so
    is a problem with the id or the question of an earlier one.
    """
    ids: set[str] = set()
    questions: set[str] = set()
    found = []
    for problem in source.draw(STREAM, first, count):
        if problem.id not in ids and problem.question not in questions:
            found.append(problem)
        ids.add(problem.id)
        questions.add(problem.question)
    return found
