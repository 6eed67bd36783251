"""Grade gold answers by their own verifiers: a set whose gold answers score as wrong cannot teach.

In: a set of the catalogue, files, or a `[data]` table. Out: one `Graded` per row, in order. Not here: whether a gold answer
is true.

The gold answer of a problem about code is its tests; the program in the first of PROGRAMS that it has is graded by them.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path

from dianoia.base.errors import ProblemFileError, ProblemTestsError
from dianoia.base.records import Problem
from dianoia.config import FileSettings
from dianoia.tasks.catalog import VERIFIERS, problem_source
from dianoia.tasks.data.locations import files_of
from dianoia.tasks.data.mappings import reading_of
from dianoia.tasks.plugins import PLUGIN_VERIFIERS
from dianoia.tasks.problem_files import Defaults, problem_of
from dianoia.tasks.table_files import Row, rows_or_errors

SAMPLE_SIZE = 256
"""Number of problems of a built-in set that are graded, of each side."""
# `solution` first: HumanEval's `canonical_solution` is only the rest of a function, and the mapping writes the whole
# program under `solution`.
PROGRAMS = ("solution", "gold_standard_solution", "canonical_solution")
"""Columns with a program that passes a problem's tests."""
# A batch is complete before the next one begins, so that it should be much larger than the number of threads.
_BATCH_SIZE = 256
_THREADS = 8


class Outcome(StrEnum):
    """Result of grading a row."""

    RIGHT = "right"
    WRONG = "wrong"
    """Its verifier does not accept its gold answer."""
    UNREADABLE = "unreadable"
    """The row cannot be used, or its verifier cannot read its gold answer."""
    UNGRADED = "not graded"
    """A problem about code with readable tests and no program to grade."""
    LEFT_OUT = "left out"
    """The mapping says that the row is no problem."""


@dataclass(frozen=True, slots=True)
class Graded:
    """A row with its result."""

    row: str
    """File and row, or set and id."""
    outcome: Outcome
    problem: Problem | None
    """None for a row that cannot be used."""
    message: str = ""
    """What is wrong; empty for a right answer."""
    mapping: str | None = None
    """The ready mapping that the row was read by."""


def check_set(name: str) -> Iterator[Graded]:
    """Grade the first training problems of one stream, and held-out problems, of a built-in set (also reasoning-gym's).

    Raises ConfigError for a task of reasoning-gym that is not offered, or if reasoning-gym is not installed.
    """
    source = problem_source(name)
    problems = [*source.draw(0, 0, SAMPLE_SIZE), *source.heldout(SAMPLE_SIZE)]
    return _graded((f"{name}, {problem.id}", problem) for problem in problems)


def check_files(data: FileSettings) -> Iterator[Graded]:
    """Grade all rows of files; raises ConfigError for missing files or an unknown mapping."""
    files = files_of(data)
    reading = reading_of(data, files, VERIFIERS, Defaults())
    # Not lenient: an unreadable gold answer is what this check is for.
    rows = _graded(_problems(files, replace(reading, lenient=False)))
    return (replace(graded, mapping=reading.mapping) for graded in rows)


def _problems(
    files: Iterable[Path], reading: Defaults
) -> Iterator[tuple[str, Problem | ProblemFileError | None]]:
    """Yield (row, problem); an error in its place for a row that cannot be used, None for one that is left out."""
    first_rows: dict[str, str] = {}
    for row in (row for path in files for row in rows_or_errors(path)):
        if isinstance(row, ProblemFileError):
            # The error names file and row itself.
            yield "", row
            continue
        try:
            problem = problem_of(row, VERIFIERS, reading)
            if problem is not None:
                _check_id(row, problem, first_rows)
        except ProblemFileError as error:
            yield row.place, error
        else:
            yield row.place, problem


def _check_id(row: Row, problem: Problem, first_rows: dict[str, str]) -> None:
    first = first_rows.setdefault(problem.id, row.place)
    if first != row.place:
        raise row.error("id", f"{first} has the same id", "give every problem its own id")


def _graded(rows: Iterable[tuple[str, Problem | ProblemFileError | None]]) -> Iterator[Graded]:
    """Grade several rows at a time, since some verifiers wait for other processes; results are in order."""
    source = iter(rows)
    with ThreadPoolExecutor(_THREADS) as threads:
        # Batches keep memory small and results in order.
        while batch := list(islice(source, _BATCH_SIZE)):
            yield from threads.map(_grade, *zip(*batch, strict=True))


def _grade(row: str, problem: Problem | ProblemFileError | None) -> Graded:
    if problem is None:
        return Graded(row, Outcome.LEFT_OUT, None, f"{row}: no problem, by its mapping")
    if isinstance(problem, ProblemFileError):
        return Graded(row, Outcome.UNREADABLE, None, str(problem))
    # The tests are the gold answer; they are checked by a program that should pass them.
    if problem.verifier == "code":
        columns = (problem.columns.get(name) for name in PROGRAMS)
        program = next((text for text in columns if isinstance(text, str) and text.strip()), None)
        if program is None:
            message = f"{row}: its tests can be read; no program in a column {PROGRAMS[0]!r} to run them on"
            return Graded(row, Outcome.UNGRADED, problem, message)
        # Not `check_gold`, which only reads the tests.
        score = VERIFIERS["code"](problem, program)
        return _graded_row(row, problem, program, score)
    try:
        score = VERIFIERS[problem.verifier].check_gold(problem).score
    except ProblemTestsError as error:
        return Graded(row, Outcome.UNREADABLE, problem, f"{row}: {error}")
    return _graded_row(row, problem, problem.answer, score)


def _graded_row(row: str, problem: Problem, gold: str, score: float | None) -> Graded:
    verifier = f"verifier {problem.verifier!r}"
    if score is None:
        message = f"{row}: {verifier} cannot read the gold answer {shortened(gold)}"
        return Graded(row, Outcome.UNREADABLE, problem, message)
    # A plugin's gold answers may have a lower full score.
    plugin = PLUGIN_VERIFIERS.get(problem.verifier)
    if score < (1.0 if plugin is None else plugin.full_score):
        message = f"{row}: {verifier} gives the gold answer {shortened(gold)} {score:g}"
        return Graded(row, Outcome.WRONG, problem, message)
    return Graded(row, Outcome.RIGHT, problem)


def shortened(text: str, max_chars: int = 80) -> str:
    """Return a text in quotes, cut."""
    return repr(text if len(text) <= max_chars else text[:max_chars] + "...")
