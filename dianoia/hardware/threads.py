"""Work beside work on a CPU: one thread of arithmetic each, instead of many threads on every product.

The products of a small model are too short to be shared out among cores: two threads on each of them are
hardly faster than one. Two halves of the work with a thread each are twice as fast. PyTorch lets go of the
interpreter's lock while it computes, so threads of one process do, and weights need no copying. How work is
split depends on the number of threads only, so one seed and one number of threads give one result.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")


def worker_count(device: torch.device) -> int:
    """How many jobs are worth running beside each other: a CPU's threads, one on anything else."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def split_round_robin(items: Sequence[T], lanes: int) -> list[Sequence[T]]:
    """The items dealt out to at most `lanes` hands, one after another; at least one hand, perhaps empty."""
    count = max(1, min(lanes, len(items)))
    return [items[lane::count] for lane in range(count)]


def run_parallel(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """The results of `jobs` in their order, each run in a thread of its own with one core.

    Threads outlive the call, and what PyTorch keeps for each of them too; `inference_mode` and the like are for the
    job to enter and to leave. The first exception, in the order of the jobs, is raised here once all have ended.
    """
    if len(jobs) == 1:
        return [jobs[0]()]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what threads that begin now will use, as long as they live
    running = [_pool(len(jobs)).submit(job) for job in jobs]
    try:
        return [done.result() for done in running]
    finally:
        wait(running)  # also where somebody interrupts: nothing goes on behind the caller's back
        torch.set_num_threads(threads)


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    """Kept: new threads for every call would take a tenth of a small step."""
    return ThreadPoolExecutor(count)


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has no threads but one
