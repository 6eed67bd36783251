"""Ranges of a problem set's training problems, the same for every seed of a run."""

from dianoia.base.records import Problem, Turn
from dianoia.tasks.plugins import ProblemSource

STREAM = 800_000
"""Seed of the stream in which ranges are counted, named after the paper's 800k samples."""


def problem_range(source: ProblemSource, first: int, count: int) -> list[Problem]:
    """Return training problems `first` to `first + count - 1`, once each, in order.

    A range longer than a file reaches into the file's next epoch, where all problems are repeated and left out. So is a
    problem with the id of an earlier one, or with its question after the same turns.
    """
    ids: set[str] = set()
    seen_messages: set[tuple[Turn, ...]] = set()
    problems = []
    for problem in source.draw(STREAM, first, count):
        # Ids of a file repeat in its next epoch; questions of a generator may repeat under other ids.
        if problem.id not in ids and problem.messages not in seen_messages:
            problems.append(problem)
        ids.add(problem.id)
        seen_messages.add(problem.messages)
    return problems
