"""The protocol of a verifier: the program that grades answers to the problems that name it.

In: pairs of a problem and an answer, many at once. Out: a `Grade` per pair, in order: a score, and where the verifier
tells endings apart also a verdict with its reason. Not here: the verifiers themselves (`tasks.math`, `tasks.code`,
`tasks.short_answers`, `tasks.gym`) and their table by name (`tasks.catalog`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dianoia.base.records import Problem

Pair = tuple[Problem, str]
"""A problem and an answer to it."""
GradeFunction = Callable[[Problem, str], float | None]
"""A pure rule: 1.0 right, 0.0 wrong, None when the gold answer cannot be read."""


class RunsIn(StrEnum):
    """The place where a verifier looks at an answer. No answer is looked at in the process that trains."""

    WORKERS = "workers"
    """Worker processes with limits of time and memory (`sandbox.workers`)."""
    SANDBOX = "sandbox"
    """The sandbox, since the answer is run as a program (`sandbox.sandbox`)."""


@dataclass(frozen=True, slots=True)
class Grade:
    """The result of grading one answer."""

    score: float | None
    """1.0 right, 0.0 wrong, a share between them; None when the problem's own gold answer or tests cannot be read."""
    verdict: str | None = None
    """How grading ended, from the verifier's `verdicts`; None where there is nothing to count."""
    reason: str | None = None
    """What makes an answer unreadable, in snake case; None for other verdicts."""

    @property
    def label(self) -> str | None:
        """The verdict with its reason, as in `unreadable/text_behind`."""
        # The slash makes a group of the reasons in metrics.
        return f"{self.verdict}/{self.reason}" if self.reason else self.verdict


@dataclass(frozen=True)
class Verifier:
    """One verifier by the name that problems carry."""

    name: str
    summary: str
    """One or two sentences for `dianoia tasks`."""
    grade: Callable[[Sequence[Pair]], list[Grade]]
    """Grade many answers, in order. Verifiers that share this function share a batch: their pairs may be mixed.

    Blocks while other processes work; may be called from many threads. Raises VerifierError or SandboxError when
    these processes cannot be started."""
    check_gold: Callable[[Problem], Grade]
    """Grade the problem's own gold answer, which is the user's text: in this process where that is fast, since a
    file of a million rows is checked at once. Score None: it cannot be read. Raises ProblemTestsError with the reason,
    where a problem's tests or columns cannot be read."""
    runs_in: RunsIn
    family: str
    """`math`, `plain` (short answers) or `code`: the name under which verdicts are counted in metrics."""
    verdicts: type[StrEnum]
    """All verdicts of the family."""
    # Workers grade then while the sampler still draws, so that little is left to do at the end of a rollout.
    early: bool = False
    """True if an answer takes long enough to be graded while further samples are drawn."""

    def __call__(self, problem: Problem, answer: str) -> float | None:
        """Return the score of one answer."""
        return self.grade([(problem, answer)])[0].score
