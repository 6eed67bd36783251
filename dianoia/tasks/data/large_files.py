"""Problems of files that are too large to be read before every start: rows are read when their turn comes.

In: as `tasks.data.file_problems`. Out: a source with the same stream from the same file, seed and number, whatever was
drawn before, so that a run goes on without any state. An epoch is an order of all places of the files; a place
that is held out, shares words with a test or cannot be used is passed over when it is reached. What is in
memory: where each line begins, one order, a byte a row that says what it is.

What is checked when:
1. When the set is opened: FIRST rows from its beginning and as many spread evenly over the rest. A broken
   one is refused.
2. Before a run: the problems that it will draw, up to CHECKED of them (`check`). A broken one is refused.
3. Every other row when it is reached. Stopping a run of days for a row would cost more than the row: it is left
   out, and told (`news`). More than a hundredth of them are refused all the same.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice

import numpy as np
import numpy.typing as npt

from dianoia.base.errors import ProblemFileError
from dianoia.base.records import Problem
from dianoia.tasks.data.file_problems import Data, contaminated
from dianoia.tasks.data.row_reader import open_rows
from dianoia.tasks.data.set_summary import Summary
from dianoia.tasks.problem_files import usable

FIRST = 512
CHECKED = 4096
_MOST_BROKEN = 0.01
_A_FEW = 10
"""Broken rows that are too few to make out a share."""
_ORDERS = 4
"""Orders that are kept: of two epochs of two streams."""


class Side(IntEnum):
    """What is known of a place."""

    UNKNOWN = 0
    TRAIN = 1
    HELDOUT = 2
    OUT = 3
    """No problem, broken, or too close to a test."""


@dataclass(slots=True)
class _Order:
    """An epoch of a stream, as far as it has been walked."""

    places: npt.NDArray[np.intp]
    walked: int = 0
    training: "array[int]" = field(default_factory=lambda: array("q"))


class LargeProblems:
    """Problems that stay in their files."""

    def __init__(self, data: Data) -> None:
        self.data, self.rows = data, open_rows(data.files)
        self.summary = Summary(data.name, rows=len(self.rows), whole=False)
        self.summary.against = tuple(data.tests.sets) if data.tests else ()
        self._sides = np.zeros(len(self.rows), np.int8)
        self._orders: dict[tuple[int, int], _Order] = {}
        self._size: int | None = None
        """Training problems; None until an epoch has been walked to its end."""
        self._read, self._broken = 0, 0
        self._news: list[str] = []
        self._sample = self._look_around()

    def _look_around(self) -> list[Problem]:
        """Problems from all over the files, each checked strictly."""
        size = len(self.rows)
        places = {*range(min(FIRST, size)), *np.linspace(0, size - 1, min(FIRST, size), dtype=int)}
        found = [
            p for place in sorted(map(int, places)) if (p := self._strictly(place)) is not None
        ]
        if not found:
            raise ProblemFileError(
                f"{self.data.name}: no problem in {len(places):,} rows from all over it"
            )
        self.summary.count(found)
        return found

    # Places --------------------------------------------------------------------------------------

    def _problem(self, place: int, told: bool = True) -> tuple[Problem | None, str]:
        """The problem of a place; None, and why, for one that is left out."""
        row = self.rows.read(place)
        if row is None:
            return None, ""
        return usable(row, self.data.verifiers, self.data.reading, told)

    def _strictly(self, place: int) -> Problem | None:
        """The problem of a place; raises ProblemFileError for a broken row."""
        return self._problem(place)[0]

    def _side(self, place: int) -> Side:
        if self._sides[place] == Side.UNKNOWN:
            self._sides[place] = self._found_side(place)
        return Side(self._sides[place])

    def _found_side(self, place: int) -> Side:
        self._read += 1
        try:
            problem, why = self._problem(place, told=False)
        except ProblemFileError as error:
            self._leave_out(error)
            return Side.OUT
        if problem is None:
            self.summary.left_out += bool(why)
            self.summary.why = self.summary.why or why or None
            return Side.OUT
        if self.data.side(problem) == "heldout":
            return Side.HELDOUT
        close = contaminated(self.data.tests, problem, self.summary.found)
        return Side.OUT if close else Side.TRAIN

    def _leave_out(self, error: ProblemFileError) -> None:
        self._broken += 1
        if self._broken > max(_A_FEW, _MOST_BROKEN * self._read):
            raise ProblemFileError(
                f"{error} ({self._broken:,} of {self._read:,} rows read so far cannot be used; `dianoia tasks check` "
                "lists them)"
            ) from error
        self._news.append(f"{error}; the row is left out")

    # The stream ----------------------------------------------------------------------------------

    def _order(self, seed: int, epoch: int) -> _Order:
        key = (seed, epoch)
        if key not in self._orders:
            while len(self._orders) >= _ORDERS:
                del self._orders[next(iter(self._orders))]
            # RandomState: numpy promises that its streams never change, which it does not of newer generators.
            state = np.random.RandomState([seed % 2**32, seed >> 32, epoch])
            self._orders[key] = _Order(state.permutation(len(self.rows)))
        return self._orders[key]

    def _place(self, order: _Order, index: int) -> int | None:
        """The training place `index` of an epoch; None where it has fewer."""
        while len(order.training) <= index and order.walked < len(order.places):
            place = int(order.places[order.walked])
            order.walked += 1
            if self._side(place) == Side.TRAIN:
                order.training.append(place)
        return order.training[index] if index < len(order.training) else None

    def _at(self, seed: int, index: int) -> int:
        """The place of a number of the stream."""
        if self._size is None:
            first = self._order(seed, 0)
            place = self._place(first, index)
            if place is not None:
                return place
            self._size = len(first.training)
        if not self._size:
            raise self.data.empty_side("train")
        epoch, rest = divmod(index, self._size)
        place = self._place(self._order(seed, epoch), rest)
        assert place is not None, "every epoch has the same training problems"
        return place

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        """As `ProblemSource`."""
        places = (self._at(seed, index) for index in range(start, start + count))
        return [self._again(place) for place in places]

    def _again(self, place: int) -> Problem:
        problem = self._strictly(place)
        assert problem is not None, "a row that was a problem is one"
        return problem

    def heldout(self, limit: int) -> list[Problem]:
        """As `ProblemSource`: the first ones in the order of the files."""
        found = [self._again(place) for place in islice(self._held_out(), limit)]
        if not found:
            raise self.data.empty_side("heldout")
        return found

    def _held_out(self) -> Iterator[int]:
        return (place for place in range(len(self.rows)) if self._side(place) == Side.HELDOUT)

    # What is known before --------------------------------------------------------------------------

    def check(self, seed: int, count: int) -> None:
        """Read the problems that a run will draw first, up to CHECKED; raises ProblemFileError for a broken row."""
        self._at(seed, min(count, CHECKED) - 1)
        if self._news:
            raise ProblemFileError(self._news[0].removesuffix("; the row is left out"))

    def news(self) -> list[str]:
        """Rows that were left out since this was asked last, each with its reason."""
        found, self._news = self._news, []
        return found

    @property
    def languages(self) -> frozenset[str]:
        """As `ProblemSource`, of the rows that were looked at."""
        return frozenset(self.summary.languages)

    @property
    def verifiers(self) -> frozenset[str]:
        """Of the rows that were looked at."""
        return frozenset(self.summary.verifiers)

    @property
    def training(self) -> list[Problem]:
        """The problems of the rows that were looked at, without those that are held out."""
        return [problem for problem in self._sample if self.data.side(problem) == "train"]
