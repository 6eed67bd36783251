"""Compares start-up and throughput of the sandboxes with a bare subprocess.

    python -m benchmarks.sandbox --programs 100 --workers 2

The program reads a number and prints it doubled, so that the measurement is dominated by getting in and out. The variants
alternate, program by program and batch by batch, so that other work on the machine affects all alike. The bare
subprocess is `python -I -S -c` without any limit; its output is compared in the same way.

Columns: starting a sandbox, once per worker (0 for the subprocess); one program after another, median and 95th
percentile; programs per second with all workers at once. A ratio above 1 is better than the subprocess.
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
from dianoia.sandbox.sandbox import STRONG, UNSANDBOXED, ForkSandbox, SandboxPool, offered
from dianoia.tasks.code import code_tests, score_program
from dianoia.tasks.code.output_compare import same_output

SOURCE = "print(2 * int(input()))"
TESTS = code_tests(
    Problem("p", "?", '{"cases": [{"input": "21", "output": "42"}]}', "code"),
)
BARE = "bare subprocess"
BATCHES = 5
RunOne = Callable[[], bool]
RunMany = Callable[[int], bool]


def bare() -> bool:
    """Run the program in a new Python process and compare its output."""
    command = [sys.executable, "-I", "-S", "-c", SOURCE]
    process = subprocess.run(command, input="21", text=True, capture_output=True, check=True)
    return same_output(process.stdout, "42")


def sandboxed(sandbox: ForkSandbox) -> bool:
    """Run the program in a sandbox and compare its output."""
    return score_program(SOURCE, TESTS, sandbox) == 1.0


def seconds(action: Callable[[], bool]) -> float:
    """Return the seconds of an action, which must succeed."""
    started = time.perf_counter()
    assert action()
    return time.perf_counter() - started


def start_milliseconds(name: str) -> float:
    """Return the median milliseconds of five starts, until a sandbox is ready for its first program."""
    milliseconds = []
    for _ in range(5):
        start = time.perf_counter()
        sandbox = ForkSandbox(name)
        milliseconds.append(1000 * (time.perf_counter() - start))
        sandbox.close()
    return statistics.median(milliseconds)


def one_by_one(variants: Mapping[str, RunOne], programs: int) -> dict[str, tuple[float, float]]:
    """Return the median and the 95th percentile in milliseconds, with alternating variants."""
    milliseconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(programs):
        for name, run_one in variants.items():
            milliseconds[name].append(1000 * seconds(run_one))
    return {
        name: (statistics.median(values), statistics.quantiles(values, n=20)[-1])
        for name, values in milliseconds.items()
    }


def at_once(variants: Mapping[str, RunMany], programs: int) -> dict[str, float]:
    """Return programs per second, with alternating variants; the median of several batches."""
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(BATCHES):
        for name, run_many in variants.items():
            rates[name].append(programs / seconds(lambda run=run_many: run(programs)))  # type: ignore[misc]
    return {name: statistics.median(values) for name, values in rates.items()}


def batch_runners(sandboxes: list[str], workers: int, stack: ExitStack) -> dict[str, RunMany]:
    """Return each variant as a function that runs many programs on all workers."""
    threads = stack.enter_context(ThreadPoolExecutor(workers))
    runners: dict[str, RunMany] = {
        BARE: lambda count: all(threads.map(lambda _: bare(), range(count)))
    }
    for name in sandboxes:
        pool = stack.enter_context(SandboxPool(name, workers))
        runners[name] = lambda count, pool=pool: all(pool.map([sandboxed] * count))  # type: ignore[misc]
        runners[name](workers)  # warm
    return runners


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--programs", type=int, default=100, help="programs per measurement")
    parser.add_argument("--workers", type=int, default=2, help="programs at once")
    options = parser.parse_args()
    names = [name for name in (*STRONG, UNSANDBOXED) if offered(name) is None]
    starts = {BARE: 0.0} | {name: start_milliseconds(name) for name in names}
    with ExitStack() as stack:
        sandboxes = {name: ForkSandbox(name) for name in names}
        variants: dict[str, RunOne] = {BARE: bare}
        variants |= {name: lambda box=box: sandboxed(box) for name, box in sandboxes.items()}
        single = one_by_one(variants, options.programs)
        many = at_once(batch_runners(names, options.workers, stack), options.programs)
        for sandbox in sandboxes.values():
            sandbox.close()
    print(
        f"{'':28}{'start ms':>10}{'one ms':>9}{'p95 ms':>9}{'ratio':>7}{'per second':>11}{'ratio':>7}"
    )
    for name, (median, high) in single.items():
        ratios = single[BARE][0] / median, many[name] / many[BARE]
        print(
            f"{name:28}{starts[name]:10.0f}{median:9.1f}{high:9.1f}{ratios[0]:7.1f}"
            f"{many[name]:11.1f}{ratios[1]:7.1f}"
        )


if __name__ == "__main__":
    main()
