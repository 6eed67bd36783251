"""Gold answers, graded by their own verifiers: a set whose gold answers are wrong cannot teach.

In: a set of the catalogue, files, or a `[data]` table. Out: a `Graded` a row, in order. Left out: whether a gold answer
is true, which nobody here knows.

The gold of a problem about code is its tests; what is graded is the program in the first of PROGRAMS that it has.
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

DRAWN = 256
"""Problems of a built-in set that are graded on either side."""
PROGRAMS = ("solution", "gold_standard_solution", "canonical_solution")
"""Columns with a program that passes a problem's tests."""
_LOT = 256
_THREADS = 8


class Outcome(StrEnum):
    """What became of a row."""

    RIGHT = "right"
    WRONG = "wrong"
    """Its verifier does not accept its gold answer."""
    UNREADABLE = "unreadable"
    """The row cannot be used, or its verifier cannot read its gold answer."""
    UNGRADED = "not graded"
    """A problem about code, in order, without a program to grade."""
    LEFT_OUT = "left out"
    """No problem, by its mapping."""


@dataclass(frozen=True, slots=True)
class Graded:
    """A row and what became of it."""

    place: str
    outcome: Outcome
    problem: Problem | None
    """None for a row that cannot be used."""
    why: str = ""


def check_set(name: str) -> Iterator[Graded]:
    """Grade the beginning of a built-in set, reasoning-gym's too: training problems of one stream, and held-out ones.

    Raises ConfigError for a task of reasoning-gym that is not offered, or without reasoning-gym.
    """
    source = problem_source(name)
    problems = [*source.draw(0, 0, DRAWN), *source.heldout(DRAWN)]
    return _graded((f"{name}, {problem.id}", problem) for problem in problems)


def check_files(data: FileSettings) -> Iterator[Graded]:
    """Grade every row of files; raises ConfigError for files that are not there, or no mapping."""
    files, reading = files_of(data), reading_of(data, VERIFIERS, Defaults())
    return _graded(_problems(files, replace(reading, lenient=False)))


def _problems(
    files: Iterable[Path], reading: Defaults
) -> Iterator[tuple[str, Problem | ProblemFileError | None]]:
    """(place, problem or what is wrong with the row or None for one that is left out)."""
    first_rows: dict[str, str] = {}
    for row in (row for path in files for row in rows_or_errors(path)):
        if isinstance(row, ProblemFileError):
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
    """Several at a time, since some verifiers wait for other processes; in order."""
    source = iter(rows)
    with ThreadPoolExecutor(_THREADS) as threads:
        while lot := list(islice(source, _LOT)):
            yield from threads.map(_grade, *zip(*lot, strict=True))


def _grade(place: str, found: Problem | ProblemFileError | None) -> Graded:
    if found is None:
        return Graded(place, Outcome.LEFT_OUT, None, f"{place}: no problem, by its mapping")
    if isinstance(found, ProblemFileError):
        return Graded(place, Outcome.UNREADABLE, None, str(found))
    if found.verifier == "code":
        columns = (found.columns.get(name) for name in PROGRAMS)
        program = next((text for text in columns if isinstance(text, str) and text.strip()), None)
        if program is None:
            why = f"{place}: its tests are in order; no program in a column {PROGRAMS[0]!r} to run them on"
            return Graded(place, Outcome.UNGRADED, found, why)
        score = VERIFIERS["code"](found, program)
        return _outcome(place, found, program, score)
    try:
        score = VERIFIERS[found.verifier].check_gold(found).score
    except ProblemTestsError as error:
        return Graded(place, Outcome.UNREADABLE, found, f"{place}: {error}")
    return _outcome(place, found, found.answer, score)


def _outcome(place: str, problem: Problem, gold: str, score: float | None) -> Graded:
    verifier = f"verifier {problem.verifier!r}"
    if score is None:
        why = f"{place}: {verifier} cannot read the gold answer {shown(gold)}"
        return Graded(place, Outcome.UNREADABLE, problem, why)
    plugin = PLUGIN_VERIFIERS.get(problem.verifier)
    if score < (1.0 if plugin is None else plugin.full_score):
        why = f"{place}: {verifier} gives the gold answer {shown(gold)} {score:g}"
        return Graded(place, Outcome.WRONG, problem, why)
    return Graded(place, Outcome.RIGHT, problem)


def shown(text: str, most: int = 80) -> str:
    """A text in quotes, cut."""
    return repr(text if len(text) <= most else text[:most] + "...")
