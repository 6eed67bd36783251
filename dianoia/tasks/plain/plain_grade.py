"""Grade answers to plain problems inside a worker process, by the verifier's own function.

In: items that `item_of` makes. Out: the function's scores. Not here: processes and limits
(`tasks.plain.plain_verifier`), and the functions, which are pure and stand where their rules do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dianoia.base.records import Problem
from dianoia.tasks.choice import MAX_QUESTION_CHARS, choice, of_options, read_options
from dianoia.tasks.code.predict import output, value
from dianoia.tasks.plugins import PLUGIN_VERIFIERS, Registry
from dianoia.tasks.short_answers import exact, number, reference
from dianoia.tasks.verifier import GradeFunction

BUILT_IN: Mapping[str, GradeFunction] = {
    "number": number,
    "exact": exact,
    "choice": choice,
    "output": output,
    "value": value,
    "reference": reference,
}
PURE: Registry[GradeFunction] = Registry(
    lambda plugin: {name: verifier.grade for name, verifier in plugin.verifiers.items()}, BUILT_IN
)
"""The functions themselves, by verifier; those of plugins too."""

Item = tuple[str, str, str, str, Any]
"""Verifier, answer, gold answer, language, and the other data of the problem that the verifier reads."""


def item_of(problem: Problem, answer: str) -> Item:
    """Pack an answer for a worker. Columns may hold what cannot be sent, so only those that are read go along."""
    data: Any = None
    if problem.verifier == "choice":
        options = read_options(problem)
        data = options, "" if options else problem.question[:MAX_QUESTION_CHARS]
    elif problem.verifier not in BUILT_IN:
        columns = PLUGIN_VERIFIERS[problem.verifier].columns
        data = {
            name: problem.columns[name]
            for name, kind in columns.items()
            if isinstance(problem.columns.get(name), kind)
        }
    return problem.verifier, answer, problem.answer, problem.language, data


def grade_items(items: Sequence[Item]) -> list[float | None]:
    """Grade answers to problems of built-in verifiers."""
    return [_grade(item) for item in items]


def grade_with(function: GradeFunction, items: Sequence[Item]) -> list[float | None]:
    """Grade answers to problems of one verifier of a plugin by its function."""
    return [
        function(Problem("", "", gold, verifier, language=language, columns=columns), answer)
        for verifier, answer, gold, language, columns in items
    ]


def _grade(item: Item) -> float | None:
    verifier, answer, gold, language, data = item
    if verifier == "choice":
        options, question = data
        return of_options(options, gold, answer, question)
    return BUILT_IN[verifier](Problem("", "", gold, verifier, language=language), answer)
