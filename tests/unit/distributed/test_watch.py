"""A rank that no longer runs is named by the others."""

import os
import signal
import time

import pytest

from dianoia.distributed.group import ranks
from tests.rank_processes import RankFailed, run_ranks


def _wait_for_one_that_stops(stops: int) -> None:
    group = ranks()
    group.begin("score", 4)
    if group.rank == stops:
        time.sleep(2.5)  # the others have heard of it
        os.kill(os.getpid(), signal.SIGSTOP)
    group.barrier("gather scores")


@pytest.mark.slow
@pytest.mark.parametrize("stops", [0, 1])
def test_a_stopped_rank_is_named_by_the_others(stops: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The stopped process itself can say nothing.
    monkeypatch.setattr("tests.rank_processes.SECONDS", 30)
    with pytest.raises(RankFailed) as failed:
        run_ranks(_wait_for_one_that_stops, 2, stops)
    assert f"rank {stops}: hangs" in str(failed.value)
    told = f"rank {stops} of 2 has not answered for 15 seconds (last heard of: score in step 4; "
    assert f"rank {1 - stops}: {told}" in str(failed.value)


def _compute_while_rank_0_is_killed() -> None:
    ranks().begin("update", 4)
    if ranks().rank == 0:
        time.sleep(2.5)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


@pytest.mark.slow
def test_a_rank_that_computes_does_not_outlive_rank_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.rank_processes.SECONDS", 45)
    with pytest.raises(RankFailed) as failed:
        run_ranks(_compute_while_rank_0_is_killed, 2)
    assert "rank 0: has ended without a result" in str(failed.value)
    message = (
        "rank 1: rank 0 of 2 has not answered for 15 seconds (last heard of: update in step 4; "
    )
    assert message in str(failed.value)
