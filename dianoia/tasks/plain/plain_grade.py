"""What a worker does with an answer to a plain problem: it calls the verifier's own function.

In: an item of `sent`. Out: what the function returns. Left out: processes and limits (`tasks.plain.plain_verifier`), and the
functions, which are pure and stand where their rules do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dianoia.base.records import Problem
from dianoia.tasks.choice import MAX_QUESTION_CHARS, choice, of_options, read_options
from dianoia.tasks.code.predict import output, value
from dianoia.tasks.miniature.people import miniature
from dianoia.tasks.short_answers import Verifier, exact, number, reference

PURE: Mapping[str, Verifier] = {
    "number": number,
    "exact": exact,
    "choice": choice,
    "output": output,
    "value": value,
    "reference": reference,
    "miniature": miniature,
}
"""The functions themselves, by verifier."""

Item = tuple[str, str, str, str, Any]
"""Verifier, answer, gold answer, language, and what else of the problem the verifier reads."""

_COLUMNS = {"kind": str, "subject": str, "n": int}
"""Columns that the verifier `miniature` reads, and what they have to be."""


def sent(problem: Problem, answer: str) -> Item:
    """What a worker needs; columns may hold what cannot be sent, so only what is read of them goes along."""
    further: Any = None
    if problem.verifier == "choice":
        options = read_options(problem)
        further = options, "" if options else problem.question[:MAX_QUESTION_CHARS]
    if problem.verifier == "miniature":
        columns = ((name, problem.columns.get(name)) for name in _COLUMNS)
        further = {name: found for name, found in columns if isinstance(found, _COLUMNS[name])}
    return problem.verifier, answer, problem.answer, problem.language, further


def grade_lot(items: Sequence[Item]) -> list[float | None]:
    """The verifiers' scores of some answers."""
    return [grade(item) for item in items]


def grade(item: Item) -> float | None:
    """The verifier's score of an answer."""
    verifier, answer, gold, language, further = item
    if verifier == "choice":
        options, question = further
        return of_options(options, gold, answer, question)
    problem = Problem("", "", gold, verifier, language=language, columns=further or {})
    return PURE[verifier](problem, answer)
