"""The driver of a command on a Ray cluster: connects, reserves room, has everything checked, and runs the ranks there.

In: the files that travel, the command's words, and a rule that lays its ranks out on the nodes that there are. Out: the exit status
of rank 0. Ray is imported late: without it the message says how to install it.
"""

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dianoia.base.errors import ConfigError, MachineFault
from dianoia.base.extras import pip_install
from dianoia.cluster.bundles import Layout, Node
from dianoia.cluster.shipment import Shipment, copy_files

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

ROOM_SECONDS = 120.0
"""Longest wait for others to give back what the ranks need."""
_CONNECT_SECONDS = 10.0


def run_ranks(
    cluster: str,
    shipment: Shipment,
    variables: Mapping[str, str],
    lay_out_on: Callable[[Sequence[Node]], Layout],
    out: Path,
    arguments: Sequence[str],
) -> int:
    """Run a command once per rank, in a copy of the files that travel, and return the exit status of rank 0.

    Args:
        cluster: as typed.
        variables: of the environment of every rank, beside those that torchrun would set.
        lay_out_on: returns the layout of the ranks on the cluster's nodes.
        out: the run directory, which every node has to see.
        arguments: module and arguments of each rank.

    Raises:
        ConfigError: there is no such cluster, it has no room for the ranks, or a node lacks a version or file.
        MachineFault: others use the room.
        RankError: a node is lost, or a rank was killed.
    """
    with TemporaryDirectory(prefix="dianoia-") as folder:
        copy_files(shipment.travelling, Path(folder))
        with connected(cluster, Path(folder), variables):
            layout = lay_out_on(_nodes())
            with _reserved(layout) as room:
                from dianoia.cluster.command import ClusterCommand, show_line

                command = ClusterCommand(layout, room)
                command.check_versions()
                command.check_shared(out)
                command.check_files(shipment.expected)
                print(_placement_text(layout, command.places), file=sys.stderr)  # noqa: T201
                return command.run(arguments, show_line)


def _placement_text(layout: Layout, places: Sequence[str]) -> str:
    ranks = f"{layout.size} ranks on {layout.nodes} node{'s' if layout.nodes > 1 else ''}"
    return f"cluster: {ranks}, {layout.per_node} each: {', '.join(places)}"


# The cluster --------------------------------------------------------------------------------------


def address_of(cluster: str) -> str:
    """Return the address in `ray` or `ray=HOST:PORT`: `auto` for the cluster that this machine belongs to.

    Raises:
        ConfigError: it is neither.
    """
    kind, sign, address = cluster.partition("=")
    host, _, port = address.rpartition(":")
    if kind != "ray" or (sign and not (host and port.isascii() and port.isdigit()) and address != "auto"):  # fmt: skip
        raise ConfigError(
            f"--cluster {cluster}: this is no cluster; write ray for the Ray cluster that this machine belongs to, or "
            "ray=HOST:PORT with the address that `ray start --head` has printed, such as ray=10.0.0.1:6379"
        )
    return address or "auto"


@contextmanager
def connected(cluster: str, folder: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """In the block, be a driver of the cluster whose workers run in a copy of `folder`, with the package of this process.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """
    address = address_of(cluster)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a warning
    try:
        import ray
    except ModuleNotFoundError:
        raise ConfigError(
            f"--cluster {cluster}: the package ray is not installed here; {pip_install('ray')}, on every node"
        ) from None
    if address != "auto":
        _check_reachable(cluster, address)
    environment = {
        "working_dir": str(folder),
        "py_modules": [str(Path(__file__).parent.parent)],
        "excludes": ["**/__pycache__"],
        "env_vars": dict(variables),
    }
    try:
        ray.init(address, runtime_env=environment, log_to_driver=False, logging_level="ERROR")
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"--cluster {cluster}: no connection to a Ray cluster ({reason}). Start the command on a machine that belongs to "
            "it (`ray start --address HOST:PORT`), with the same versions of Python and Ray"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(cluster: str, address: str) -> None:
    """Raise ConfigError if nothing listens at an address: Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"--cluster {cluster}: nothing answers at {address} ({error}); give the address that `ray start --head` has printed, "
            "and see whether that machine can be reached"
        ) from None


def _nodes() -> list[Node]:
    """Return the nodes of the cluster that are alive."""
    import ray

    return [
        Node(row["NodeManagerAddress"], _resource(row, "CPU"), _resource(row, "GPU"))
        for row in ray.nodes()
        if row["Alive"]
    ]


def _resource(row: Mapping[str, Any], name: str) -> float:
    return float(row["Resources"].get(name, 0.0))


@contextmanager
def _reserved(layout: Layout) -> "Iterator[PlacementGroup]":
    """Reserve the room of a layout for the block, each bundle on a node of its own.

    Raises:
        MachineFault: others use it, and have not given it back in time.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group(layout.bundles(), strategy="STRICT_SPREAD")
    try:
        if not group.wait(ROOM_SECONDS):
            free = ray.available_resources()
            raise MachineFault(
                f"no room on the Ray cluster for {layout.size} ranks within {ROOM_SECONDS:.0f} seconds: it has enough, but others "
                f"use it; free are {free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs. Run the same command again when "
                "they have ended, or with fewer ranks"
            )
        yield group
    finally:
        with suppress(ray.exceptions.RayError):
            remove_placement_group(group)
