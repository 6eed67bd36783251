"""Problems of files as a problem source: a training stream, a held-out side, and no words shared with tests.

In: files, how their rows are read, and tests. Out: a `ProblemSource` with a `summary`. Files of up to LARGE bytes are read
and checked whole before any work (`FileProblems`); larger ones row by row during the run (`tasks.data.large_files`).
"""

import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

from dianoia.base.errors import ConfigError
from dianoia.base.records import Problem
from dianoia.tasks.data.contamination import Tests, is_contaminated
from dianoia.tasks.data.set_summary import Summary
from dianoia.tasks.file_formats import format_of, is_compressed, unpacked_size
from dianoia.tasks.problem_files import (
    Defaults,
    dialogue_of,
    problem_of,
    read_problems,
    split_of,
)
from dianoia.tasks.table_files import Row, read_rows
from dianoia.tasks.verifier import Verifier

LARGE = 64 * 2**20
"""Size in bytes above which a set is read during the run. Compressed files count more, see `Data.size`."""


@dataclass(frozen=True, slots=True)
class Data:
    """Definition of a set of problems in files."""

    name: str
    """Name of the set in messages."""
    files: tuple[Path, ...]
    reading: Defaults
    verifiers: Mapping[str, Verifier]
    heldout_share: float = 0.1
    all_heldout: bool = False
    """True for a test set: all problems are held out, none is for training."""
    tests: Tests | None = None
    """Training problems that share words with these are left out."""

    def side(self, problem: Problem) -> str:
        """Return the side of a problem, "train" or "heldout"."""
        return (
            "heldout"
            if self.all_heldout
            else split_of(dialogue_of(problem.messages), self.heldout_share)
        )

    @property
    def size(self) -> int:
        """Size in bytes; that of Parquet counts fourfold, that of a file compressed with gzip what it is unpacked to."""
        return sum(map(_size, self.files))

    def empty_side(self, side: str) -> ConfigError:
        """Return the error about a side without problems."""
        clean = self.tests is not None and side == "train"
        return ConfigError(
            f"{self.name}: none of its problems falls on the {side} side"
            + (" and shares no words with a test" if clean else "")
            + f" (a hash of the question puts {_share(self.heldout_share)} into held-out); add problems"
            + (", or evaluate on all of them with whole_file = true" if side == "heldout" else "")
        )


def _share(share: float) -> str:
    return "a tenth" if share == 0.1 else f"{share:.1%}"


def _size(path: Path) -> int:
    size = path.stat().st_size
    if is_compressed(path):
        return unpacked_size(path)
    return size * 4 if format_of(path) == ".parquet" else size


class FileProblems:
    """A problem source with all problems in memory."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.summary = Summary(data.name, mapping=data.reading.mapping)
        # In this order: `_sum_up` reads both counts by position.
        self._sides: dict[str, list[Problem]] = {"train": [], "heldout": []}
        for problem in read_problems(data.files, data.verifiers, data.reading, self._leave_out):
            side = data.side(problem)
            # Held-out problems are not compared with tests, since nothing is learnt from them.
            if side == "heldout" or not is_contaminated(
                data.tests, problem, self.summary.contamination
            ):
                self._sides[side].append(problem)
        self._sum_up()

    def _leave_out(self, reason: str) -> None:
        self.summary.left_out += 1
        self.summary.reason = self.summary.reason or reason

    def _sum_up(self) -> None:
        summary = self.summary
        summary.train, summary.heldout = map(len, self._sides.values())
        dropped = summary.contamination.dropped
        summary.rows = summary.train + summary.heldout + dropped + summary.left_out
        summary.count(problem for side in self._sides.values() for problem in side)
        summary.tests = tuple(self.data.tests.sets) if self.data.tests else ()

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        """Return training problems of the stream; every epoch is a new order of all of them."""
        # Epoch `index // size` of the stream is a shuffled list of all problems.
        problems = self._side("train")
        size = len(problems)
        return [
            problems[_order(size, seed, index // size)[index % size]]
            for index in range(start, start + count)
        ]

    def heldout(self, limit: int) -> list[Problem]:
        """Return the first held-out problems, in the order of the files."""
        return self._side("heldout")[:limit]

    @cached_property
    def languages(self) -> frozenset[str]:
        """Languages of the training problems' questions."""
        return frozenset(problem.language for problem in self._side("train"))

    @property
    def verifiers(self) -> frozenset[str]:
        """Verifiers of all problems, held out or not."""
        return frozenset(self.summary.verifiers)

    @property
    def training(self) -> list[Problem]:
        """All training problems, once each."""
        return self._side("train")

    def check(self, seed: int, count: int) -> None:
        """Do nothing: all rows have been read and checked."""

    def new_warnings(self) -> list[str]:
        """Return no warnings: the summary counts all rows that were left out."""
        return []

    def _side(self, name: str) -> list[Problem]:
        if not self._sides[name]:
            raise self.data.empty_side(name)
        return self._sides[name]


@lru_cache(maxsize=4)
def _order(size: int, seed: int, epoch: int) -> Sequence[int]:
    order = array("q", range(size))
    # An array is shuffled like a list, in an eighth of the memory.
    random.Random(f"order-{seed}-{epoch}").shuffle(order)
    return order


def every_problem(
    files: Sequence[Path], reading: Defaults, verifiers: Mapping[str, Verifier]
) -> Iterator[Problem]:
    """Yield all problems of files whose rows can be read, graded or not: tests are compared, not answered."""
    # No language detection: tests are compared word by word.
    ungraded = replace(reading, graded=False, language=reading.language or "en")
    for row in (Row(path, *numbered) for path in files for numbered in read_rows(path)):
        problem = problem_of(row, verifiers, ungraded)
        if problem is not None:
            yield problem
