"""A pool of sandboxes: many programs at once, results in order, endings counted.

In: tasks, each a function of a sandbox. Out: their results, in the order of the tasks. The pool cannot hang: every run has a
wall-clock limit, and a sandbox that does not answer is killed and replaced (`dianoia.sandbox.sandbox`). Not here: what the
tasks do.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from queue import LifoQueue
from threading import Lock
from typing import TypeVar

from dianoia.sandbox.sandbox import (
    AUTO,
    Ending,
    Examination,
    ForkSandbox,
    Limits,
    Outcome,
    Packages,
    Program,
    Sandbox,
    choose,
)

T = TypeVar("T")


class SandboxPool(AbstractContextManager["SandboxPool"]):
    """A number of equal sandboxes, each started when first needed; usable from many threads.

    Args:
        name: of the sandbox, as `choose` takes it.
        workers: number of programs that run at once; by default one per core that this process may use.
        packages: what programs may import besides the standard library.

    Raises:
        SandboxError: the machine offers no such sandbox.
    """

    def __init__(
        self, name: str = AUTO, workers: int | None = None, packages: Packages | None = None
    ) -> None:
        self.name, self._packages = choose(name), packages
        self.workers = workers or _cores()
        self.endings: Counter[Ending] = Counter()
        """Number of runs so far by how they ended."""
        self._lock = Lock()
        self._all: list[ForkSandbox] = []
        # Last in, first out: as few sandboxes are started as are needed at once.
        self._idle: LifoQueue[ForkSandbox | None] = LifoQueue()
        for _ in range(self.workers):
            self._idle.put(None)  # stands for a sandbox that is not started yet

    @property
    def replaced(self) -> int:
        """Number of warm processes so far that had to be killed because they did not answer."""
        return sum(sandbox.replaced for sandbox in self._all)

    def map(self, tasks: Sequence[Callable[[Sandbox], T]]) -> list[T]:
        """Run tasks, as many at once as there are workers, and return their results in order."""
        with ThreadPoolExecutor(self.workers, "sandbox") as threads:
            return list(threads.map(self.run, tasks))

    def run(self, task: Callable[[Sandbox], T]) -> T:
        """Run one task in the caller's thread, on the next idle sandbox, and return its result."""
        sandbox = self._idle.get()
        try:
            sandbox = sandbox or self._make()
            return task(_Counted(sandbox, self))
        # Back even after an error: the sandbox has replaced its process itself, if need be.
        finally:
            self._idle.put(sandbox)

    def _make(self) -> ForkSandbox:
        # Outside the lock: starting takes long, and several may start at once.
        sandbox = ForkSandbox(self.name, self._packages)
        with self._lock:
            self._all.append(sandbox)
        return sandbox

    def count(self, ending: Ending) -> None:
        """Count a program that has ended."""
        with self._lock:
            self.endings[ending] += 1

    def close(self) -> None:
        """End every sandbox. The pool must not be used again."""
        for sandbox in self._all:
            sandbox.close()

    def __exit__(self, *_error: object) -> None:
        self.close()


class _Counted:
    """A sandbox that reports to its pool how programs end."""

    def __init__(self, sandbox: Sandbox, pool: SandboxPool) -> None:
        self.name, self._sandbox, self._pool = sandbox.name, sandbox, pool

    def run(self, program: Program, limits: Limits) -> Outcome:
        outcome = self._sandbox.run(program, limits)
        self._pool.count(outcome.ending)
        return outcome

    def examine(
        self, program: Program, examination: Examination, limits: Limits
    ) -> tuple[Outcome, Outcome]:
        outcomes = self._sandbox.examine(program, examination, limits)
        self._pool.count(outcomes[0].ending)
        return outcomes

    def close(self) -> None:
        self._sandbox.close()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
