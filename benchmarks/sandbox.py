"""Milliseconds a program in the sandbox: one after another, and through the pool that judging uses.

    python benchmarks/sandbox.py --programs 200 --workers 2

The program reads a line and prints it doubled, so that what is measured is the sandbox: fork, walls,
run, compare. A fresh `python -I -S -c` without any sandbox is printed beside it.
"""

import argparse
import statistics
import subprocess
import sys
import time

from dianoia.base.records import Problem
from dianoia.runtime.pool import Pool
from dianoia.runtime.sandbox import STRONG, UNSANDBOXED, ForkSandbox, Limits, Program, offered
from dianoia.tasks.code import code_tests, judge_code

SOURCE = "print(2 * int(input()))"
TESTS = '{"cases": [{"input": "21", "output": "42"}]}'


def one_by_one(name: str, programs: int) -> tuple[float, float]:
    """Median and 95th percentile of one run, in milliseconds."""
    sandbox = ForkSandbox(name)
    taken = []
    for _ in range(programs):
        started = time.perf_counter()
        sandbox.run(Program(SOURCE, "21"), Limits())
        taken.append(1000 * (time.perf_counter() - started))
    sandbox.close()
    return statistics.median(taken), statistics.quantiles(taken, n=20)[-1]


def through_pool(name: str, programs: int, workers: int) -> float:
    """Milliseconds a program when many are judged at once."""
    tests = code_tests(Problem("p", "?", TESTS, "code"))
    with Pool(name, workers) as pool:
        pool.map([lambda box: judge_code(SOURCE, tests, box)] * workers)  # warm
        started = time.perf_counter()
        scores = pool.map([lambda box: judge_code(SOURCE, tests, box)] * programs)
        taken = 1000 * (time.perf_counter() - started)
    assert scores == [1.0] * programs
    return taken / programs


def fresh_python(programs: int) -> float:
    """Median of starting Python anew, in milliseconds."""
    taken = []
    for _ in range(programs):
        started = time.perf_counter()
        command = [sys.executable, "-I", "-S", "-c", SOURCE]
        subprocess.run(command, input=b"21", capture_output=True, check=True)
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--programs", type=int, default=200, help="how many a measurement")
    parser.add_argument("--workers", type=int, default=2, help="of the pool")
    options = parser.parse_args()
    print(f"{'sandbox':28}{'median ms':>10}{'p95 ms':>10}{'pool ms':>10}")
    for name in (*STRONG, UNSANDBOXED):
        if (reason := offered(name)) is not None:
            print(f"{name:28}not here: {reason}")
            continue
        median, high = one_by_one(name, options.programs)
        pooled = through_pool(name, options.programs, options.workers)
        print(f"{name:28}{median:10.1f}{high:10.1f}{pooled:10.1f}")
    print(f"{'fresh python, no sandbox':28}{fresh_python(min(50, options.programs)):10.1f}")


if __name__ == "__main__":
    main()
