"""`dianoia run --cluster ray`: ranks on the nodes of a Ray cluster, and the files of one process with as many threads.

Marked slow, and skipped where the package ray is missing: a cluster of simulated nodes on this machine.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dianoia.base.errors import RunInUse
from dianoia.cli import main
from dianoia.storage.lock import lock_directory
from tests.ray_cluster import VARIABLES, RayCluster, ray_cluster
from tests.smoke.killing import arguments, assert_same

SECONDS = 30
"""After which a command that has lost a node has ended."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cluster", "slurm"], "--cluster slurm: this is no cluster; write ray for"),
        (["--cluster", "ray", "--dry-run"], "a plan needs no cluster"),
        (["--cluster", "ray", "--jobs", "2"], "all ranks run one stage after the other"),
        (["--cluster", "ray", "--ranks", "2", "--gpus", "2"], "a GPU has one process"),
        (["--cluster", "ray", "--set", "zero.stpes=1"], "zero.stpes"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "miniature-zero", "--out", str(tmp_path / "run"), *options]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "run").exists()


# Marked slow ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    pytest.importorskip("ray")
    with ray_cluster("first", "second") as started:
        yield started


@pytest.fixture(scope="module")
def whole(
    whole_zero: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The tiny recipe, and its `zero` in one process with two threads."""
    out = tmp_path_factory.mktemp("two-threads") / "run"
    command = [*arguments(whole_zero[0], out), "--set", "threads=2", "--only", "zero"]
    assert main(command) == 0
    return whole_zero[0], out


def start(
    recipe: Path, run: Path, cluster: RayCluster, *options: str, ranks: int = 2
) -> subprocess.Popen[str]:
    """Start the command as a user does: Ray needs an interpreter of its own."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "dianoia", *arguments(recipe, run)),
            *("--cluster", f"ray={cluster.address}", "--ranks", str(ranks)),
            *("--set", f"threads={ranks}", "--only", "zero", *options),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=recipe.parent,
        env=os.environ | VARIABLES,
        start_new_session=True,
    )


def finish(command: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = command.communicate(timeout=600)
    return command.returncode, out, err


def wait_for_rows(run: Path, count: int, command: subprocess.Popen[str]) -> None:
    """Wait until so many steps are on disk."""
    journal = run / "stages/zero/metrics.jsonl"
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= count):
        assert command.poll() is None, finish(command)
        time.sleep(0.01)


@pytest.mark.slow
def test_two_nodes_leave_what_two_threads_leave(
    cluster: RayCluster, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, reference = whole
    status, out, err = finish(start(recipe, tmp_path / "run", cluster))
    assert status == 0, out + err
    assert re.search(r"cluster: 2 ranks on 2 nodes, 1 each: [\d.]+, [\d.]+\n", err), err
    assert out.count("zero: done in") == 1, "rank 0 alone prints"
    assert_same(tmp_path / "run", reference)
    about, without = (json.loads((p / "run.json").read_text()) for p in (tmp_path / "run", reference))  # fmt: skip
    assert f"--cluster ray={cluster.address} --ranks 2" in about["command"]
    assert about["dianoia"] == without["dianoia"]


@pytest.mark.slow
def test_a_lost_node_ends_the_command_and_a_new_one_goes_on(
    cluster: RayCluster, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, reference = whole
    run = tmp_path / "run"
    command = start(recipe, run, cluster)
    wait_for_rows(run, 2, command)
    began = time.monotonic()
    cluster.remove("second")
    status, out, err = finish(command)
    assert time.monotonic() - began < SECONDS
    assert status == 2, out + err
    # Which of the two was on the node is Ray's choice.
    assert re.search(r"dianoia: rank [01] of 2 is lost with its node [\d.]+ \(\w+Error", err), err
    assert "the same command resumes it from its last state" in err and "Traceback" not in err
    with lock_directory(run):  # nothing of the command is left
        pass
    cluster.add("second")
    status, out, err = finish(start(recipe, run, cluster))
    assert status == 0, out + err
    assert_same(run, reference)


@pytest.mark.slow
def test_ctrl_c_stops_all_ranks_after_the_step(
    cluster: RayCluster, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, _ = whole
    run = tmp_path / "run"
    command = start(recipe, run, cluster, "--set", "zero.steps=400")
    wait_for_rows(run, 1, command)
    command.send_signal(signal.SIGINT)
    status, out, err = finish(command)
    assert status == 130, out + err
    assert re.search(r"dianoia: stopped by Ctrl-C: zero after step \d+ of 400", err), err


@pytest.mark.slow
def test_a_killed_command_leaves_no_rank(
    cluster: RayCluster, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, _ = whole
    run = tmp_path / "run"
    command = start(recipe, run, cluster, "--set", "zero.steps=4000")
    wait_for_rows(run, 2, command)
    command.kill()
    command.communicate()
    began = time.monotonic()
    # Ray notices by itself that a driver has gone.
    while True:
        try:
            with lock_directory(run):
                break
        except RunInUse:
            assert time.monotonic() - began < 90
    assert not (run / "stages/zero/manifest.json").exists(), time.monotonic() - began


@pytest.mark.slow
def test_what_the_cluster_has_no_room_for_is_refused(
    cluster: RayCluster, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, _ = whole
    status, _, err = finish(start(recipe, tmp_path / "run", cluster, ranks=3))
    assert status == 2 and not (tmp_path / "run").exists()
    assert "--ranks 3: each rank takes a CPU" in err and "2 would fit; or add nodes" in err


@pytest.mark.slow
def test_four_nodes(cluster: RayCluster, whole_zero: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, _ = whole_zero
    four = ["--set", "threads=4", "--only", "zero"]
    assert main([*arguments(recipe, tmp_path / "threads"), *four]) == 0
    for name in ("third", "fourth"):
        cluster.add(name)
    status, out, err = finish(start(recipe, tmp_path / "run", cluster, ranks=4))
    assert status == 0, out + err
    assert "4 ranks on 4 nodes, 1 each" in err
    assert_same(tmp_path / "run", tmp_path / "threads")
