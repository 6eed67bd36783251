"""Problems of files that are too large to be read before each start: rows are read during the run.

In: the same as `tasks.data.file_problems`. Out: a problem source with the same stream for the same file, seed and number,
whatever was drawn before, so that a run resumes without any state. An epoch is an order of all row indices; a row that is
held out, shares words with a test or cannot be used is skipped when the stream reaches it. In memory are the offset of each
line, a few orders, and one byte per row for its side.

Rows are checked at three times:
1. When the set is opened: FIRST rows from its beginning and as many spread evenly over the whole. A broken row is an error.
2. Before a run: the problems that it will draw, up to CHECKED of them (`check`). A broken row is an error.
3. All other rows when the stream reaches them. To stop a run of days would cost more than one row: the row is left out with
   a warning (`new_warnings`). More than one broken row in a hundred is an error all the same.
"""

from array import array
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice

import numpy as np
import numpy.typing as npt

from dianoia.base.errors import ProblemFileError
from dianoia.base.records import Problem
from dianoia.tasks.data.contamination import is_contaminated
from dianoia.tasks.data.file_problems import Data
from dianoia.tasks.data.row_reader import open_rows
from dianoia.tasks.data.set_summary import Summary
from dianoia.tasks.problem_files import usable_problem

FIRST = 512
CHECKED = 4096
_MAX_BROKEN_SHARE = 0.01
_ALLOWED_BROKEN = 10
"""This many broken rows are allowed whatever their share is."""
_CACHED_ORDERS = 4
"""Two epochs of two streams."""


class Side(IntEnum):
    """Side of a row."""

    UNKNOWN = 0
    TRAIN = 1
    HELDOUT = 2
    OUT = 3
    """No problem, broken, or contaminated."""


@dataclass(slots=True)
class _Order:
    """An epoch of a stream."""

    indices: npt.NDArray[np.intp]
    """All row indices in the order of this epoch."""
    visited: int = 0
    """Number of leading `indices` whose side is known."""
    training: "array[int]" = field(default_factory=lambda: array("q"))
    """The training rows among these, in order."""


class LargeProblems:
    """A problem source whose problems stay in their files."""

    def __init__(self, data: Data) -> None:
        self.data, self.rows = data, open_rows(data.files)
        self.summary = Summary(data.name, rows=len(self.rows), complete=False)
        self.summary.mapping = data.reading.mapping
        self.summary.tests = tuple(data.tests.sets) if data.tests else ()
        # One byte per row: a set may have many millions of rows.
        self._sides = np.zeros(len(self.rows), np.int8)
        self._orders: dict[tuple[int, int], _Order] = {}
        self._size: int | None = None
        """Number of training problems; None until an epoch has been visited to its end."""
        # For the share of broken rows so far.
        self._read, self._broken = 0, 0
        self._warnings: list[str] = []
        # The only rows that are read now; all others are read when the stream reaches them.
        self._sample = self._read_sample()

    def _read_sample(self) -> list[Problem]:
        """Return problems from the beginning and from all parts of the files; raises ProblemFileError for a broken row."""
        size = len(self.rows)
        spread = np.linspace(0, size - 1, min(FIRST, size), dtype=int)
        indices = sorted({*range(min(FIRST, size)), *map(int, spread)})
        problems = [p for index in indices if (p := self._problem(index)[0]) is not None]
        if not problems:
            raise ProblemFileError(
                f"{self.data.name}: no problem in {len(indices):,} rows from all parts of it"
            )
        self.summary.count(problems)
        return problems

    # Rows

    def _problem(self, index: int, detect_language: bool = True) -> tuple[Problem | None, str]:
        """Return the problem of a row, or None and the reason why it is left out; raises ProblemFileError."""
        # A blank line of a JSONL file has an index and no row.
        row = self.rows.read(index)
        if row is None:
            return None, ""
        return usable_problem(row, self.data.verifiers, self.data.reading, detect_language)

    def _side(self, index: int) -> Side:
        # A row is read once for its side, whatever number of epochs it is in.
        if self._sides[index] == Side.UNKNOWN:
            self._sides[index] = self._read_side(index)
        return Side(self._sides[index])

    def _read_side(self, index: int) -> Side:
        self._read += 1
        try:
            # Without the language, whose detection takes longer than all other steps.
            problem, reason = self._problem(index, detect_language=False)
        except ProblemFileError as error:
            self._leave_out(error)
            return Side.OUT
        if problem is None:
            self.summary.left_out += bool(reason)
            self.summary.reason = self.summary.reason or reason or None
            return Side.OUT
        # Not compared with tests, since nothing is learnt from it.
        if self.data.side(problem) == "heldout":
            return Side.HELDOUT
        if is_contaminated(self.data.tests, problem, self.summary.contamination):
            return Side.OUT
        return Side.TRAIN

    def _leave_out(self, error: ProblemFileError) -> None:
        """Count a broken row and add a warning; raises ProblemFileError if too many rows are broken."""
        self._broken += 1
        if self._broken > max(_ALLOWED_BROKEN, _MAX_BROKEN_SHARE * self._read):
            raise ProblemFileError(
                f"{error} ({self._broken:,} of {self._read:,} rows read so far cannot be used; `dianoia tasks check` "
                "lists them)"
            ) from error
        self._warnings.append(f"{error}; the row is left out")

    # The stream

    def _order(self, seed: int, epoch: int) -> _Order:
        key = (seed, epoch)
        if key not in self._orders:
            while len(self._orders) >= _CACHED_ORDERS:
                del self._orders[next(iter(self._orders))]
            # RandomState, not Generator: numpy promises that only the former's streams never change.
            # The seed may have 64 bits, RandomState takes words of 32.
            state = np.random.RandomState([seed % 2**32, seed >> 32, epoch])
            self._orders[key] = _Order(state.permutation(len(self.rows)))
        return self._orders[key]

    def _training_row(self, order: _Order, number: int) -> int | None:
        """Return the row of the training problem `number` of an epoch; None if the epoch has fewer."""
        # Visits the order only as far as this number needs: an epoch may never be finished.
        while len(order.training) <= number and order.visited < len(order.indices):
            index = int(order.indices[order.visited])
            order.visited += 1
            if self._side(index) == Side.TRAIN:
                order.training.append(index)
        return order.training[number] if number < len(order.training) else None

    def _stream_row(self, seed: int, number: int) -> int:
        """Return the row of the problem `number` of a stream."""
        if self._size is None:
            # The size of an epoch is not known before the first one has been visited to its end.
            first = self._order(seed, 0)
            index = self._training_row(first, number)
            if index is not None:
                return index
            self._size = len(first.training)
        if not self._size:
            raise self.data.empty_side("train")
        epoch, number_in_epoch = divmod(number, self._size)
        index = self._training_row(self._order(seed, epoch), number_in_epoch)
        assert index is not None, "all epochs have the same training problems"
        return index

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        """Return training problems `start` to `start + count - 1` of the stream that `seed` names."""
        rows = (self._stream_row(seed, number) for number in range(start, start + count))
        return [self._read_problem(index) for index in rows]

    def _read_problem(self, index: int) -> Problem:
        problem, _ = self._problem(index)
        assert problem is not None, "the row was a problem before"
        return problem

    def heldout(self, limit: int) -> list[Problem]:
        """Return the first held-out problems, in the order of the files."""
        # From the first row on, so that a limit reads no more rows than it needs.
        rows = (index for index in range(len(self.rows)) if self._side(index) == Side.HELDOUT)
        problems = [self._read_problem(index) for index in islice(rows, limit)]
        if not problems:
            raise self.data.empty_side("heldout")
        return problems

    # Checks and summary

    def check(self, seed: int, count: int) -> None:
        """Read the problems that a run will draw first, up to CHECKED; raises ProblemFileError for a broken row."""
        self._stream_row(seed, min(count, CHECKED) - 1)
        # Before a run a broken row is an error, not a warning.
        if self._warnings:
            raise ProblemFileError(self._warnings[0].removesuffix("; the row is left out"))

    def new_warnings(self) -> list[str]:
        """Return a warning for each row that was left out since the last call, with its reason."""
        warnings, self._warnings = self._warnings, []
        return warnings

    @property
    def languages(self) -> frozenset[str]:
        """Languages of the sample's questions."""
        return frozenset(self.summary.languages)

    @property
    def verifiers(self) -> frozenset[str]:
        """Verifiers of the sample."""
        return frozenset(self.summary.verifiers)

    @property
    def training(self) -> list[Problem]:
        """The training problems of the sample."""
        return [problem for problem in self._sample if self.data.side(problem) == "train"]
