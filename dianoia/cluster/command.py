"""A command on a cluster as the driver sees it: its ranks, what they print, and how they end.

The ranks are the processes that torchrun would start. They notice by themselves when one of them dies, raises or hangs, and
say so; the driver adds what they cannot know, which node is lost, and ends what is left.
"""

import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from dianoia.base.errors import ConfigError, MachineFault, RankError
from dianoia.base.stopping import SIGNAL_NAMES
from dianoia.cluster.bundles import Layout, rank_environment
from dianoia.cluster.rank_actor import News, Place, RankActor, size_of, versions

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

START_SECONDS = 180.0
"""Longest wait for the nodes to have the code: Ray copies it, and starts a process per rank."""
ANSWER_SECONDS = 15.0
"""Silence after which a node counts as lost. An actor answers every second."""
END_SECONDS = 10.0
"""Time for the other ranks to say what they know and end, after one has ended otherwise than well."""
_SHARED_SECONDS = 10.0
"""In which a file that one node has written is seen by another, on a network's file system too."""
_NEWS_SECONDS = 0.5


@dataclass(slots=True, eq=False)
class _Rank:
    """One rank."""

    number: int
    actor: Any
    node: Place
    answered: float
    """When the actor last answered."""
    request: Any = None
    """The call that it has not answered."""
    status: int | None = None
    loss: str | None = None
    """Why its node counts as lost."""

    @property
    def has_ended(self) -> bool:
        return self.status is not None or self.loss is not None

    @property
    def has_failed(self) -> bool:
        return self.loss is not None or self.status not in (None, 0)


class ClusterCommand:
    """A command whose ranks have their places on the cluster."""

    def __init__(self, layout: Layout, group: "PlacementGroup") -> None:
        """Start an actor per rank. Raises MachineFault if a node cannot."""
        self._layout = layout
        self._signals: list[int] = []
        self._are_stopping = False
        actor_class = ray.remote(RankActor)
        actors = [
            actor_class.options(
                num_cpus=layout.cpus,
                num_gpus=layout.gpus,
                # A rank that comes back by itself would meet ranks that are in the middle of an exchange.
                max_restarts=0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, layout.node_of(rank)),
            ).remote()
            for rank in range(layout.size)
        ]
        nodes = _answers([actor.place.remote() for actor in actors])
        now = time.monotonic()
        self._ranks = [
            _Rank(number, actor, node, now)
            for number, (actor, node) in enumerate(zip(actors, nodes, strict=True))
        ]

    @property
    def places(self) -> list[str]:
        """Addresses of the nodes, in the order of their ranks."""
        return [rank.node.address for rank in self._ranks[:: self._layout.per_node]]

    # Checks --------------------------------------------------------------------------------------

    def check_versions(self) -> None:
        """Raise ConfigError if a node has other versions of what decides results."""
        own_versions = versions()
        for rank in self._ranks:
            for name, version in rank.node.versions.items():
                if version != own_versions[name]:
                    raise ConfigError(
                        f"node {rank.node.address} has {name} {version}, and this machine {own_versions[name]}: ranks of different "
                        "versions would come apart. Install the same on every node, from one constraints file"
                    )

    def check_shared(self, folder: Path) -> None:
        """Raise ConfigError unless every node sees the folder in which a run directory is, or will be.

        Each node reads a file that this machine writes, and writes one that this machine reads. Both are removed.
        """
        existing = next(path for path in (folder, *folder.parents) if path.is_dir())
        # One rank per node: a node's own ranks see the same disks.
        for rank in self._ranks[:: self._layout.per_node]:
            token = f"dianoia-{secrets.token_hex(8)}"
            probe, answer = existing / f".{token}", existing / f".{token}-answer"
            try:
                probe.write_text(token, encoding="ascii")
                is_seen = _until(
                    lambda r=rank, t=token: _answers([r.actor.answers.remote(str(existing), t)])[0]  # type: ignore[misc]
                )
                if not (is_seen and _until(answer.exists)):
                    raise ConfigError(
                        f"--out {folder}: node {rank.node.address} does not see {existing} of this machine, and all ranks read and "
                        "write one run directory; give a folder on storage that every node has under the same path, such as NFS"
                    )
            finally:
                probe.unlink(missing_ok=True)
                answer.unlink(missing_ok=True)

    def check_files(self, paths: Sequence[Path]) -> None:
        """Raise ConfigError for a file, named by an absolute path, that a node lacks or has with another size."""
        names = [str(path) for path in paths]
        for rank in self._ranks[:: self._layout.per_node]:
            (sizes,) = _answers([rank.actor.sizes.remote(names)])
            for path, size in zip(paths, sizes, strict=True):
                if size != size_of(path):
                    has = "is not" if size is None else f"has {size:,} bytes instead of {size_of(path):,}"  # fmt: skip
                    raise ConfigError(
                        f"{path} {has} on node {rank.node.address}, and the recipe reads it; put it on storage that every node "
                        "sees, or name it by a path relative to this folder, from which it travels"
                    )

    # The run -------------------------------------------------------------------------------------

    def run(self, arguments: Sequence[str], show: Callable[[int, bool, str], object]) -> int:
        """Run the command on all ranks to its end, and return the exit status of rank 0.

        Args:
            arguments: a module and its arguments.
            show: is called with rank, whether it went to standard error, and the line, for each line that a rank prints.

        Raises:
            RankError: a node is lost, or a rank was killed.
        """
        host, port = self._ranks[0].node.address, self._ranks[0].node.port
        per_node = self._layout.per_node
        try:
            for rank in self._ranks:
                # Ray gives each actor its GPUs alone; a rank sees those of all ranks of its node, and takes its own
                # by its local rank.
                first = rank.number - rank.number % per_node
                gpus = [g for r in self._ranks[first : first + per_node] for g in r.node.gpus]
                environment = rank_environment(rank.number, self._layout, host, port, gpus)
                # Not waited for: an actor does its calls in their order, so that `news` comes after it.
                rank.actor.start.remote(arguments, environment)
            with self._signals_passed_on():
                self._follow(show)
        finally:
            for rank in self._ranks:
                ray.kill(rank.actor)  # and with it the process of the rank
        return self._status()

    def _follow(self, show: Callable[[int, bool, str], object]) -> None:
        """Show what ranks print until all have ended, or until one has failed and the others had their time."""
        deadline = None
        # The clock starts now: it has not run while the nodes were checked.
        for rank in self._ranks:
            rank.answered = time.monotonic()
        while running := [rank for rank in self._ranks if not rank.has_ended]:
            # Not in the handler, which may have interrupted a call of Ray.
            if self._signals and not self._are_stopping:
                self._are_stopping = True
                sent = [rank.actor.send.remote(self._signals[0]) for rank in running]
                ray.wait(sent, num_returns=len(sent), timeout=_NEWS_SECONDS)
            for rank in running:
                # One open call per rank: a second one would only wait behind the first in the actor.
                if rank.request is None:
                    rank.request = rank.actor.news.remote(_NEWS_SECONDS)
            # Those that have answered, as soon as one has.
            ready, _ = ray.wait(
                [rank.request for rank in running], num_returns=len(running), timeout=_NEWS_SECONDS
            )
            for rank in running:
                if rank.request in ready:
                    self._take(rank, show)
                elif time.monotonic() - rank.answered > ANSWER_SECONDS:
                    rank.loss = f"no answer for {ANSWER_SECONDS:.0f} seconds"
            # Once: a further failure, which the first has mostly caused, must not put the end off.
            if deadline is None and any(rank.has_failed for rank in self._ranks):
                deadline = time.monotonic() + END_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                return

    @staticmethod
    def _take(rank: _Rank, show: Callable[[int, bool, str], object]) -> None:
        """Take the answer of a rank."""
        # Cleared first: an answer that is an error is not asked for again.
        request, rank.request = rank.request, None
        try:
            news: News = ray.get(request)
        except RayError as error:
            rank.loss = _reason(error)
            return
        rank.answered, rank.status = time.monotonic(), news.status
        for is_error, line in news.lines:
            show(rank.number, is_error, line)

    @contextmanager
    def _signals_passed_on(self) -> Iterator[None]:
        """In the block, pass Ctrl-C and SIGTERM on to all ranks, as a launcher does; a second one ends the command at once."""
        received = self._signals

        def pass_on(number: int, _frame: object) -> None:
            if received:
                raise KeyboardInterrupt(f"ended by {SIGNAL_NAMES[signal.Signals(number)]}, without a last state")  # fmt: skip
            received.append(number)

        before = {number: signal.signal(number, pass_on) for number in SIGNAL_NAMES}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _status(self) -> int:
        """Return the exit status of the command. Raises RankError for a lost node or a rank that was killed."""
        advice = "The stage is not done: the same command resumes it from its last state"
        size = self._layout.size
        # A lost node is named before a killed process: the loss is what killed it, or what others saw of it.
        lost = [rank for rank in self._ranks if rank.loss is not None]
        if lost:
            texts = [
                f"rank {rank.number} of {size} is lost with its node {rank.node.address} ({rank.loss})"
                for rank in lost
            ]
            raise RankError(
                f"{'; '.join(texts)}. {advice}, once the cluster has a node for {self._layout.per_node} of {size} ranks again"
            )
        for rank in self._ranks:
            if rank.status is not None and rank.status < 0:
                raise RankError(
                    f"rank {rank.number} of {size} on node {rank.node.address} was ended by signal {-rank.status}; its memory "
                    f"may have run out. {advice}"
                )
        # Ranks that had to be ended have no status, and only rank 0 reports.
        statuses = [rank.status for rank in self._ranks if rank.status is not None]
        return self._ranks[0].status or max(statuses, default=0)


def _answers(calls: Sequence[Any]) -> list[Any]:
    """Return what actors answer. Raises MachineFault if one cannot be started or does not answer."""
    try:
        return list(ray.get(list(calls), timeout=START_SECONDS))
    except RayError as error:
        raise MachineFault(
            f"a node of the Ray cluster could not start a rank ({_reason(error)}); `ray status` and the logs of Ray on the node "
            "say more"
        ) from error


def _reason(error: Exception) -> str:
    """Return class and first line of an error of Ray, whose texts are long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200].rstrip('.')}" if lines else type(error).__name__  # fmt: skip


def _until(true: Callable[[], bool]) -> bool:
    """Return whether it becomes true in the time that a file takes from one node to another."""
    deadline = time.monotonic() + _SHARED_SECONDS
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def show_line(rank: int, is_error: bool, line: str) -> None:
    """Print a line of a rank where it would have gone without a cluster; ranks other than 0 with their number."""
    stream = sys.stderr if is_error else sys.stdout
    stream.write(line if rank == 0 else f"rank {rank}: {line}")
    stream.flush()
