"""Many programs at once on a few sandboxes, results in order, endings counted.

In: tasks, each a function of a sandbox. Out: their results in the order of the tasks. It cannot
hang: every run has a wall-clock limit, and a sandbox that does not answer is killed and replaced
(`dianoia.sandbox.sandbox`). Left out: what the tasks are.
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


class Pool(AbstractContextManager["Pool"]):
    """`workers` sandboxes of one kind, started when first needed; usable from many threads.

    Args:
        name: of the sandbox, as `choose` takes it.
        workers: how many programs run at once; by default one for every core this process may use.
        packages: what they may import beside the standard library.

    Raises:
        SandboxError: the machine offers no such sandbox.
    """

    def __init__(
        self, name: str = AUTO, workers: int | None = None, packages: Packages | None = None
    ) -> None:
        self.name, self._packages = choose(name), packages
        self.workers = workers or _cores()
        self.endings: Counter[Ending] = Counter()
        """Runs so far by how they ended."""
        self._lock = Lock()
        self._made: list[ForkSandbox] = []
        self._idle: LifoQueue[ForkSandbox | None] = LifoQueue()
        for _ in range(self.workers):
            self._idle.put(None)  # the right to make one

    @property
    def replaced(self) -> int:
        """How many warm processes had to be killed so far because they did not answer."""
        return sum(sandbox.replaced for sandbox in self._made)

    def map(self, tasks: Sequence[Callable[[Sandbox], T]]) -> list[T]:
        """Every task's result, in order; as many run at once as there are workers."""
        with ThreadPoolExecutor(self.workers, "sandbox") as threads:
            return list(threads.map(self.run, tasks))

    def run(self, task: Callable[[Sandbox], T]) -> T:
        """One task, in the caller's thread, on the next sandbox that is free."""
        sandbox = self._idle.get()
        try:
            sandbox = sandbox or self._make()
            return task(_Counted(sandbox, self))
        finally:
            self._idle.put(sandbox)

    def _make(self) -> ForkSandbox:
        sandbox = ForkSandbox(self.name, self._packages)
        with self._lock:
            self._made.append(sandbox)
        return sandbox

    def count(self, ending: Ending) -> None:
        """Note that a program has ended."""
        with self._lock:
            self.endings[ending] += 1

    def close(self) -> None:
        """End every sandbox. The pool is not to be used again."""
        for sandbox in self._made:
            sandbox.close()

    def __exit__(self, *_error: object) -> None:
        self.close()


class _Counted:
    """A sandbox that tells its pool how programs end."""

    def __init__(self, sandbox: Sandbox, pool: Pool) -> None:
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
