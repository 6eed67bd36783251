"""A group of several processes, one per rank.

Every exchange begins with a header: the number of the exchange, its verb and its size, so that ranks which are not at the same
exchange say so instead of waiting for one another. Every wait ends: by an answer, by the death of a rank, which its
connections show at once, by its silence (`watch`), or after WAIT_SECONDS.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from hashlib import blake2b
from threading import Lock
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from dianoia.base.cgroups import share_cores
from dianoia.base.errors import ConfigError, RankError
from dianoia.distributed.gradients import add_over_ranks
from dianoia.distributed.group import RankGroup, joined
from dianoia.distributed.object_bytes import pack, unpack
from dianoia.distributed.placement import LOOPBACK, Placement
from dianoia.distributed.shares import claimed_chunks
from dianoia.distributed.watch import Watch
from dianoia.hardware.devices import use_device

T = TypeVar("T")

WAIT_SECONDS = 1800.0
"""Longest wait for ranks that beat. The longest regular one is a rank that decodes the longest response alone."""
_MEET_SECONDS = 300.0
"""Longest wait for all ranks to start: each imports PyTorch, perhaps on a busy machine."""
_INTERFACE = "GLOO_SOCKET_IFNAME"


def exit_at_once(message: str) -> NoReturn:
    """End this process, whose main thread waits for a rank that hangs."""
    print(f"dianoia: {message}", file=sys.stderr, flush=True)  # noqa: T201 - nobody else is left to say it
    os._exit(2)


class ProcessGroup(RankGroup):
    """This process among the ranks of a stage; `close` it when the stage is over."""

    def __init__(
        self,
        placement: Placement,
        device: torch.device,
        on_point: Callable[[str], object] | None = None,
        on_silence: Callable[[str], object] = exit_at_once,
    ) -> None:
        """Meet the other ranks.

        Args:
            on_point: is told what this rank does whenever that changes.
            on_silence: gets a message, in another thread, when a rank hangs; it has to end the process.

        Raises:
            RankError: the others have not come in time.
        """
        self.rank, self.size, self.device = placement.rank, placement.size, device
        self.node_ranks = placement.local_size
        self._placement, self._on_point = placement, on_point
        self._exchanges = self._claims = 0
        self._point = "start"
        if placement.host == LOOPBACK:
            # Gloo would look for an interface by the machine's name, which need not resolve.
            os.environ.setdefault(_INTERFACE, "lo" if sys.platform == "linux" else "lo0")
        try:
            self._store = self._open_store()
            self._watch = Watch(self._connect, self.rank, self.size, on_silence)
            # CPU tensors travel over gloo in any case: objects do, and gradients of models on a CPU.
            backend = "gloo" if device.type == "cpu" else f"cpu:gloo,{device.type}:nccl"
            dist.init_process_group(
                backend,
                store=PrefixStore("group", self._store),
                rank=self.rank,
                world_size=self.size,
                timeout=timedelta(seconds=WAIT_SECONDS),
            )
        except (RuntimeError, OSError) as error:
            raise RankError(
                f"rank {self.rank} of {self.size} could not meet the others at {placement.host}:{placement.port} "
                f"({_first_line(error)}); see what the others say, and whether the address can be reached from every machine"
            ) from error

    def _open_store(self) -> Store:
        wait = timedelta(seconds=_MEET_SECONDS)
        if not self._placement.is_host:
            return self._connect(wait)
        return TCPStore(
            self._placement.host, self._placement.port, self.size, is_master=True, timeout=wait,
            wait_for_workers=False, master_listen_fd=self._placement.listener,
        )  # fmt: skip

    def _connect(self, timeout: timedelta) -> Store:
        """Return a connection to the store."""
        place = self._placement
        return TCPStore(
            place.host, place.port, self.size, is_master=False, timeout=timeout, wait_for_workers=False
        )  # fmt: skip

    def close(self) -> None:
        """Leave the group: every rank is done."""
        # Rank 0 ends last: the store is in its process.
        self.barrier("end")
        self._watch.close()
        dist.destroy_process_group()

    def set_lanes(self, count: int) -> None:
        """See `RankGroup.set_lanes`."""
        self.lanes = count
        self.require_equal({"threads of each rank": count}, "set threads")

    # What it does --------------------------------------------------------------------------------

    def begin(self, verb: str, step: int | None = None) -> None:
        """See `RankGroup.begin`."""
        self._point = verb if step is None else f"{verb} in step {step}"
        self._watch.point = self._point
        if self._on_point is not None:
            self._on_point(self._point)

    @property
    def point(self) -> str:
        """Return what this rank does, such as `sample in step 12`."""
        return self._point

    def report(self, text: str) -> None:
        """Tell the other ranks why this one ends, so that they can say so."""
        with suppress(RuntimeError):  # the store has ended too
            self._watch.report(text)

    # Exchanges -----------------------------------------------------------------------------------

    def gather(self, mine: T, verb: str) -> list[T]:
        """See `RankGroup.gather`."""
        packed = pack(mine)
        with self._waiting(verb):
            sizes = self._meet(verb, packed.numel())
            # All ranks send equally many bytes; what is longer than a rank's own content is not read.
            padded = torch.empty(max(sizes), dtype=torch.uint8)
            padded[: packed.numel()] = packed
            received = [torch.empty_like(padded) for _ in sizes]
            dist.all_gather(received, padded)
        return [
            mine if rank == self.rank else unpack(part[:size], self.device)
            for rank, (part, size) in enumerate(zip(received, sizes, strict=True))
        ]

    def broadcast(self, value: T, verb: str) -> T:
        """See `RankGroup.broadcast`."""
        packed = pack(value if self.rank == 0 else None)
        with self._waiting(verb):
            size = self._meet(verb, packed.numel())[0]
            content = packed if self.rank == 0 else torch.empty(size, dtype=torch.uint8)
            dist.broadcast(content, src=0)
        if self.rank == 0:
            return value
        received: T = unpack(content, self.device)
        return received

    def barrier(self, verb: str) -> None:
        """See `RankGroup.barrier`."""
        with self._waiting(verb):
            self._meet(verb)

    def add_gradients(self, lanes: Sequence[Sequence[Tensor]], active: int, verb: str) -> None:
        """See `RankGroup.add_gradients`."""
        with self._waiting(verb):
            self._meet(verb)
            add_over_ranks(lanes, active, self.lanes)

    @contextmanager
    def exchanging(self, verb: str) -> Iterator[None]:
        """See `RankGroup.exchanging`."""
        with self._waiting(verb):
            self._meet(verb)
            yield

    def claims(self, total: int) -> Callable[[], int | None]:
        """See `RankGroup.claims`; the store counts the chunks that are taken."""
        self._claims += 1
        key = f"claims/{self._claims}"
        # The last but one is over: its numbers were claimed before an exchange that all ranks have passed since.
        if self.rank == 0 and self._claims > 2:
            self._store.delete_key(f"claims/{self._claims - 2}")

        chunks, lock = claimed_chunks(total, self.size), Lock()
        mine: Iterator[int] = iter(())
        is_over = False

        def claim() -> int | None:
            nonlocal mine, is_over
            with lock:
                number = next(mine, None)
                if number is None and not is_over:
                    turn = self._store.add(key, 1) - 1
                    is_over = turn >= len(chunks)
                    mine = iter(()) if is_over else iter(chunks[turn])
                    number = next(mine, None)
                return number

        return claim

    def require_equal(self, values: Mapping[str, Any], verb: str) -> None:
        """See `RankGroup.require_equal`."""
        everyone = self.gather(dict(values), f"compare: {verb}")
        for name, first in everyone[0].items():
            for rank, theirs in enumerate(everyone):
                # NaN is no equal of itself, and the same on all ranks.
                if repr(theirs.get(name)) != repr(first):
                    raise RankError(
                        f"the ranks have come apart at {verb!r}: {name} is {first} on rank 0 and {theirs.get(name)} on rank "
                        f"{rank} of {self.size}, and it has to be the same on all. Nothing of this was written. Run the "
                        "same command again, which resumes from the last state; if it happens again, a reward function or "
                        "a verifier is likely to answer differently from one process to another"
                    )

    def _meet(self, verb: str, size: int = 0) -> list[int]:
        """Exchange headers, and return the size that each rank has sent. Raises RankError for another exchange."""
        self._exchanges += 1
        name = int.from_bytes(blake2b(verb.encode(), digest_size=7).digest(), "big")
        header = torch.tensor([self._exchanges, name, size])
        headers = [torch.empty_like(header) for _ in range(self.size)]
        dist.all_gather(headers, header)
        rows = [row.tolist() for row in headers]
        for rank, (number, theirs, _) in enumerate(rows):
            if (number, theirs) != (self._exchanges, name):
                raise RankError(
                    f"the ranks have come apart: rank {self.rank} of {self.size} is at {verb!r} ({self._point}), its exchange "
                    f"{self._exchanges}, and rank {rank} is at another, its exchange {number}; run the same command again, "
                    "which resumes from the last state"
                )
        return [size for _, _, size in rows]

    @contextmanager
    def _waiting(self, verb: str) -> Iterator[None]:
        """Raise RankError, with what is known of the rank that is lost, for an exchange that breaks off in the block."""
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, RankError | ConfigError):
                raise
            raise self._lost(verb, error) from error

    def _lost(self, verb: str, error: Exception) -> RankError:
        """Return the error of an exchange that has broken off."""
        waited = f"rank {self.rank} waited at {verb!r} ({self._point})"
        resume = "the same command resumes from the last state"
        try:
            failure = self._watch.failure()
            if failure is not None:
                return RankError(
                    f"rank {failure.rank} of {self.size}, {failure.point}: {failure.text}"
                )
            ended = self._watch.ended()
        except RuntimeError:  # the store was in the process of rank 0
            ended = {0: "its last exchange"}
        if len(ended) == 1:
            ((rank, point),) = ended.items()
            return RankError(
                f"rank {rank} of {self.size} has ended without a message ({point}) while {waited}; its process was killed, "
                f"perhaps since memory ran out, or its machine cannot be reached. To go on: {resume}"
            )
        return RankError(
            f"the exchange of {self.size} ranks broke off while {waited}: {_first_line(error)}. To go on: {resume}"
        )


@contextmanager
def among_ranks(
    placement: Placement,
    describe: Callable[[Exception], str],
    on_point: Callable[[str], object] | None = None,
    on_silence: Callable[[str], object] = exit_at_once,
) -> Iterator[ProcessGroup]:
    """Be one of several ranks in the block, with its share of the machine's cores and its own device.

    An error that ends the block is told to the other ranks, as `describe` puts it; `on_point` and `on_silence` are those of
    `ProcessGroup`.
    """
    share_cores(placement.local_size)
    group = ProcessGroup(placement, use_device(placement.local_rank), on_point, on_silence)
    with joined(group):
        try:
            yield group
        except Exception as error:
            group.report(describe(error))
            raise
        # Not in a `finally`: it waits for all ranks, and after an error they do not come.
        group.close()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
