"""Ranks and their disk: it fills up, or a rank is killed in the middle of its part of a state. Marked slow.

What was half written counts for nothing: the same command goes on from the last whole state, to the same bytes.
"""

import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from dianoia.cli import main
from dianoia.learner import sharded_state
from dianoia.pipeline import stage_processes
from tests.conftest import TINY_ZERO
from tests.smoke.commands import Command, run_command
from tests.smoke.disks import fill
from tests.smoke.killing import arguments, assert_same
from tests.smoke.stage_server import ForkedServer
from tests.smoke.test_shards import write_data

pytestmark = pytest.mark.slow

MANY = TINY_ZERO.replace("steps = 4", "steps = 16").replace(
    "checkpoint_every = 1", "checkpoint_every = 10"
)


@pytest.mark.parametrize("step", [3, 11])
def test_a_disk_that_fills_up_under_two_ranks_costs_no_step(
    step: int, disk: Path, tiny_base: Path, tmp_path: Path
) -> None:
    """Another program takes all that is free, between two states."""
    recipe = tmp_path / "zero.toml"
    recipe.write_text(MANY.replace("{base}", tiny_base.as_posix()), encoding="utf-8")
    options = ["--set", "threads=2", "--only", "zero"]
    assert main([*arguments(recipe, tmp_path / "threads"), *options]) == 0
    command = [*arguments(recipe, disk / "run"), *options, "--ranks", "2"]
    journal = disk / "run/stages/zero/metrics.jsonl"
    with Command(command) as process:
        process.wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > step)
        fill(disk / "big")
        ended = process.finish()
    assert ended.returncode == 2, ended.stderr
    assert "no space left" in ended.stderr and "Free some space" in ended.stderr
    assert "Traceback" not in ended.stderr
    reached = journal.read_bytes().count(b"\n") - 1
    (disk / "big").unlink()
    done = run_command(command)
    assert done.returncode == 0, done.stderr
    assert f"resumes after step {reached}" in done.stdout, "no step is done twice"
    assert_same(disk / "run", tmp_path / "threads")


# Four ranks, a model in shards, states in parts ------------------------------------------------------

TAUGHT = """
name = "parts"
threads = 4
[stages.taught]
kind = "sft"
start = "{base}"
datasets = [{{ path = "{samples}" }}]
max_length = 200
tokens_per_step = 1024
epochs = 2
checkpoint_every = 1
shard = "all"
optimizer = {{ learning_rate = 1e-3 }}
"""


def write_in_parts() -> None:
    """Have every rank write its own part of each state, as where no host has room for the whole."""
    sharded_state.HOST_SHARE = 0.0


def at_third_part(happen: Callable[[Path], object]) -> None:
    """Have something happen when rank 3 opens its part of the third state."""
    write_in_parts()
    opened = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal opened
        path = str(arguments[0]) if event == "open" else ""
        if path.endswith("__3_0.distcp") and "w" in str(arguments[1]):
            opened += 1
            if opened == 3:
                happen(Path(path))

    sys.addaudithook(hook)


def die_half_way(path: Path) -> None:
    """Leave half of a part."""
    path.write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk(big: Path, _path: Path) -> None:
    """Leave no room for the part."""
    fill(big)


def limit_files(_big: Path, _path: Path) -> None:
    """Have the system refuse the part of this rank alone."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


@pytest.fixture
def taught(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a stage on four ranks; `prepare` is called in the process from which they are forked."""
    recipe, data = tmp_path / "taught.toml", write_data(tmp_path)
    recipe.write_text(TAUGHT.format(base=tiny_base.as_posix(), **data), encoding="utf-8")

    def run(out: Path, prepare: Callable[[], object] = write_in_parts) -> int:
        server = partial(ForkedServer, prepare=prepare)
        monkeypatch.setattr(stage_processes, "ForkServer", server)
        return main([*arguments(recipe, out), "--ranks", "4"])

    return run


def assert_goes_on(out: Path, taught: Callable[..., int], tmp_path: Path) -> None:
    """The last whole state is the second, and the end is that of a run that was never stopped."""
    assert not (out / "stages/taught/.state.part/SHA256SUMS").exists()
    assert {p.name for p in (out / "stages/taught/state/parts").glob("*.distcp")} == {
        f"__{rank}_0.distcp" for rank in range(4)
    }
    assert taught(out) == 0
    assert taught(tmp_path / "never-stopped") == 0
    assert_same(out, tmp_path / "never-stopped")


def test_a_state_that_rank_3_has_half_written_counts_for_nothing(
    taught: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert taught(out, partial(at_third_part, die_half_way)) == 2
    error = capsys.readouterr().err
    assert re.search(r"rank 3 of 4, update in step \d\) was ended from outside by signal 9", error)
    assert_goes_on(out, taught, tmp_path)
    assert "resumes after step 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("happen", "message"),
    [
        (fill_disk, "state: there is no space left on the disk"),
        (limit_files, r"rank 3 of 4, update in step \d: .*state: the file is larger than a limit"),
    ],
)
def test_a_part_that_cannot_be_written_is_said_in_one_line(
    happen: Callable[[Path, Path], None],
    message: str,
    taught: Callable[..., int],
    disk: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, big = disk / "run", disk / "big"
    assert taught(out, partial(at_third_part, partial(happen, big))) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1, error
    big.unlink(missing_ok=True)
    assert_goes_on(out, taught, tmp_path)
    assert "resumes after step 2" in capsys.readouterr().out
