"""The group of ranks that this process belongs to; by default a group of one, in which every exchange costs nothing.

In a group of several, every rank calls the same exchanges in the same order: a call that only some ranks make would wait for
the others. What is written to disk is rank 0's (`RankGroup.writes`). Does not import torch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")


class RankGroup:
    """A process by itself: rank 0 of 1. `process_group.ProcessGroup` is a group of several."""

    rank = 0
    size = 1
    node_ranks = 1
    """Ranks on each machine."""
    lanes = 1
    """Replicas of a model on each rank: its threads on a CPU, one on a GPU."""

    @property
    def writes(self) -> bool:
        """Return True on the one rank that writes files."""
        return self.rank == 0

    def set_lanes(self, count: int) -> None:
        """Say how many replicas of a model each rank has from now on. Raises RankError unless all ranks say the same."""

    def begin(self, verb: str, step: int | None = None) -> None:
        """Note what this rank begins to do, for messages: a verb such as `sample`, and the step that it belongs to."""

    def gather(self, mine: T, verb: str) -> list[T]:
        """Return the object of every rank, in the order of ranks. `verb` names the wait: `gather completions`.

        The caller's own object is in the list as it is, those of others as copies.
        """
        return [mine]

    def broadcast(self, value: T, verb: str) -> T:
        """Return rank 0's object on every rank; on other ranks `value` is not read."""
        return value

    def barrier(self, verb: str) -> None:
        """Wait until every rank is here."""

    def exchanging(self, verb: str) -> AbstractContextManager[None]:
        """Let a library exchange data between all ranks in the block; RankError where that breaks off."""
        return nullcontext()

    def add_gradients(self, lanes: Sequence[Sequence[Any]], active: int, verb: str) -> None:
        """Leave the sum over the lanes of all ranks in the `.grad` of the first lane's parameters (`gradients`).

        `lanes`: the parameters of each lane of this rank; `active`: how many lanes of all ranks have run.
        """

    def claims(self, total: int) -> Callable[[], int | None]:
        """Return a function that gives each number from 0 to `total` - 1 once, to whichever rank asks first.

        A rank is given consecutive numbers, fewer at a time towards the end (`shares.claimed_chunks`). The function gives None
        when there is none left, and may be called from any thread.
        """
        # `next` of a count is one step under Python's lock, so that threads need none of their own.
        numbers = count()

        def claim() -> int | None:
            number = next(numbers)
            return number if number < total else None

        return claim

    def require_equal(self, values: Mapping[str, Any], verb: str) -> None:
        """Compare values that must be the same on all ranks.

        Raises:
            RankError: they are not; the message has both values.
        """


_ALONE = RankGroup()
_groups: list[RankGroup] = []
"""The group of this process, while `joined`."""


def ranks() -> RankGroup:
    """Return the group of this process."""
    return _groups[-1] if _groups else _ALONE


@contextmanager
def joined(group: RankGroup) -> Iterator[RankGroup]:
    """Make `group` the group of this process in the block."""
    _groups.append(group)
    try:
        yield group
    finally:
        _groups.remove(group)
