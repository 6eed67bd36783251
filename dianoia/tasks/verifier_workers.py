"""What verifiers share that grade in worker processes: the workers of this process, and a memory of what they said.

In: items for one function, as JSON has them. Out: a `Reply` an item, in order. Left out: what an item and a reply mean
(`tasks.math`, `tasks.plain`), limits and replacements (`dianoia.sandbox.workers`).

Decision: items that take microseconds travel in lots, since waking another process takes longer than they do. A lot that
exceeds a limit, or dies, is asked again item by item, so that each is told by its own fate.
"""

import atexit
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from threading import Lock

from dianoia.sandbox.workers import Bounds, Ended, Reply, Service

_REMEMBERED = 20_000


class Workers:
    """Items for `target` ("package.module:function"), equal ones asked once; usable from many threads.

    Processes start with the first item. A process that was forked has its own: two must not speak on one socket.

    Args:
        most: how many processes; by default one a core.
        lot: how many items travel together; above 1, `target` takes a list of items and returns a list of values.

    Raises, when asked:
        VerifierError: no worker process could be started.
    """

    def __init__(self, target: str, bounds: Bounds, most: int | None = None, lot: int = 1) -> None:
        self.target, self.bounds, self.most, self.lot = target, bounds, most, lot
        self._services: dict[int, Service] = {}
        self._known: OrderedDict[bytes, Reply] = OrderedDict()
        self._lock = Lock()

    @property
    def started(self) -> bool:
        """Whether this process has been asked for its workers."""
        return os.getpid() in self._services

    def service(self) -> Service:
        """The workers of this process."""
        me = os.getpid()
        with self._lock:
            if me not in self._services:
                self._services[me] = Service(self.target, self.bounds, self.most)
                atexit.register(self._close, me)
            return self._services[me]

    def _close(self, process: int) -> None:
        if os.getpid() == process:
            self._services[process].close()

    def replies(self, items: Sequence[object]) -> list[Reply]:
        """A reply an item, in order: from memory, or from the workers, an item a worker at a time."""
        keys = [_key(item) for item in items]
        found = self._recalled(keys)
        asked = {key: item for key, item in zip(keys, items, strict=True) if key not in found}
        if asked:
            new = dict(zip(asked, self._asked(list(asked.values())), strict=True))
            self._remember(new)
            found |= new
        return [found[key] for key in keys]

    def _asked(self, items: Sequence[object]) -> list[Reply]:
        if self.lot == 1:
            return self.service().map(items)
        lots = [items[start : start + self.lot] for start in range(0, len(items), self.lot)]
        whole = self.service().map(lots)
        return [
            one for lot, reply in zip(lots, whole, strict=True) for one in self._each(lot, reply)
        ]

    def _each(self, lot: Sequence[object], reply: Reply) -> list[Reply]:
        """The replies of a lot; alone, an item is a lot of one."""
        if reply.ended is Ended.ANSWERED:
            return [Reply(reply.ended, value, reply.seconds) for value in reply.value]
        if len(lot) == 1:
            return [reply]
        alone = self.service().map([[item] for item in lot])
        return [
            one for item, found in zip(lot, alone, strict=True) for one in self._each([item], found)
        ]

    def _recalled(self, keys: Sequence[bytes]) -> dict[bytes, Reply]:
        with self._lock:
            return {key: self._known[key] for key in keys if key in self._known}

    def _remember(self, new: Mapping[bytes, Reply]) -> None:
        """The newest so many are kept."""
        with self._lock:
            self._known.update(new)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def _key(item: object) -> bytes:
    """Equal for items that are written alike; the texts themselves are not kept."""
    return blake2b(repr(item).encode(), digest_size=16).digest()
