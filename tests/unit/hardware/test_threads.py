"""Parallel jobs: work on several threads gives what it gives on one, in order, and errors come through."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from dianoia.hardware.threads import run_parallel, worker_count


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_results_are_in_the_order_of_the_jobs() -> None:
    last = threading.Event()

    def first() -> str:
        assert last.wait(10), "the jobs run beside one another"
        return "first"

    def second() -> str:
        last.set()
        return "second"

    assert run_parallel([first, second]) == ["first", "second"]


def test_each_job_has_one_thread_and_afterwards_there_are_as_many_as_before() -> None:
    def job() -> int:
        torch.ones(4) @ torch.ones(4)
        return torch.get_num_threads()

    assert run_parallel([job, job]) == [1, 1]
    assert torch.get_num_threads() == 3
    assert run_parallel([job]) == [3], "one job alone has them all"


def test_an_error_comes_through_when_all_have_ended() -> None:
    ended = []

    def bad() -> None:
        raise ValueError("a broken job")

    with pytest.raises(ValueError, match="a broken job"):
        run_parallel([bad, lambda: ended.append(1)])
    assert ended == [1] and torch.get_num_threads() == 3


def test_threads_are_kept_and_stay_at_one_core() -> None:
    """PyTorch keeps buffers and compiled products for each thread."""

    def job() -> tuple[int, int]:
        return threading.get_ident(), torch.get_num_threads()

    def both() -> set[tuple[int, int]]:
        meet = threading.Barrier(2, timeout=10)
        return set(run_parallel([lambda: (meet.wait(), job())[1]] * 2))

    first = both()
    torch.set_num_threads(2)
    assert both() == first and len(first) == 2 and {cores for _, cores in first} == {1}


def test_an_interruption_waits_for_what_runs() -> None:
    ended = []

    def interrupted() -> None:
        raise KeyboardInterrupt

    def slow() -> None:
        time.sleep(0.2)
        ended.append(1)

    with pytest.raises(KeyboardInterrupt):
        run_parallel([interrupted, slow])
    assert ended == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    run_parallel([lambda: 1, lambda: 2])
    child = os.fork()
    if not child:
        os._exit(0 if run_parallel([lambda: 1, lambda: 2]) == [1, 2] else 1)
    deadline, answered = time.monotonic() + 20, (0, 0)
    while answered[0] == 0 and time.monotonic() < deadline:
        answered = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if answered[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert answered == (child, 0), "the child waits for threads that it does not have"


def test_only_a_cpu_has_several_workers() -> None:
    assert worker_count(torch.device("cpu")) == 3
    assert worker_count(torch.device("cuda")) == 1
