"""Worker processes that verifiers share: one set per process, batches of items, and a memory of replies.

In: items for one function, as JSON has them. Out: one `Reply` per item, in order. Not here: what an item and a reply mean
(`tasks.math`, `tasks.short_answers`), limits and replacement of processes (`dianoia.sandbox.workers`).

Decision: items that take microseconds are sent in batches, since waking another process takes longer than they do. A batch
that exceeds a limit, or dies, is sent again item by item, so that no item pays for another one.
"""

import atexit
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from threading import Lock

from dianoia.sandbox.workers import Bounds, Ended, Reply, WorkerPool

# Samples of one problem often have the same answer. The limit bounds memory, of the training process too.
_REMEMBERED = 20_000
"""Replies that are remembered."""


class Workers:
    """Workers for `target` ("package.module:function") that compute equal items once; usable from many threads.

    Processes start with the first item. A forked process gets workers of its own: two processes must not use one socket.

    Args:
        target: function of one item; with `batch_size` above 1, of a list of items, which returns a list of values.
        bounds: limits per item.
        processes: number of worker processes; by default one per core.
        batch_size: number of items that are sent together.

    Raises, when items are sent:
        VerifierError: no worker process could be started.
    """

    def __init__(
        self, target: str, bounds: Bounds, processes: int | None = None, batch_size: int = 1
    ) -> None:
        self.target, self.bounds = target, bounds
        self.processes, self.batch_size = processes, batch_size
        self._pools: dict[int, WorkerPool] = {}
        """By process id, since a fork copies this object."""
        self._remembered: OrderedDict[bytes, Reply] = OrderedDict()
        self._lock = Lock()

    @property
    def started(self) -> bool:
        """True if this process has started its workers."""
        return os.getpid() in self._pools

    def pool(self) -> WorkerPool:
        """Return the workers of this process, started by the first call."""
        process = os.getpid()
        with self._lock:
            if process not in self._pools:
                self._pools[process] = WorkerPool(self.target, self.bounds, self.processes)
                atexit.register(self._close, process)
            return self._pools[process]

    def _close(self, process: int) -> None:
        # A forked process inherits the exit handler, but must not close the workers of its parent.
        if os.getpid() == process:
            self._pools[process].close()

    def replies(self, items: Sequence[object]) -> list[Reply]:
        """Return one reply per item, in order, from memory or from the workers."""
        keys = [_key(item) for item in items]
        replies = self._recall(keys)
        # A dict: equal items of one call are computed once.
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in replies}
        if missing:
            new = dict(zip(missing, self._compute(list(missing.values())), strict=True))
            self._remember(new)
            replies |= new
        return [replies[key] for key in keys]

    def _compute(self, items: Sequence[object]) -> list[Reply]:
        # Then the target takes an item and not a list.
        if self.batch_size == 1:
            return self.pool().map(items)
        size = self.batch_size
        batches = [items[start : start + size] for start in range(0, len(items), size)]
        replies = self.pool().map(batches)
        return [
            item_reply
            for batch, reply in zip(batches, replies, strict=True)
            for item_reply in self._split(batch, reply)
        ]

    def _split(self, batch: Sequence[object], reply: Reply) -> list[Reply]:
        """Return one reply per item of a batch; if the batch failed, each item is sent alone."""
        if reply.ended is Ended.ANSWERED:
            return [Reply(reply.ended, value, reply.seconds) for value in reply.value]
        if len(batch) == 1:
            return [reply]
        single = [[item] for item in batch]
        return [
            item_reply
            for alone, alone_reply in zip(single, self.pool().map(single), strict=True)
            # One level deep: a batch of one is not split again.
            for item_reply in self._split(alone, alone_reply)
        ]

    def _recall(self, keys: Sequence[bytes]) -> dict[bytes, Reply]:
        with self._lock:
            return {key: self._remembered[key] for key in keys if key in self._remembered}

    def _remember(self, replies: Mapping[bytes, Reply]) -> None:
        """Remember replies, and forget the oldest ones above the limit."""
        with self._lock:
            # A reply that is remembered again keeps its age: the order is that of the first time.
            self._remembered.update(replies)
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)


def _key(item: object) -> bytes:
    """Return a hash that is equal for items with equal text; texts themselves would take more memory."""
    return blake2b(repr(item).encode(), digest_size=16).digest()
