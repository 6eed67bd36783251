"""Verifiers of short answers: numbers, texts, choices, and what programs print, compared with the gold answer by rule.

`number_and_text` and `choice` hold the rules (`tasks.code.predict` has two more), `wrappings` takes off what stands around
an answer, and `grading` applies the rules in worker processes.
"""

from dianoia.tasks.short_answers.worker_grading import (
    BUILT_IN_RULES,
    RULES,
    SHORT_ANSWER_VERIFIERS,
    Item,
    Verdict,
    grade_many,
    grade_with,
    shared_workers,
)

__all__ = [
    "BUILT_IN_RULES",
    "RULES",
    "SHORT_ANSWER_VERIFIERS",
    "Item",
    "Verdict",
    "grade_many",
    "grade_with",
    "shared_workers",
]
