"""Lanes: work on several threads gives what it gives on one, in order, and errors come through."""

import threading

import pytest
import torch

from dianoia.runtime.lanes import in_lanes, lanes_of


@pytest.fixture(autouse=True)
def three_threads() -> None:
    torch.set_num_threads(3)


def test_results_are_in_the_order_of_the_jobs() -> None:
    last = threading.Event()

    def first() -> str:
        assert last.wait(10), "the jobs run beside one another"
        return "first"

    def second() -> str:
        last.set()
        return "second"

    assert in_lanes([first, second]) == ["first", "second"]


def test_each_job_has_one_thread_and_afterwards_there_are_as_many_as_before() -> None:
    def job() -> int:
        torch.ones(4) @ torch.ones(4)
        return torch.get_num_threads()

    assert in_lanes([job, job]) == [1, 1]
    assert torch.get_num_threads() == 3
    assert in_lanes([job]) == [3], "one job alone has them all"


def test_an_error_comes_through_when_all_have_ended() -> None:
    ended = []

    def bad() -> None:
        raise ValueError("a broken lane")

    with pytest.raises(ValueError, match="a broken lane"):
        in_lanes([bad, lambda: ended.append(1)])
    assert ended == [1] and torch.get_num_threads() == 3


def test_only_a_cpu_has_lanes() -> None:
    assert lanes_of(torch.device("cpu")) == 3
    assert lanes_of(torch.device("cuda")) == 1
