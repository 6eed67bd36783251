"""Ranks on two hosts whose network drops packets: rides it out, or ends within seconds and goes on with the same bytes.

Marked slow, and skipped where there can be no network namespaces.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from dianoia.cli import main
from dianoia.storage.lock import lock_directory
from tests.smoke.commands import Command
from tests.smoke.killing import arguments, assert_same
from tests.two_hosts import TwoHosts, enter, obstacle, two_hosts

pytestmark = pytest.mark.slow

OPTIONS = ["--set", "threads=2", "--set", "zero.steps=16", "--only", "zero"]
SECONDS = 30
"""After which a command that has lost a host has ended."""
PORT = 29517
SILENT = (
    r"dianoia: rank {rank} of 2 has not answered for 15 seconds \(last heard of: .*; rank \d itself: \w+ in step \d+\), "
    r"so it hangs or its machine cannot be reached\. The same command resumes from the last state"
)


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


def become_rank(namespace: str, variables: Mapping[str, str]) -> None:
    """Be on a host, with the variables that a launcher sets."""
    enter(namespace)
    os.environ.update(variables)


@pytest.fixture
def start(hosts: TwoHosts) -> Iterator[Callable[[Path, Path], list[Command]]]:
    """Starts the same command on both hosts."""
    with ExitStack() as held:

        def begin(recipe: Path, run: Path) -> list[Command]:
            commands = []
            for host in range(2):
                variables = {
                    "GLOO_SOCKET_IFNAME": hosts.devices[host],
                    "RANK": str(host),
                    "WORLD_SIZE": "2",
                    "LOCAL_RANK": "0",
                    "LOCAL_WORLD_SIZE": "1",
                    "MASTER_ADDR": hosts.addresses[0],
                    "MASTER_PORT": str(PORT),
                }
                prepare = partial(become_rank, hosts.namespace(host), variables)
                command = Command([*arguments(recipe, run), *OPTIONS], prepare)
                commands.append(held.enter_context(command))
            return commands

        yield begin


def rows(run: Path) -> int:
    journal = run / "stages/zero/metrics.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def finish(commands: Sequence[Command]) -> list[tuple[int, str]]:
    """Wait for the end of both; return status and output of each."""
    ends = [command.finish() for command in commands]
    return [(end.returncode, end.stdout + end.stderr) for end in ends]


@pytest.mark.parametrize("how", ["packets are dropped", "the links are down"])
def test_a_lost_network_ends_both_ranks_and_the_run_goes_on(
    how: str,
    hosts: TwoHosts,
    start: Callable[[Path, Path], list[Command]],
    whole: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    recipe, reference = whole
    run = tmp_path / "run"
    commands = start(recipe, run)
    commands[0].wait_until(lambda: rows(run) >= 4)
    began = time.monotonic()
    if how == "packets are dropped":
        hosts.is_up = False
    else:
        hosts.set_links("down")
    ends = finish(commands)
    assert time.monotonic() - began < SECONDS
    for rank, (status, output) in enumerate(ends):
        assert status == 2
        assert re.search(SILENT.format(rank=1 - rank), output), output
    failure = json.loads((run / "stages/zero/failure.json").read_text())
    assert "rank 1 of 2 has not " in failure["error"]
    with lock_directory(run):
        pass
    assert not hosts.processes()
    hosts.is_up = True
    hosts.set_links("up")
    ends = finish(start(recipe, run))
    assert [status for status, _ in ends] == [0, 0], ends
    assert "resumes after step" in ends[0][1]
    assert_same(run, reference)


def test_a_network_that_loses_packets_changes_nothing(
    hosts: TwoHosts,
    start: Callable[[Path, Path], list[Command]],
    whole: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    recipe, reference = whole
    hosts.loss = 0.05
    ends = finish(start(recipe, tmp_path / "run"))
    assert [status for status, _ in ends] == [0, 0], ends
    assert hosts.lost > 50 and hosts.passed > 10 * hosts.lost
    assert_same(tmp_path / "run", reference)


def test_a_short_outage_is_ridden_out(
    hosts: TwoHosts,
    start: Callable[[Path, Path], list[Command]],
    whole: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    recipe, reference = whole
    commands = start(recipe, tmp_path / "run")
    commands[0].wait_until(lambda: rows(tmp_path / "run") >= 4)
    hosts.is_up = False
    time.sleep(4)
    hosts.is_up = True
    ends = finish(commands)
    assert [status for status, _ in ends] == [0, 0], ends
    assert hosts.lost > 0
    assert_same(tmp_path / "run", reference)


def test_torchrun_on_both_hosts_ends_too(
    hosts: TwoHosts, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    """Its agents have a store of their own; of `--rdzv-backend c10d`, one waits for it until TCP gives up."""
    recipe, reference = whole
    run = tmp_path / "run"

    def begin() -> list[subprocess.Popen[str]]:
        return [
            subprocess.Popen(
                [
                    *hosts.inside(host),
                    *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"),
                    *("--nproc-per-node", "1", "--node-rank", str(host)),
                    *("--master-addr", hosts.addresses[0], "--master-port", str(PORT)),
                    *("-m", "dianoia", *arguments(recipe, run), *OPTIONS),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=os.environ | {"GLOO_SOCKET_IFNAME": hosts.devices[host]},
                start_new_session=True,
            )
            for host in range(2)
        ]

    agents = begin()
    while rows(run) < 4:
        assert all(agent.poll() is None for agent in agents), [a.communicate() for a in agents]
        time.sleep(0.01)
    hosts.is_up = False
    began = time.monotonic()
    outputs = [agent.communicate(timeout=300)[0] for agent in agents]
    assert time.monotonic() - began < SECONDS, outputs
    for rank, (agent, output) in enumerate(zip(agents, outputs, strict=True)):
        assert agent.returncode and re.search(SILENT.format(rank=1 - rank), output), output
    assert not hosts.processes()
    hosts.is_up = True
    agents = begin()
    outputs = [agent.communicate(timeout=300)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    assert_same(run, reference)
