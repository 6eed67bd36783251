"""`dianoia run --ranks N`: N processes per stage, and the files of one process with as many threads.

By default: one stage of reinforcement learning on two ranks. Marked slow: more ranks, kills, resumption with another number,
ranks that raise or hang, and a launcher.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch

from dianoia.cli import main
from dianoia.distributed import group
from dianoia.learner.policy import PolicyLearner
from dianoia.pipeline import stage_processes
from dianoia.storage.lock import lock_directory
from tests.conftest import TINY_BASE
from tests.smoke.commands import Command, run_command
from tests.smoke.killing import arguments, assert_same
from tests.smoke.stage_server import ForkedServer

TWO_THREADS = ["--set", "threads=2"]
TWO_RANKS = [*TWO_THREADS, "--ranks", "2"]


@pytest.fixture(scope="module")
def whole(
    whole_zero: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The tiny recipe, and its `zero` in one process with two threads."""
    out = tmp_path_factory.mktemp("two-threads") / "run"
    assert main([*arguments(whole_zero[0], out), *TWO_THREADS, "--only", "zero"]) == 0
    return whole_zero[0], out


def test_two_ranks_leave_what_two_threads_leave(
    whole: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_processes, "ForkServer", ForkedServer)
    recipe, reference = whole
    assert main([*arguments(recipe, tmp_path / "run"), *TWO_RANKS, "--only", "zero"]) == 0
    assert_same(tmp_path / "run", reference)
    assert json.loads((tmp_path / "run/run.json").read_text())["ranks"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ranks", "2", "--gpus", "2"], "a GPU has one process; give --gpus alone"),
        (["--gpus", "2"], "PyTorch sees no CUDA GPU on this machine"),
    ],
)
def test_what_this_machine_cannot_have_is_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "miniature-zero", "--out", str(tmp_path / "run"), *options]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpus", "none"], "'none' is not a number of GPUs; write 8, or all"),
        (["--ranks", "0"], "'0' is not a number of processes"),
    ],
)
def test_a_number_that_is_none_is_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", "miniature-zero", *options])
    assert message in capsys.readouterr().err


def test_options_beside_a_launcher_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "h", "MASTER_PORT": "1"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    command = ["run", "miniature-zero", "--out", str(tmp_path / "run"), "--ranks", "2"]
    assert main(command) == 2
    assert (
        "--ranks in a command that a launcher has started (WORLD_SIZE=2)" in capsys.readouterr().err
    )


# Marked slow: the same results ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "threads"), [(4, 4), (2, 4)])
def test_any_number_of_ranks_leaves_what_as_many_threads_leave(
    ranks: int, threads: int, whole_zero: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, _ = whole_zero
    options = ["--set", f"threads={threads}"]
    assert main([*arguments(recipe, tmp_path / "threads"), *options]) == 0
    assert main([*arguments(recipe, tmp_path / "ranks"), *options, "--ranks", str(ranks)]) == 0
    assert_same(tmp_path / "ranks", tmp_path / "threads")


@pytest.mark.slow
def test_pretraining_too(tmp_path: Path) -> None:
    recipe = tmp_path / "base.toml"
    recipe.write_text(TINY_BASE, encoding="utf-8")
    assert main([*arguments(recipe, tmp_path / "threads"), *TWO_THREADS]) == 0
    assert main([*arguments(recipe, tmp_path / "ranks"), *TWO_RANKS]) == 0
    assert_same(tmp_path / "ranks", tmp_path / "threads")


@pytest.mark.slow
def test_adapters_too(whole_zero: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, _ = whole_zero
    lora = ["--set", "zero.lora.rank=4", "--only", "zero"]
    assert main([*arguments(recipe, tmp_path / "threads"), *TWO_THREADS, *lora]) == 0
    assert main([*arguments(recipe, tmp_path / "ranks"), *TWO_RANKS, *lora]) == 0
    assert_same(tmp_path / "ranks", tmp_path / "threads")


@pytest.mark.slow
def test_the_miniature_too(tmp_path: Path) -> None:
    few = ["--set", "zero.steps=4", "--only", "zero"]
    zero = Path("miniature-zero")
    assert main([*arguments(zero, tmp_path / "threads"), *TWO_THREADS, *few]) == 0
    assert main([*arguments(zero, tmp_path / "ranks"), *TWO_RANKS, *few]) == 0
    assert_same(tmp_path / "ranks", tmp_path / "threads")


@pytest.mark.slow
def test_a_launcher_starts_the_ranks(whole: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, reference = whole
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    command = [
        "-m",
        "dianoia",
        *arguments(recipe, tmp_path / "run"),
        *TWO_THREADS,
        "--only",
        "zero",
    ]
    done = subprocess.run([*torchrun, *command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "run", reference)
    assert done.stdout.count("zero: done in") == 1, "rank 0 alone prints"


# Marked slow: ends ----------------------------------------------------------------------------------

SECONDS = 30
"""After which a command whose rank has died or hangs has ended."""


def _processes(command: Command) -> list[int]:
    """Return the ids of the ranks' processes, in the order of ranks."""
    servers = _children(command.pid)
    return [rank for server in servers for rank in sorted(_children(server))]


def _children(pid: int, program: bytes = b"dianoia.pipeline.fork_server") -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        pids = [int(word) for word in children.read_text().split()]
    except OSError:
        return []
    # The fork server, and forks of it: not the workers of verifiers, which are programs of their own.
    return [p for p in pids if program in _command_line(p)]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _rows(run: Path) -> int:
    journal = run / "stages/zero/metrics.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


@contextmanager
def _ended_in_time(run: Path) -> Iterator[None]:
    """The command in the block ends soon, and nothing of it is left."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SECONDS
    with lock_directory(run):  # held by every process of the command
        pass


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_rank_that_dies_or_hangs_ends_the_command_with_its_name(
    how: signal.Signals, rank: int, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, reference = whole
    run = tmp_path / "run"
    command = [*arguments(recipe, run), *TWO_RANKS, "--only", "zero"]
    with Command(command) as started:
        started.wait_until(lambda: _rows(run) >= 2)
        victim = _processes(started)[rank]
        with _ended_in_time(run):
            os.kill(victim, how)
            done = started.finish()
    assert done.returncode == 2, done.stdout + done.stderr
    message = done.stderr
    assert re.search(rf"rank {rank} of 2.*(sample|score|update|evaluate) in step \d", message), (
        message
    )
    said = "signal 9" if how is signal.SIGKILL else "has not answered for 15 seconds"
    assert said in message and "Traceback" not in message
    failure = json.loads((run / "stages/zero/failure.json").read_text())
    assert f"rank {rank} of 2" in failure["error"]
    assert main(command) == 0
    assert_same(run, reference)


RAISING = """
import os

CALLS = 0

def lengths(completions, **columns):
    global CALLS
    CALLS += 1
    if CALLS == 2 and not os.path.exists("{mark}"):
        {body}
    return [len(text) / 100 for text in completions]
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('a slip in the reward')", "a slip in the reward"),
        ("raise MemoryError", "memory"),
        ("os._exit(3)", "ended by itself with status 3"),
        ("bytearray(1 << 60)", "memory"),
    ],
)
def test_a_rank_that_raises_is_named_and_the_run_goes_on(
    body: str, message: str, whole: tuple[Path, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recipe, mark = tmp_path / "zero.toml", tmp_path / "mended"
    function = tmp_path / "reward.py"
    function.write_text(RAISING.format(body=body, mark=mark), encoding="utf-8")
    text = whole[0].read_text(encoding="utf-8")
    table = f"[[stages.zero.rewards.functions]]\npath = {str(function) + ':lengths'!r}\n"
    recipe.write_text(text.replace("[stages.zero.optimizer]", table + "[stages.zero.optimizer]"))
    command = [*arguments(recipe, tmp_path / "run"), *TWO_RANKS, "--only", "zero"]
    assert main(command) == 2
    with lock_directory(tmp_path / "run"):  # nothing of it is left
        pass
    error = capsys.readouterr().err
    # Rank 0 calls the functions of users.
    assert "rank 0 of 2" in error and "score in step 2" in error and message in error, error
    mark.touch()
    assert main(command) == 0
    threads = [*arguments(recipe, tmp_path / "threads"), *TWO_THREADS, "--only", "zero"]
    assert main(threads) == 0
    assert_same(tmp_path / "run", tmp_path / "threads")


def exhaust_memory(rank: int) -> None:
    """Have a rank request more memory than there is in its third update."""
    update = PolicyLearner.update

    def greedy(self: PolicyLearner, *rows: object) -> object:
        if group.ranks().rank == rank and self.step == 2:
            torch.empty(1 << 52)
        return update(self, *rows)  # type: ignore[arg-type]

    PolicyLearner.update = greedy  # type: ignore[method-assign, assignment]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_out_of_memory_is_named_and_the_run_goes_on(
    rank: int, whole: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recipe, reference = whole
    run = tmp_path / "run"
    command = [*arguments(recipe, run), *TWO_RANKS, "--only", "zero"]
    with monkeypatch.context() as patched:
        server = partial(ForkedServer, prepare=partial(exhaust_memory, rank))
        patched.setattr(stage_processes, "ForkServer", server)
        assert main(command) == 2
    with lock_directory(run):
        pass
    error = capsys.readouterr().err
    assert re.search(rf"rank {rank} of 2, update in step 2: .*memory has run out \(another", error)
    assert error.count("\n") == 1
    assert main(command) == 0
    assert "resumes after step 2" in capsys.readouterr().out
    assert_same(run, reference)


@pytest.mark.slow
def test_a_killed_run_resumes_with_another_number_of_ranks(
    whole: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, reference = whole
    run = tmp_path / "run"
    command = [*arguments(recipe, run), *TWO_THREADS, "--only", "zero"]
    for options, rows in ((["--ranks", "2"], 3), ([], 4)):
        with Command([*command, *options]) as started:
            started.wait_until(lambda rows=rows: _rows(run) >= rows)
            started.kill()
            assert started.finish().returncode == -signal.SIGKILL
        with lock_directory(run):
            pass
    assert main([*command, "--ranks", "2"]) == 0
    assert_same(run, reference)


@pytest.mark.slow
def test_a_stop_is_obeyed_by_all_ranks(whole: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, reference = whole
    run = tmp_path / "run"
    command = [*arguments(recipe, run), *TWO_RANKS, "--only", "zero"]
    with Command(command) as started:
        started.wait_until(lambda: _rows(run) >= 2)
        with _ended_in_time(run):
            os.killpg(started.pid, signal.SIGINT)
            done = started.finish()
    assert done.returncode == 130
    assert re.match(r"dianoia: stopped by Ctrl-C: zero after step \d of 4", done.stderr)
    assert done.stderr.count("\n") == 1
    assert main(command) == 0
    assert_same(run, reference)


class NotedServer(ForkedServer):
    """Writes its process's id into a file, since that is no child of the command."""

    file: Path

    def __init__(self, locks: Sequence[int]) -> None:
        super().__init__(locks)
        self.file.write_text(str(self._process.pid))


def fork_ranks(file: Path) -> None:
    """Have ranks be forked without an import of PyTorch."""
    NotedServer.file = file
    stage_processes.ForkServer = NotedServer  # type: ignore[misc]


def _forked_ranks(file: Path) -> list[int]:
    """Return the ids of the ranks' processes, in the order of ranks."""
    text = file.read_text() if file.exists() else ""
    return sorted(_children(int(text), b"tests.fork_server")) if text else []


@pytest.mark.slow
def test_twenty_kills_of_random_ranks_at_random_times(
    whole_zero: tuple[Path, Path], tmp_path: Path
) -> None:
    """Of a rank, or of the command; each time the same command goes on, and the end is always the same."""
    recipe, reference = whole_zero[0], tmp_path / "reference"
    longer = ["--set", "zero.steps=16", "--only", "zero"]
    assert main([*arguments(recipe, reference), *TWO_THREADS, *longer]) == 0
    draws, kills, reached = random.Random(7), 0, set[int]()
    while kills < 20:
        run = tmp_path / f"run-{kills}"
        command = [*arguments(recipe, run), *TWO_RANKS, *longer]
        for _ in range(3):
            file = tmp_path / "server"
            file.unlink(missing_ok=True)
            with Command(command, partial(fork_ranks, file)) as started:
                while len(_forked_ranks(file)) < 2 and started.poll() is None:
                    time.sleep(0.01)
                time.sleep(draws.uniform(0, 3))
                ranks = _forked_ranks(file)
                victims = [*ranks, started.pid] if len(ranks) == 2 else [started.pid]
                if started.poll() is None:
                    with _ended_in_time(run):
                        os.kill(draws.choice(victims), signal.SIGKILL)
                        kills += started.finish().returncode != 0
                    reached.add(_rows(run))
        assert run_command(command, partial(fork_ranks, tmp_path / "server")).returncode == 0
        assert_same(run, reference)
        shutil.rmtree(run)
    assert len(reached) > 4, "the kills came at different steps"
