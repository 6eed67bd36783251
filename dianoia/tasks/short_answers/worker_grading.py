"""Grade short answers by rule, in worker processes.

In: problems and answers. Out: grades: the score of the verifier's rule, or a verdict on an answer that a worker did not
survive. Not here: the rules, which are pure functions (`number_and_text`, `choice`, `tasks.code.predict`, plugins).

The process that trains looks at no answer: it hands answers to workers (`dianoia.sandbox.workers`), which have a limit of
time and memory per answer and start with the first one. Equal answers to one problem are graded once. The workers import
this module and run `grade_items`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any

from dianoia.base.records import Problem
from dianoia.sandbox.workers import Bounds, Ended, Reply, WorkerPool
from dianoia.tasks.code.predict import output, value
from dianoia.tasks.plugins import PLUGIN_VERIFIERS, Registry
from dianoia.tasks.short_answers.choice import (
    MAX_QUESTION_CHARS,
    choice,
    read_options,
    score_choice,
)
from dianoia.tasks.short_answers.number_and_text import exact, number, reference
from dianoia.tasks.verifier import Grade, GradeFunction, Pair, RunsIn, Verifier
from dianoia.tasks.verifier_workers import Workers

BUILT_IN_RULES: Mapping[str, GradeFunction] = {
    "number": number,
    "exact": exact,
    "choice": choice,
    "output": output,
    "value": value,
    "reference": reference,
}
RULES: Registry[GradeFunction] = Registry(
    lambda plugin: {name: verifier.grade for name, verifier in plugin.verifiers.items()},
    BUILT_IN_RULES,
)
"""Rules by verifier; those of plugins too."""

BOUNDS = Bounds(cpu_seconds=0.5, wall_seconds=20.0, memory_bytes=2**30)
"""Limits of one answer, and of the batch that it is sent in."""
_PROCESSES, _BATCH_SIZE = 2, 64
"""Two processes, since an answer takes microseconds; where one has to be killed the other still works."""
_WORKERS = Workers(
    "dianoia.tasks.short_answers.worker_grading:grade_items", BOUNDS, _PROCESSES, _BATCH_SIZE
)


class Verdict(StrEnum):
    """The ways in which grading can end without a score of the rule. The score is 0 then, for `reference` None."""

    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"


# In the process that trains


def grade_many(pairs: Sequence[Pair]) -> list[Grade]:
    """Grade answers to problems of any verifiers of short answers, in order; each takes at most `BOUNDS`.

    May be called from many threads. Raises VerifierError when no worker process can be started.
    """
    replies = _replies(pairs)
    return [_grade(problem, reply) for (problem, _), reply in zip(pairs, replies, strict=True)]


def _grade(problem: Problem, reply: Reply) -> Grade:
    """Return the score of a reply; only an answer that a worker did not survive has a verdict."""
    if reply.ended is Ended.ANSWERED:
        return Grade(reply.value)
    return Grade(None if problem.verifier == "reference" else 0.0, Verdict(reply.ended))


def _replies(pairs: Sequence[Pair]) -> list[Reply]:
    """Return one reply per pair, in order; answers to a plugin's problems go to workers of its own."""
    indices: defaultdict[str, list[int]] = defaultdict(list)
    # Built-in verifiers share one set of workers, under the key "".
    for index, (problem, _) in enumerate(pairs):
        indices["" if problem.verifier in BUILT_IN_RULES else problem.verifier].append(index)
    replies: dict[int, Reply] = {}
    for verifier, members in indices.items():
        workers = _plugin_workers(verifier) if verifier else _WORKERS
        items = [item_of(*pairs[index]) for index in members]
        # By index, since the pairs of several verifiers are mixed.
        replies |= zip(members, workers.replies(items), strict=True)
    return [replies[index] for index in range(len(pairs))]


@lru_cache
def _plugin_workers(verifier: str) -> Workers:
    """Return the workers of a plugin's verifier; they import the plugin, which the others never do."""
    return Workers(PLUGIN_VERIFIERS[verifier].worker, BOUNDS, _PROCESSES, _BATCH_SIZE)


def shared_workers() -> WorkerPool:
    """Return the workers of the built-in rules, started by the first call."""
    return _WORKERS.pool()


Item = tuple[str, str, str, str, Any]
"""Verifier, answer, gold answer, language, and the other data of the problem that the verifier reads; all of it JSON."""


def item_of(problem: Problem, answer: str) -> Item:
    """Pack an answer for a worker. Columns may hold what JSON has not, so that only those that are read go along."""
    data: Any = None
    if problem.verifier == "choice":
        options = read_options(problem)
        data = options, "" if options else problem.question[:MAX_QUESTION_CHARS]
    elif problem.verifier not in BUILT_IN_RULES:
        # A value of another type is not sent: a row of a file may hold anything there.
        columns = PLUGIN_VERIFIERS[problem.verifier].columns
        data = {
            name: problem.columns[name]
            for name, column_type in columns.items()
            if isinstance(problem.columns.get(name), column_type)
        }
    return problem.verifier, answer, problem.answer, problem.language, data


@lru_cache
def _verifier(name: str, rule: GradeFunction) -> Verifier:
    """Make a verifier whose rule runs in the workers, and on a gold answer in this process."""
    return Verifier(
        # No `early`: rules take microseconds, so that nothing is won by grading while samples are drawn.
        name=name,
        summary=" ".join((rule.__doc__ or "").split("\n\n")[0].split()),
        grade=grade_many,
        check_gold=lambda problem: Grade(rule(problem, problem.answer)),
        runs_in=RunsIn.WORKERS,
        family="plain",
        verdicts=Verdict,
    )


SHORT_ANSWER_VERIFIERS: Registry[Verifier] = Registry(
    lambda plugin: {name: _verifier(name, v.grade) for name, v in plugin.verifiers.items()},
    {name: _verifier(name, rule) for name, rule in BUILT_IN_RULES.items()},
)
"""The verifiers of short answers by name; those of plugins too."""


# In the workers


def grade_items(items: Sequence[Item]) -> list[float | None]:
    """Grade answers to problems of built-in verifiers."""
    return [_score(item) for item in items]


def grade_with(rule: GradeFunction, items: Sequence[Item]) -> list[float | None]:
    """Grade answers to problems of one verifier of a plugin by its rule."""
    return [
        rule(Problem("", "", gold, verifier, language=language, columns=columns), answer)
        for verifier, answer, gold, language, columns in items
    ]


def _score(item: Item) -> float | None:
    verifier, answer, gold, language, data = item
    # The options have been read before sending, and a question is sent only where there are none.
    if verifier == "choice":
        options, question = data
        return score_choice(options, gold, answer, question)
    return BUILT_IN_RULES[verifier](Problem("", "", gold, verifier, language=language), answer)
