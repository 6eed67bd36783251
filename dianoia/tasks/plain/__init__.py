"""Plain verifiers, which compare an answer with the gold one by bounded rules, in worker processes."""

from dianoia.tasks.plain.plain_grade import PURE
from dianoia.tasks.plain.plain_verifier import (
    PLAIN,
    Verdict,
    ahead,
    plain_many,
    shared_service,
    verdicts,
)

__all__ = ["PLAIN", "PURE", "Verdict", "ahead", "plain_many", "shared_service", "verdicts"]
