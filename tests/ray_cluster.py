"""A Ray cluster of simulated nodes on this machine, in a process of its own, which the tests ask to add and remove nodes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

PROGRAM = """
import sys
from ray.cluster_utils import Cluster

ROOM = {"object_store_memory": 80 << 20}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **ROOM})
nodes = {}
print("ready", cluster.address, flush=True)
for line in sys.stdin:
    verb, name = line.split()
    if verb == "add":
        nodes[name] = cluster.add_node(num_cpus=1, resources={name: 1}, **ROOM)
        cluster.wait_for_nodes()
    else:
        cluster.remove_node(nodes.pop(name), allow_graceful=False)
    print("ready", verb, flush=True)
cluster.shutdown()
"""
VARIABLES = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
"""Else Ray writes a token to the home folder, and asks who uses it."""
_TRIES = 3
"""A node has 30 seconds to start, which a busy machine may not give it."""


class RayCluster:
    """A head without CPUs, and nodes of one CPU each."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = self._answer()
        """HOST:PORT of the head."""

    def add(self, name: str) -> None:
        """Start a node."""
        self._ask(f"add {name}")

    def remove(self, name: str) -> None:
        """Kill a node."""
        self._ask(f"remove {name}")

    def _ask(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        output: IO[str] | None = self._process.stdout
        assert output is not None
        # Ray prints lines of its own too.
        for line in output:
            if line.startswith("ready "):
                return line.split()[1]
        raise ChildProcessError("the cluster has ended")


@contextmanager
def ray_cluster(*names: str) -> Iterator[RayCluster]:
    """Run a cluster with nodes of these names in the block."""
    for attempt in range(_TRIES):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | VARIABLES,
        )
        try:
            cluster = RayCluster(process)
            for name in names:
                cluster.add(name)
            break
        except (ChildProcessError, BrokenPipeError):
            process.kill()
            # Files that are left open fail the test that runs when they are collected. Processes of Ray may hold the other ends.
            for file in (process.stdin, process.stdout):
                assert file is not None
                with suppress(BrokenPipeError):
                    file.close()
            process.wait()
            if attempt == _TRIES - 1:
                raise
            time.sleep(1)
    try:
        yield cluster
    finally:
        assert process.stdin is not None
        with process:
            process.stdin.close()
            process.wait(60)
