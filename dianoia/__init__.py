"""Dianoia trains reasoning models the way DeepSeek-R1 was trained."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dianoia.tasks.math import Judgement

__all__ = ["__version__", "grade"]
__version__ = "0.1.0"


def grade(verifier: str, *, gold: str, answer: str, question: str = "") -> "Judgement":
    """Grade an answer against its gold answer; see `dianoia.tasks.grading.grade`."""
    # Imported when it is first called: `import dianoia` takes milliseconds.
    from dianoia.tasks import grading

    return grading.grade(verifier, gold=gold, answer=answer, question=question)
