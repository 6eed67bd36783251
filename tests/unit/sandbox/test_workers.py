"""Worker processes that cannot hang: limits, replacement, order, nothing inherited, no process left."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dianoia.base.errors import VerifierError
from dianoia.sandbox.workers import Bounds, Ended, WorkerPool

HERE = str(Path(__file__).parent)
TARGET = "worker_functions:run"


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    sys.path.insert(0, HERE)  # workers import from where this process does
    with WorkerPool(TARGET, Bounds(cpu_seconds=0.2, wall_seconds=20.0), workers=2) as pool:
        assert pool.run(["echo", 1]).value == 1
        yield pool
    sys.path.remove(HERE)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("action", "ended"),
    [
        ("loop", Ended.TIMED_OUT),
        ("power", Ended.TIMED_OUT),
        ("exit", Ended.CRASHED),
        ("fault", Ended.CRASHED),
        ("memory", Ended.OUT_OF_MEMORY),
        ("raise", Ended.CRASHED),
    ],
)
def test_each_ending_is_reported_and_the_next_item_is_answered(
    workers: WorkerPool, action: str, ended: Ended
) -> None:
    before = workers.ended[ended]
    reply = workers.run([action])
    assert (reply.ended, reply.value) == (ended, None)
    assert workers.ended[ended] == before + 1
    assert workers.run(["echo", action]).value == action


def test_an_item_that_sleeps_is_ended_by_the_wall_clock() -> None:
    sys.path.insert(0, HERE)
    with WorkerPool(TARGET, Bounds(cpu_seconds=5.0, wall_seconds=1.5), workers=1) as short:
        started = time.monotonic()
        assert short.run(["sleep"]).ended is Ended.TIMED_OUT
        assert time.monotonic() - started >= 1.5
        assert short.replaced == 1
    sys.path.remove(HERE)


def test_the_detail_of_a_crash(workers: WorkerPool) -> None:
    assert workers.run(["raise"]).detail == "ValueError: no"
    assert "-11" in workers.run(["fault"]).detail


def test_results_come_in_order_and_none_is_lost(workers: WorkerPool) -> None:
    items = [["exit"] if n % 37 == 5 else ["echo", n] for n in range(200)]
    replies = workers.map(items)
    expected = [None if n % 37 == 5 else n for n in range(200)]
    assert [reply.value for reply in replies] == expected
    ended = Counter(reply.ended for reply in replies)
    assert ended == {Ended.ANSWERED: 194, Ended.CRASHED: 6}


def test_any_text_survives_the_round_trip(workers: WorkerPool) -> None:
    texts = ["\n", "\x00", "\ud800", "é\u2028", '"\\', "x" * 300_000]
    assert [reply.value for reply in workers.map([["echo", text] for text in texts])] == texts


def test_begin_does_not_wait(workers: WorkerPool) -> None:
    waiting = workers.begin([["echo", n] for n in range(100)])
    total = sum(range(100_000))  # the caller's own work
    assert [reply.value for batch in waiting for reply in batch.result()] == list(range(100))
    assert total == 4_999_950_000


def test_many_threads_may_use_the_pool(workers: WorkerPool) -> None:
    with ThreadPoolExecutor(8) as threads:
        values = list(threads.map(lambda n: workers.run(["echo", n]).value, range(200)))
    assert values == list(range(200))


def test_an_item_whose_worker_was_killed_from_outside_is_tried_again(
    workers: WorkerPool, tmp_path: Path
) -> None:
    mark = tmp_path / "seen"
    futures = workers.begin([["once", str(mark)]])
    mark.touch()
    assert futures[0].result()[0].value == "second"
    for _ in range(2):
        for reply in workers.map([["about"], ["about"]]):
            os.kill(reply.value["pid"], signal.SIGKILL)
    assert workers.run(["echo", "still"]).value == "still"


def test_the_fork_server_is_replaced_too(workers: WorkerPool) -> None:
    os.kill(workers.run(["about"]).value["parent"], signal.SIGKILL)
    assert [workers.run(["echo", n]).value for n in range(5)] == list(range(5))


def test_nothing_is_inherited(workers: WorkerPool, tmp_path: Path) -> None:
    os.environ["SECRET_OF_THE_TEST"] = "x"
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        about, files = workers.run(["about"]).value, workers.run(["files"]).value
    assert set(about["environment"]) <= {"PATH", "LANG", "LC_CTYPE", "PYTHONHASHSEED", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"}  # fmt: skip
    assert not about["torch"]
    assert not [name for name in files if str(tmp_path) in name]
    assert len([name for name in files if name.startswith("socket:")]) == 1


def test_a_worker_is_replaced_after_its_number_of_items() -> None:
    sys.path.insert(0, HERE)
    with WorkerPool(TARGET, Bounds(items=3), workers=1) as short:
        pids = [short.run(["about"]).value["pid"] for _ in range(7)]
    sys.path.remove(HERE)
    assert len(set(pids)) == 3
    assert short.replaced == 0


def test_no_process_starts_before_the_first_item_and_none_is_left() -> None:
    sys.path.insert(0, HERE)
    workers = WorkerPool(TARGET, workers=2)
    assert workers._fork_server._process is None
    about = workers.run(["about"]).value
    assert alive(about["pid"])
    workers.close()
    sys.path.remove(HERE)
    deadline = time.monotonic() + 20
    while (alive(about["pid"]) or alive(about["parent"])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(about["pid"])
    assert not alive(about["parent"])


def test_workers_end_with_a_process_that_is_killed() -> None:
    code = (
        f"import sys, os, signal; sys.path.insert(0, {HERE!r}); from dianoia.sandbox.workers import WorkerPool; "
        f"about = WorkerPool({TARGET!r}).run(['about']).value; print(about['pid'], about['parent'], flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pids = list(map(int, done.stdout.split()))
    assert len(pids) == 2, done.stderr
    deadline = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, pids))


def test_a_function_that_cannot_be_imported_is_an_error() -> None:
    with WorkerPool("no.such.module:f") as missing, pytest.raises(VerifierError, match="install"):
        missing.run(1)
