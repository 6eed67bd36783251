"""Ranks on two hosts whose network drops packets: rides it out, or ends within seconds and goes on with the same bytes.

Marked slow, and skipped where there can be no network namespaces.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dianoia.cli import main
from dianoia.storage.lock import lock_directory
from tests.smoke.killing import arguments, assert_same
from tests.two_hosts import TwoHosts, obstacle, two_hosts

pytestmark = pytest.mark.slow

OPTIONS = ["--set", "threads=2", "--set", "zero.steps=16", "--only", "zero"]
SECONDS = 30
"""After which a command that has lost a host has ended."""
PORT = 29517
AS_TORCHRUN = "-m", "torch.distributed.run"


@pytest.fixture
def hosts() -> Iterator[TwoHosts]:
    reason = obstacle()
    if reason is not None:
        pytest.skip(reason)
    with two_hosts() as both:
        yield both


@pytest.fixture(scope="module")
def whole(
    whole_zero: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The tiny recipe, and a longer run of its `zero` in one process with two threads."""
    out = tmp_path_factory.mktemp("two-threads") / "run"
    assert main([*arguments(whole_zero[0], out), *OPTIONS]) == 0
    return whole_zero[0], out


def start(hosts: TwoHosts, recipe: Path, run: Path, launcher: str) -> list[subprocess.Popen[str]]:
    """Start the same command on both hosts, with the variables of a launcher or by torchrun."""
    commands = []
    for host in range(2):
        variables = {"GLOO_SOCKET_IFNAME": hosts.devices[host]}
        words = ["-m", "dianoia", *arguments(recipe, run), *OPTIONS]
        if launcher == "torchrun":
            endpoint = f"{hosts.addresses[0]}:{PORT}"
            nodes = "--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(host)
            meeting = "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint
            own = "--local-addr", hosts.addresses[host]
            words = [*AS_TORCHRUN, *nodes, *meeting, *own, *words]
        else:
            variables |= {
                "RANK": str(host),
                "WORLD_SIZE": "2",
                "LOCAL_RANK": "0",
                "LOCAL_WORLD_SIZE": "1",
                "MASTER_ADDR": hosts.addresses[0],
                "MASTER_PORT": str(PORT),
            }
        commands.append(
            subprocess.Popen(
                [*hosts.inside(host), sys.executable, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=os.environ | variables,
            )
        )
    return commands


def finish(commands: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Wait for the end of both; return status and output of each."""
    outputs = [command.communicate(timeout=300)[0] for command in commands]
    return [(command.returncode, text) for command, text in zip(commands, outputs, strict=True)]


def wait_for_rows(run: Path, count: int, commands: Sequence[subprocess.Popen[str]]) -> None:
    """Wait until so many steps are on disk."""
    journal = run / "stages/zero/metrics.jsonl"
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= count):
        assert all(command.poll() is None for command in commands), finish(commands)
        time.sleep(0.01)


@pytest.mark.parametrize("launcher", ["variables", "torchrun"])
def test_a_lost_network_ends_both_ranks_and_the_run_goes_on(
    launcher: str, hosts: TwoHosts, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, reference = whole
    run = tmp_path / "run"
    commands = start(hosts, recipe, run, launcher)
    wait_for_rows(run, 4, commands)
    hosts.is_up, began = False, time.monotonic()
    ends = finish(commands)
    assert time.monotonic() - began < SECONDS
    for rank, (status, output) in enumerate(ends):
        assert status != 0
        assert re.search(
            rf"rank {1 - rank} of 2 has not answered for 15 seconds \(last heard of: (sample|score|update|evaluate) in "
            r"step \d+\), so it hangs or its machine cannot be reached",
            output,
        ), output
        assert "The same command resumes from the last state" in output
    assert not hosts.processes()
    with lock_directory(run):
        pass
    hosts.is_up = True
    ends = finish(start(hosts, recipe, run, launcher))
    assert [status for status, _ in ends] == [0, 0], ends
    assert "resumes after step" in ends[0][1]
    assert_same(run, reference)


def test_a_network_that_loses_packets_changes_nothing(
    hosts: TwoHosts, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, reference = whole
    hosts.loss = 0.05
    ends = finish(start(hosts, recipe, tmp_path / "run", "variables"))
    assert [status for status, _ in ends] == [0, 0], ends
    assert hosts.lost > 50 and hosts.passed > 10 * hosts.lost
    assert_same(tmp_path / "run", reference)


def test_a_short_outage_is_ridden_out(
    hosts: TwoHosts, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, reference = whole
    commands = start(hosts, recipe, tmp_path / "run", "variables")
    wait_for_rows(tmp_path / "run", 4, commands)
    hosts.is_up = False
    time.sleep(4)
    hosts.is_up = True
    ends = finish(commands)
    assert [status for status, _ in ends] == [0, 0], ends
    assert hosts.lost > 0
    assert_same(tmp_path / "run", reference)
