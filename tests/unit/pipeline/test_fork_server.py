"""The real server of stages, in a new interpreter, with a module in place of `stage_process` that imports in no time.

The smoke tests fork their servers from an interpreter that has imported the real one (`tests.smoke.stage_server`).
"""

import fcntl
import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from dianoia.pipeline.fork_server import ForkServer
from dianoia.storage.lock import LOCK_FILE, lock_directory

STAND_IN = """
import os, sys, types

def warm_up():
    stage.warm_pid = os.getpid()

def work(connection):
    connection.send((os.getpid(), os.getppid(), stage.warm_pid, os.environ.get("TORCH_CPP_LOG_LEVEL")))
    if connection.recv() == "fail":
        sys.exit(3)

stage = types.ModuleType("dianoia.pipeline.stage_process")
stage.warm_up, stage.work = warm_up, work
sys.modules[stage.__name__] = stage
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere stages are not forked, and import PyTorch each"
)


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in where every new interpreter imports it first."""
    (tmp_path / "sitecustomize.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def ended(process: int) -> bool:
    """Tell whether there is no such process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_processes_are_forked_from_a_server_that_has_imported_all() -> None:
    with ForkServer([]) as server:
        connections: list[Connection] = [server.start(number) for number in (1, 2, 3)]
        places = [connection.recv() for connection in connections]
        (parent,) = {parent for _, parent, _, _ in places}
        assert {warm for _, _, warm, _ in places} == {parent}, "what it warms up, it does once"
        assert {level for *_, level in places} == {"ERROR"}
        connections[0].send("end")
        assert server.read_exit() == (1, 0)
        connections[1].send("fail")
        assert server.read_exit() == (2, 1)
        server.kill(3)
        assert server.read_exit() == (3, -signal.SIGKILL)
        left = server.start(4).recv()[0]
    assert ended(left) and ended(parent), "no process is left behind"


def test_every_process_holds_the_run_directory(tmp_path: Path) -> None:
    """The lock is held as long as one of their processes is there, also one that nobody ends."""
    run = tmp_path / "run"
    with lock_directory(run) as lock:
        assert lock is not None
        with ForkServer([lock]) as server:
            connection = server.start(1)
            stage, parent, *_ = connection.recv()
            other = os.open(run / LOCK_FILE, os.O_RDWR)
            os.close(lock)  # as the death of the command does
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert ended(stage) and ended(parent)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.dup2(other, lock)
        os.close(other)
    assert not run.exists()
