"""Mathematics: answers read by a grammar that overlooks nothing, compared by arithmetic, in worker processes."""

from dianoia.tasks.math.math_verifier import (
    ahead,
    judged,
    math,
    math_many,
    shared_service,
    verdicts,
)
from dianoia.tasks.math.verdict import Judgement, Reason, Verdict

__all__ = [
    "Judgement",
    "Reason",
    "Verdict",
    "ahead",
    "judged",
    "math",
    "math_many",
    "shared_service",
    "verdicts",
]
