"""Problems of files as a source: a stream for training, a side that is held out, nothing shared with tests.

In: files, how their rows are read, tests to keep clear of. Out: a `ProblemSource` of the catalogue, which also
knows its `summary`. Files of up to LARGE bytes are read and checked whole before any work (`FileProblems`); larger
ones row by row while the run goes (`tasks.data.large_files`).
"""

import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

from dianoia.base.errors import ConfigError
from dianoia.base.records import Problem
from dianoia.tasks.data.contamination import EXAMPLES, Found, Tests
from dianoia.tasks.data.set_summary import Summary
from dianoia.tasks.problem_files import Defaults, problem_of, read_problems, split_of
from dianoia.tasks.table_files import Row, read_rows
from dianoia.tasks.verifier import Verifier

LARGE = 64 * 2**20
"""Bytes above which a set is read as the run goes. Parquet counts fourfold, since it is packed."""


@dataclass(frozen=True, slots=True)
class Data:
    """What makes up a set of problems."""

    name: str
    """For messages."""
    files: tuple[Path, ...]
    reading: Defaults
    verifiers: Mapping[str, Verifier]
    heldout_share: float = 0.1
    whole: bool = False
    """All of it is held out: the files are a test set and nothing of them is for training."""
    tests: Tests | None = None

    def side(self, problem: Problem) -> str:
        """train or heldout."""
        return "heldout" if self.whole else split_of(problem.question, self.heldout_share)

    @property
    def size(self) -> int:
        """Bytes, those of Parquet fourfold."""
        return sum(p.stat().st_size * (4 if p.suffix == ".parquet" else 1) for p in self.files)

    def empty_side(self, side: str) -> ConfigError:
        """What to say where nothing falls on a side."""
        kept = (
            " and shares no words with a test" if self.tests is not None and side == "train" else ""
        )
        return ConfigError(
            f"{self.name}: none of its problems falls on the {side} side{kept} (a hash of the question "
            f"puts {_share(self.heldout_share)} into held-out); add problems"
            + (", or evaluate on all of them with whole_file = true" if side == "heldout" else "")
        )


def _share(share: float) -> str:
    return "a tenth" if share == 0.1 else f"{share:.1%}"


class FileProblems:
    """Problems that are all in memory."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.summary = Summary(data.name)
        self._sides: dict[str, list[Problem]] = {"train": [], "heldout": []}
        for problem in read_problems(data.files, data.verifiers, data.reading, self._leave_out):
            side = data.side(problem)
            if side == "heldout" or not contaminated(data.tests, problem, self.summary.found):
                self._sides[side].append(problem)
        self._sum_up()

    def _leave_out(self, why: str) -> None:
        self.summary.left_out += 1
        self.summary.why = self.summary.why or why

    def _sum_up(self) -> None:
        found = self.summary
        found.train, found.heldout = map(len, self._sides.values())
        found.rows = found.train + found.heldout + found.found.dropped + found.left_out
        found.count(problem for side in self._sides.values() for problem in side)
        found.against = tuple(self.data.tests.sets) if self.data.tests else ()

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        """As `ProblemSource`; every epoch is a new order of all training problems."""
        problems = self._side("train")
        size = len(problems)
        return [
            problems[_order(size, seed, index // size)[index % size]]
            for index in range(start, start + count)
        ]

    def heldout(self, limit: int) -> list[Problem]:
        """As `ProblemSource`."""
        return self._side("heldout")[:limit]

    @cached_property
    def languages(self) -> frozenset[str]:
        """As `ProblemSource`."""
        return frozenset(problem.language for problem in self._side("train"))

    @property
    def verifiers(self) -> frozenset[str]:
        """Of all problems, held out or not."""
        return frozenset(self.summary.verifiers)

    @property
    def training(self) -> list[Problem]:
        """Every training problem once."""
        return self._side("train")

    def check(self, seed: int, count: int) -> None:
        """Nothing is left to check: every row has been read."""

    def news(self) -> list[str]:
        """Rows that were left out since this was asked last: none, for the summary has them all."""
        return []

    def _side(self, name: str) -> list[Problem]:
        if not self._sides[name]:
            raise self.data.empty_side(name)
        return self._sides[name]


@lru_cache(maxsize=4)
def _order(size: int, seed: int, epoch: int) -> Sequence[int]:
    order = array("q", range(size))
    random.Random(f"order-{seed}-{epoch}").shuffle(
        order
    )  # the same as of a list, in an eighth of the room
    return order


def every_problem(
    files: Sequence[Path], reading: Defaults, verifiers: Mapping[str, Verifier]
) -> Iterator[Problem]:
    """All problems of files whose rows can be read, graded or not: tests are compared, not answered."""
    ungraded = replace(reading, graded=False, language=reading.language or "en")
    for row in (Row(path, *found) for path in files for found in read_rows(path)):
        problem = problem_of(row, verifiers, ungraded)
        if problem is not None:
            yield problem


def contaminated(tests: Tests | None, problem: Problem, found: Found) -> bool:
    """Whether a training problem shares words with a test; counts what it sees."""
    if tests is None:
        return False
    found.looked_at += 1
    overlap = tests.find(problem.question)
    if overlap is None:
        return False
    found.by_set[overlap[0]] += 1
    if len(found.examples) < EXAMPLES:
        found.examples.append((problem.id, problem.question, overlap[1]))
    return True
