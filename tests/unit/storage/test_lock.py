"""One process at work in a folder: noticed, named, let go by whoever ends, however it ends."""

import errno
import fcntl
import os
import platform
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dianoia.base.errors import RunInUse
from dianoia.storage import lock
from dianoia.storage.lock import LOCK_FILE, Holder, holder_of, lock_directory

HOLD = """
import sys, time
from pathlib import Path
from dianoia.storage.lock import lock_directory
with lock_directory(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_the_second_is_told_who_is_first(tmp_path: Path) -> None:
    with lock_directory(tmp_path) as lock:
        assert lock and names(tmp_path) == [LOCK_FILE]
        with pytest.raises(RunInUse) as refused, lock_directory(tmp_path):
            pytest.fail("two at once")
        assert f"process {os.getpid()} on {platform.node()} is using the run directory" in str(
            refused.value
        )
        for part in (str(tmp_path), f"kill {os.getpid()}", "the same command again", "--out"):
            assert part in str(refused.value)
        with pytest.raises(RunInUse), lock_directory(tmp_path):
            pytest.fail("the refused one let the first one's lock go")
    with lock_directory(tmp_path) as lock:
        assert lock
    assert names(tmp_path) == []


def test_who_is_killed_holds_nobody_up(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(RunInUse, match=f"process {other.pid} "), lock_directory(tmp_path):
            pytest.fail("two at once")
        other.kill()
    assert (tmp_path / LOCK_FILE).read_text().startswith(f"{other.pid} ")
    with lock_directory(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()} {platform.node()}"
    assert names(tmp_path) == []


def test_a_number_that_another_process_has_now(tmp_path: Path) -> None:
    """After the machine was started again, the holder's number may belong to anybody."""
    file = tmp_path / LOCK_FILE
    file.write_text(f"{os.getpid()} {platform.node()}")
    holder = holder_of(tmp_path)
    assert holder is not None and holder.is_here and holder.pid == os.getpid()
    day = 86400.0
    begun = time.clock_gettime(time.CLOCK_REALTIME) - day  # long before this process
    os.utime(file, (begun, begun))
    assert holder_of(tmp_path) is None


def test_of_another_machine_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("1 gpu-7")
    os.utime(tmp_path / LOCK_FILE, (1000, 1000))
    holder = holder_of(tmp_path)
    assert holder == Holder(1, "gpu-7", datetime(1970, 1, 1, 0, 16, 40, tzinfo=UTC))
    assert not holder.is_here
    assert holder_of(tmp_path / "none") is None


def test_a_folder_is_only_left_with_something_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs/new"
    with pytest.raises(ValueError, match="refused"), lock_directory(folder):
        raise ValueError("refused")
    assert names(tmp_path) == []
    with lock_directory(folder):
        (folder / "run.json").write_text("{}")
    assert names(folder) == ["run.json"]
    (tmp_path / "empty").mkdir()
    with lock_directory(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir(), "it was there before"


def test_the_file_of_one_that_just_ended_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened, then removed by its holder at its end: who locks it now would be alone with it."""
    flock, times = fcntl.flock, [0]

    def locked_late(descriptor: int, how: int) -> None:
        times[0] += 1
        if times[0] == 1:
            (tmp_path / LOCK_FILE).unlink()
        flock(descriptor, how)

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", locked_late)
        with lock_directory(tmp_path), pytest.raises(RunInUse), lock_directory(tmp_path):
            pytest.fail("two at once")
    assert times == [3]


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(number: int) -> None:
        def flock(_descriptor: int, _how: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    fails(errno.EOPNOTSUPP)
    with lock_directory(tmp_path) as lock:
        assert not lock and names(tmp_path) == []
    fails(errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), lock_directory(tmp_path):
        pytest.fail("a disk that fails is no file system without locks")


LEAVE = """
import subprocess, sys
from pathlib import Path
from dianoia.storage.lock import lock_directory
with lock_directory(Path(sys.argv[1])) as lock:
    left = subprocess.Popen(["sleep", sys.argv[2]], pass_fds=[lock], stdout=subprocess.DEVNULL)
    print(left.pid, flush=True)
    left.wait()
"""


@pytest.mark.parametrize(("seconds", "waits"), [("0.7", True), ("60", False)])
def test_what_a_killed_holder_has_started_is_waited_for(
    seconds: str, waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And refused by name if it does not end."""
    monkeypatch.setattr(lock, "_MAX_WAIT", 30.0 if waits else 0.2)
    began = time.monotonic()
    command = [sys.executable, "-c", LEAVE, str(tmp_path), seconds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        remaining = int(holder.stdout.readline())
        holder.kill()
    if waits:
        with lock_directory(tmp_path):
            assert time.monotonic() - began > 0.4
        return
    try:
        with pytest.raises(RunInUse, match=f"a process that process {holder.pid} on .* started"):
            lock_directory(tmp_path).__enter__()
    finally:
        os.kill(remaining, signal.SIGKILL)
