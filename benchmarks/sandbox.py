"""Start-up and throughput of the sandboxes beside a bare subprocess, in one run and as ratios.

    python -m benchmarks.sandbox --programs 100 --workers 2

The program reads a line and prints it doubled, so that what is measured is the way in and out. Variants take turns,
program by program and lot by lot, so that other work on the machine falls on all of them. The bare subprocess is
`python -I -S -c` without any limit, its output compared as the sandbox's is.

Columns: starting a sandbox, once a worker (for the subprocess nothing); one program after another, median and 95th
percentile; programs a second with all workers at once. A ratio above 1 is better than the subprocess.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from dianoia.base.records import Problem
from dianoia.sandbox.pool import SandboxPool
from dianoia.sandbox.sandbox import STRONG, UNSANDBOXED, ForkSandbox, offered
from dianoia.tasks.code import code_tests, score_program
from dianoia.tasks.code.output_compare import same_output

SOURCE = "print(2 * int(input()))"
TESTS = code_tests(
    Problem("p", "?", '{"cases": [{"input": "21", "output": "42"}]}', "code"),
)
BARE = "bare subprocess"
LOTS = 5
Once = Callable[[], bool]
Lot = Callable[[int], bool]


def bare() -> bool:
    """Start Python anew and compare what it prints."""
    command = [sys.executable, "-I", "-S", "-c", SOURCE]
    done = subprocess.run(command, input="21", text=True, capture_output=True, check=True)
    return same_output(done.stdout, "42")


def in_box(sandbox: ForkSandbox) -> bool:
    """Judge the program by its test."""
    return score_program(SOURCE, TESTS, sandbox) == 1.0


def seconds(action: Callable[[], bool]) -> float:
    """How long it took; it has to come out right."""
    started = time.perf_counter()
    assert action()
    return time.perf_counter() - started


def started(name: str) -> float:
    """Milliseconds until a sandbox is ready for its first program; median of five."""
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        sandbox = ForkSandbox(name)
        taken.append(1000 * (time.perf_counter() - begun))
        sandbox.close()
    return statistics.median(taken)


def one_by_one(variants: Mapping[str, Once], programs: int) -> dict[str, tuple[float, float]]:
    """Median and 95th percentile in milliseconds, the variants in turn."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(programs):
        for name, once in variants.items():
            taken[name].append(1000 * seconds(once))
    return {
        name: (statistics.median(values), statistics.quantiles(values, n=20)[-1])
        for name, values in taken.items()
    }


def at_once(variants: Mapping[str, Lot], programs: int) -> dict[str, float]:
    """Programs a second, the variants in turn; the median of several lots."""
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(LOTS):
        for name, lot in variants.items():
            rates[name].append(programs / seconds(lambda lot=lot: lot(programs)))  # type: ignore[misc]
    return {name: statistics.median(values) for name, values in rates.items()}


def lots(boxes: list[str], workers: int, stack: ExitStack) -> dict[str, Lot]:
    """Each variant as a function that runs many programs on all workers."""
    threads = stack.enter_context(ThreadPoolExecutor(workers))
    found: dict[str, Lot] = {BARE: lambda count: all(threads.map(lambda _: bare(), range(count)))}
    for name in boxes:
        pool = stack.enter_context(SandboxPool(name, workers))
        found[name] = lambda count, pool=pool: all(pool.map([in_box] * count))  # type: ignore[misc]
        found[name](workers)  # warm
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--programs", type=int, default=100, help="how many a measurement")
    parser.add_argument("--workers", type=int, default=2, help="how many at once")
    options = parser.parse_args()
    boxes = [name for name in (*STRONG, UNSANDBOXED) if offered(name) is None]
    starts = {BARE: 0.0} | {name: started(name) for name in boxes}
    with ExitStack() as stack:
        made = {name: ForkSandbox(name) for name in boxes}
        singly: dict[str, Once] = {BARE: bare}
        singly |= {name: lambda box=box: in_box(box) for name, box in made.items()}
        single = one_by_one(singly, options.programs)
        many = at_once(lots(boxes, options.workers, stack), options.programs)
        for box in made.values():
            box.close()
    print(
        f"{'':28}{'start ms':>10}{'one ms':>9}{'p95 ms':>9}{'ratio':>7}{'a second':>10}{'ratio':>7}"
    )
    for name, (median, high) in single.items():
        ratios = single[BARE][0] / median, many[name] / many[BARE]
        print(
            f"{name:28}{starts[name]:10.0f}{median:9.1f}{high:9.1f}{ratios[0]:7.1f}"
            f"{many[name]:10.1f}{ratios[1]:7.1f}"
        )


if __name__ == "__main__":
    main()
