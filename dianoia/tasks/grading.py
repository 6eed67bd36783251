"""Grades one answer by the name of a verifier: `dianoia.grade`, for people and other programs."""

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.records import Problem
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.math import Judgement, Verdict, judged

# A share between 0 and 1 counts as wrong: a judgement has no degrees.
_SCORED = {1.0: Verdict.RIGHT, None: Verdict.GOLD_UNREADABLE}


def grade(verifier: str, *, gold: str, answer: str, question: str = "") -> Judgement:
    r"""Grade an answer to a question against its gold answer.

        grade("math", gold=r"\frac12", answer="0.5").right                     # True
        str(grade("math", gold="5", answer=r"5\text{ or so}"))                 # "unreadable: text after the number"

    Args:
        verifier: `math`, `number`, `choice`, ... as in a problem file.
        question: units, words and percent signs of an answer are held against it.

    Raises:
        ConfigError: there is no such verifier.
        VerifierError: no worker process could be started.
        SandboxError: no sandbox works on this machine, where the verifier runs programs.
    """
    if verifier not in VERIFIERS:
        raise ConfigError(
            f"verifier = {verifier!r}: there is no such verifier{nearest(verifier, VERIFIERS)}; use one of {', '.join(sorted(VERIFIERS))}"
        )
    problem = Problem("graded", question, gold, verifier)
    # Its judgements come with a verdict and a reason of their own; others have a score.
    if verifier == "math":
        return judged([(problem, answer)])[0]
    return Judgement(_SCORED.get(VERIFIERS[verifier](problem, answer), Verdict.WRONG))
