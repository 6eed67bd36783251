"""Seconds that commands have worked on a stage: added up, up to what a killed one last said."""

import subprocess
import sys
from pathlib import Path

import pytest

import dianoia.storage.journal as module
from dianoia.storage.journal import record_seconds


class Clock:
    """Is set by hand."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_commands_add_up(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "seconds"
    clock.now = 100.0
    with record_seconds(file) as seconds:
        assert seconds() == 0.0 == float(file.read_text())
        clock.now = 130.0
        assert seconds() == 30.0 == float(file.read_text())
        clock.now = 132.5
    assert float(file.read_text()) == 32.5
    clock.now = 7.0  # another process, another origin
    with pytest.raises(KeyboardInterrupt), record_seconds(file) as seconds:
        assert seconds() == 32.5
        clock.now = 8.0
        raise KeyboardInterrupt
    assert float(file.read_text()) == 33.5


@pytest.mark.parametrize("text", ["", "\0" * 21])
def test_what_a_crash_left_counts_nothing(text: str, tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "seconds"
    file.write_text(text)
    with record_seconds(file):
        clock.now = 2.0
    assert float(file.read_text()) == 2.0


def test_a_kill_keeps_what_was_said_last(tmp_path: Path) -> None:
    code = """
import os, signal, sys, time
from pathlib import Path
from dianoia.storage.journal import record_seconds
with record_seconds(Path(sys.argv[1])) as seconds:
    time.sleep(0.05)
    print(seconds(), flush=True)
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    file, reports = tmp_path / "seconds", []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=60
        )
        reports.append(float(done.stdout))
        assert float(file.read_text()) == pytest.approx(reports[-1], abs=1e-6)
    assert reports[1] >= reports[0] + 0.05 >= 0.1
