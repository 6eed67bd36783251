"""A request to stop: when it is obeyed, and when sampling is given up."""

import os
import signal
from collections.abc import Iterator

import pytest

from dianoia.base import stopping
from dianoia.base.errors import MachineFault, Stopped
from dianoia.base.stopping import (
    give_up_sampling_if_overdue,
    request_stop,
    sampling_may_be_given_up,
    stop_if_requested,
    stop_on_signals,
    stop_reason,
    stop_when,
)


@pytest.fixture(autouse=True)
def _no_request_is_left() -> Iterator[None]:
    with stop_when(lambda: False):
        yield


def test_the_state_is_written_before_the_reason_is_raised() -> None:
    saved = list[str]()
    stop_if_requested(lambda: saved.append("too early"))
    request_stop(Stopped("stopped by SIGTERM"))
    request_stop(Stopped("stopped by Ctrl-C"))
    with pytest.raises(Stopped, match="^after step 3 of 8$"):
        stop_if_requested(lambda: saved.append("state"), "after step 3 of 8")
    assert saved == ["state"]
    with pytest.raises(Stopped, match="^stopped by SIGTERM$"):
        stop_if_requested()


def test_a_full_disk_says_what_it_is_wherever_it_stops() -> None:
    request_stop(MachineFault("the disk is full"))
    with pytest.raises(MachineFault, match="the disk is full"):
        stop_if_requested(point="after step 3 of 8")


def test_sampling_has_a_time_of_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now)
    request_stop(Stopped("stopped by SIGTERM"))
    now = 100.0 + stopping.GRACE_SECONDS
    with sampling_may_be_given_up():
        give_up_sampling_if_overdue()
    now += 0.1
    give_up_sampling_if_overdue()  # outside: its samples are needed, as those of a held-out curve
    with sampling_may_be_given_up(), pytest.raises(Stopped, match="drawn again"):
        give_up_sampling_if_overdue()
    give_up_sampling_if_overdue()


def test_a_full_disk_does_not_give_up_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    request_stop(MachineFault("the disk is full"))
    monkeypatch.setattr(stopping, "GRACE_SECONDS", -1.0)
    with sampling_may_be_given_up():
        give_up_sampling_if_overdue()


def test_the_second_signal_ends_at_once() -> None:
    lines = list[str]()
    with stop_on_signals(lines.append):
        os.kill(os.getpid(), signal.SIGINT)
        assert str(stop_reason()) == "stopped by Ctrl-C"
        assert len(lines) == 1 and "longer than 5 s is given up" in lines[0]
        with pytest.raises(KeyboardInterrupt, match="ended at once by SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)
    assert stop_reason() is None
