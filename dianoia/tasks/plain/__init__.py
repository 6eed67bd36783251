"""Plain verifiers, which compare an answer with the gold one by bounded rules, in worker processes."""

from dianoia.tasks.plain.plain_grade import BUILT_IN, PURE, Item, grade_with
from dianoia.tasks.plain.plain_verifier import PLAIN, Verdict, grade_many, shared_service

__all__ = [
    "BUILT_IN",
    "PLAIN",
    "PURE",
    "Item",
    "Verdict",
    "grade_many",
    "grade_with",
    "shared_service",
]
