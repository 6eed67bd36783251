"""The processes beside a run: one per tracker, and nothing of theirs reaches the run."""

import subprocess
from typing import Any

import pytest

from dianoia.base.errors import RunInUse
from dianoia.track.followers import Followers, TrackedRun, follower
from tests.unit.track.conftest import WrittenRun

pytest.importorskip("tensorboard")


def test_two_followers_do_not_feed_one_tracker(run: WrittenRun) -> None:
    run.begin()
    run.rows(0, 1)
    tracked = TrackedRun(run.path, None, None, False)
    with follower(tracked, "tensorboard") as first:
        assert first.feed()
        with (
            pytest.raises(RunInUse, match="another process feeds this tracker"),
            follower(tracked, "tensorboard", wait=0.0),
        ):
            pass
    with follower(tracked, "tensorboard", wait=0.0) as second:
        assert not second.feed()


def test_a_process_that_cannot_start_does_not_stop_the_run(
    run: WrittenRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with Followers([(TrackedRun(run.path, None, None, False), ["tensorboard", "tensorboard"])]):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert "tensorboard could not be started" in line and "the run goes on" in line
