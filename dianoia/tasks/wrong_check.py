"""Grade wrong programs: a verifier that pays one of them would teach it.

In: rows of a set whose reference programs are right. Out: one `WrongProgram` per program that was run, in order. Not here: how
they are made (`code.wrong_programs`).
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.code.wrong_programs import NEVER_ENDS, wrong_programs
from dianoia.tasks.gold_check import PROGRAMS, Graded, Outcome

ENDLESS = 4
"""Problems on which a program that never ends is run: each takes the whole time limit."""
_THREADS = 8


@dataclass(frozen=True, slots=True)
class WrongProgram:
    """A wrong program with its grade."""

    row: str
    """File and row, or set and id."""
    kind: str
    """What is wrong with it, such as `exits early`."""
    score: float | None
    """1: it passed as right."""

    @property
    def refused(self) -> bool:
        """True if it was graded, and not as right."""
        return self.score is not None and self.score < 1.0


def check_wrong(rows: Iterable[Graded]) -> Iterator[WrongProgram]:
    """Grade the wrong programs of every row whose reference program is right; other rows are passed over."""
    programs = list(_programs(rows))
    with ThreadPoolExecutor(_THREADS) as threads:
        scores = threads.map(lambda item: VERIFIERS["code"](item[0].problem, item[2]), programs)
        for (graded, fault, _), score in zip(programs, scores, strict=True):
            yield WrongProgram(graded.row, fault, score)


def _programs(rows: Iterable[Graded]) -> Iterator[tuple[Graded, str, str]]:
    """Yield each wrong program with its row and its kind."""
    endless = 0
    for graded in rows:
        if graded.outcome is not Outcome.RIGHT or graded.problem is None:
            continue
        if graded.problem.verifier != "code":
            continue
        columns = (graded.problem.columns.get(name) for name in PROGRAMS)
        program = next(text for text in columns if isinstance(text, str) and text.strip())
        for fault, wrong in wrong_programs(graded.problem, program).items():
            endless += fault == NEVER_ENDS
            if fault != NEVER_ENDS or endless <= ENDLESS:
                yield graded, fault, wrong
