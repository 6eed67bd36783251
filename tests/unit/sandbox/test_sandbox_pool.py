"""Many programs at once: results in order, endings counted, nothing hangs."""

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

from dianoia.base.errors import SandboxError
from dianoia.sandbox.sandbox import (
    STRONG,
    UNSANDBOXED,
    Ending,
    Limits,
    Program,
    Sandbox,
    SandboxPool,
    offered,
)


@pytest.fixture(scope="module")
def pool() -> Iterator[SandboxPool]:
    # These programs are our own, so that any sandbox will do.
    name = next((name for name in STRONG if offered(name) is None), UNSANDBOXED)
    with SandboxPool(name, workers=3) as pool:
        yield pool


def output(source: str, sandbox: Sandbox) -> str:
    return sandbox.run(Program(source), Limits(wall_seconds=1.0)).stdout


def test_results_come_in_the_order_of_the_tasks(pool: SandboxPool) -> None:
    sources = [f"import time; time.sleep({0.05 * (i % 3)}); print({i})" for i in range(12)]
    assert pool.map([partial(output, source) for source in sources]) == [
        f"{i}\n" for i in range(12)
    ]


def test_endings_are_counted_and_an_endless_loop_does_not_stop_the_others(
    pool: SandboxPool,
) -> None:
    pool.endings.clear()
    sources = [
        "while True: pass",
        "print(1)",
        "import ctypes; ctypes.string_at(0)",
        "print(2)",
        "1/0",
    ]
    assert pool.map([partial(output, source) for source in sources]) == ["", "1\n", "", "2\n", ""]
    assert pool.endings == Counter({Ending.FINISHED: 3, Ending.TIMED_OUT: 1, Ending.CRASHED: 1})
    assert pool.replaced == 0


def test_as_many_tasks_run_at_once_as_there_are_workers(pool: SandboxPool) -> None:
    tasks = [partial(output, "import time; time.sleep(0.4)")] * 3
    pool.map(tasks)  # starts them
    started = time.monotonic()
    pool.map(tasks)
    assert time.monotonic() - started < 3 * 0.4


def test_an_error_of_a_task_is_raised_and_returns_its_sandbox(pool: SandboxPool) -> None:
    def fail(_sandbox: Sandbox) -> str:
        raise ValueError("ours")

    for _ in range(pool.workers + 1):
        with pytest.raises(ValueError, match="ours"):
            pool.run(fail)
    assert pool.run(partial(output, "print(3)")) == "3\n"


def test_a_pool_without_walls_needs_its_long_name() -> None:
    with pytest.raises(SandboxError, match=UNSANDBOXED):
        SandboxPool("none")
