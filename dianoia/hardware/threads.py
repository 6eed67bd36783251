"""Independent jobs on CPU threads, with one compute thread per job, instead of many threads per matrix product.

The products of a small model are too short to split over cores: two threads per product are hardly faster than
one, while two jobs with a thread each are twice as fast. PyTorch releases the interpreter's lock while it computes,
so threads of one process suffice, and weights need no copy. How work is split depends on the number of threads only,
so one seed and one number of threads give one result.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")


def worker_count(device: torch.device) -> int:
    """Return how many jobs are worth running in parallel: one per CPU thread, one on any other device."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def split_round_robin(items: Sequence[T], workers: int) -> list[Sequence[T]]:
    """Split the items over at most `workers` parts, item by item; return at least one part, perhaps empty."""
    count = max(1, min(workers, len(items)))
    return [items[part::count] for part in range(count)]


def run_parallel(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Run each job in a thread with one compute thread, and return the results in the order of `jobs`.

    Threads, and what PyTorch keeps for each of them, outlive the call. Modes such as `inference_mode` are per thread:
    a job enters and leaves them itself. The first exception, in the order of the jobs, is raised once all have ended.
    A single job runs in the caller's thread with all of its compute threads.
    """
    # alone, a job is faster with all threads on each product than with one
    if len(jobs) < 2:
        return [job() for job in jobs]
    threads = torch.get_num_threads()
    # new threads take this setting and keep it; the caller gets its own back below
    torch.set_num_threads(1)
    futures = [_pool(len(jobs)).submit(job) for job in jobs]
    try:
        return [future.result() for future in futures]
    finally:
        wait(futures)  # after an interrupt too: no job may still run when the caller goes on
        torch.set_num_threads(threads)


@contextmanager
def compute_threads(count: int) -> Iterator[None]:
    """Let PyTorch compute with `count` threads in the block, in this thread and those that it starts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    """Return the pool of `count` threads. New threads per call would take a tenth of a small step."""
    return ThreadPoolExecutor(count)


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has only one thread
