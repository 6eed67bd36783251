"""Mathematics: answers graded by exact arithmetic, then by math-verify, in worker processes."""

from dianoia.tasks.math.verdict import Verdict
from dianoia.tasks.math.verifier import ahead, judged, math, math_many, shared_service, verdicts

__all__ = ["Verdict", "ahead", "judged", "math", "math_many", "shared_service", "verdicts"]
