"""Worker processes that cannot hang: limits, replacements, order, nothing inherited, nothing left."""

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
TARGET = "service_work:work"


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    sys.path.insert(0, HERE)  # workers import from where this process does
    with WorkerPool(TARGET, Bounds(cpu_seconds=0.2, wall_seconds=20.0), workers=2) as made:
        assert made.run(["echo", 1]).value == 1
        yield made
    sys.path.remove(HERE)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("kind", "ended"),
    [
        ("loop", Ended.TIMED_OUT),
        ("power", Ended.TIMED_OUT),
        ("exit", Ended.CRASHED),
        ("fault", Ended.CRASHED),
        ("memory", Ended.OUT_OF_MEMORY),
        ("raise", Ended.CRASHED),
    ],
)
def test_each_end_is_told_apart_and_the_next_item_is_answered(
    workers: WorkerPool, kind: str, ended: Ended
) -> None:
    before = workers.ended[ended]
    reply = workers.run([kind])
    assert (reply.ended, reply.value) == (ended, None)
    assert workers.ended[ended] == before + 1
    assert workers.run(["echo", kind]).value == kind


def test_sleep_ends_by_the_clock() -> None:
    sys.path.insert(0, HERE)
    with WorkerPool(TARGET, Bounds(cpu_seconds=5.0, wall_seconds=1.5), workers=1) as short:
        started = time.monotonic()
        assert short.run(["sleep"]).ended is Ended.TIMED_OUT
        assert time.monotonic() - started >= 1.5
        assert short.replaced == 1
    sys.path.remove(HERE)


def test_an_error_is_told_in_words(workers: WorkerPool) -> None:
    assert workers.run(["raise"]).detail == "ValueError: no"
    assert "-11" in workers.run(["fault"]).detail


def test_results_come_in_order_and_none_is_lost(workers: WorkerPool) -> None:
    items = [["exit"] if n % 37 == 5 else ["echo", n] for n in range(200)]
    replies = workers.map(items)
    wanted = [None if n % 37 == 5 else n for n in range(200)]
    assert [reply.value for reply in replies] == wanted
    ended = Counter(reply.ended for reply in replies)
    assert ended == {Ended.ANSWERED: 194, Ended.CRASHED: 6}


def test_any_text_goes_there_and_back(workers: WorkerPool) -> None:
    texts = ["\n", "\x00", "\ud800", "é\u2028", '"\\', "x" * 300_000]
    assert [reply.value for reply in workers.map([["echo", text] for text in texts])] == texts


def test_work_goes_on_while_the_caller_does_something_else(workers: WorkerPool) -> None:
    waiting = workers.begin([["echo", n] for n in range(100)])
    total = sum(range(100_000))  # the caller's own work
    assert [reply.value for batch in waiting for reply in batch.result()] == list(range(100))
    assert total == 4_999_950_000


def test_many_threads_may_ask(workers: WorkerPool) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: workers.run(["echo", n]).value, range(200)))
    assert found == list(range(200))


def test_a_worker_that_somebody_else_killed_costs_no_item(
    workers: WorkerPool, tmp_path: Path
) -> None:
    mark = tmp_path / "seen"
    asked = workers.begin([["once", str(mark)]])
    mark.touch()
    assert asked[0].result()[0].value == "second"
    for _ in range(2):
        for reply in workers.map([["about"], ["about"]]):
            os.kill(reply.value["pid"], signal.SIGKILL)
    assert workers.run(["echo", "still"]).value == "still"


def test_the_warm_process_is_replaced_too(workers: WorkerPool) -> None:
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


def test_a_worker_is_replaced_after_so_many_items() -> None:
    sys.path.insert(0, HERE)
    with WorkerPool(TARGET, Bounds(items=3), workers=1) as short:
        pids = [short.run(["about"]).value["pid"] for _ in range(7)]
    sys.path.remove(HERE)
    assert len(set(pids)) == 3
    assert short.replaced == 0


def test_nothing_is_started_before_the_first_item_and_nothing_is_left() -> None:
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


def test_what_cannot_be_imported_is_told() -> None:
    with WorkerPool("no.such.module:f") as missing, pytest.raises(VerifierError, match="install"):
        missing.run(1)
