"""A command that a launcher such as torchrun has started once per rank: the processes exist, and stay for all stages.

Rank 0 plans, schedules, prints and writes, as a command by itself does; it tells the others which stage runs. The others do
nothing else, and end with it.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from dianoia.base.cgroups import share_cores
from dianoia.base.errors import RankError, UserError
from dianoia.base.progress import Reporter, Silence
from dianoia.base.stopping import SIGNAL_NAMES
from dianoia.distributed.group import joined
from dianoia.distributed.placement import Placement
from dianoia.distributed.process_group import ProcessGroup, exit_at_once
from dianoia.hardware import devices
from dianoia.pipeline.messages import Request
from dianoia.pipeline.results import write_failure
from dianoia.pipeline.stage import run_stage

_NEXT = "wait for the next stage"


class LaunchedRanks:
    """Executor of rank 0: runs one stage at a time, together with the other ranks."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._request: Request | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Meet the other ranks, and let them go at the end."""
        with _group(self._placement, self._end) as self._group:
            yield
            self._group.broadcast(None, _NEXT)

    def start(self, request: Request, reporter: Reporter) -> None:
        """Run a stage to its end on all ranks."""
        self._request = request
        self._group.broadcast(request, _NEXT)
        run_stage(request, reporter)
        self._request = None

    def _end(self, message: str) -> NoReturn:
        """End the process because another rank hangs; called in a thread while the stage waits for that rank."""
        if (request := self._request) is not None:
            write_failure(request.run.stage(request.name), RankError(message))
        exit_at_once(message)

    def wait(self, running: Sequence[Request]) -> list[tuple[Request, Exception | None]]:
        """Return the stage that has just ended."""
        return [(request, None) for request in running]


def follow(placement: Placement) -> int:
    """Run the stages that rank 0 names until there is none left; return the exit status of this rank."""
    # A signal goes to all ranks: rank 0 finishes its step, and the others have to go on for as long.
    for number in SIGNAL_NAMES:
        signal.signal(number, lambda *_: None)
    stdout = sys.stdout
    try:
        with _group(placement) as group, open(os.devnull, "w", encoding="utf-8") as sys.stdout:  # noqa: PTH123
            while (request := _next(group)) is not None:
                run_stage(request, Silence())
    except RankError:
        return 1  # rank 0 has seen it too, or has caused it
    except UserError as error:
        print(f"rank {placement.rank} of {placement.size}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    finally:
        sys.stdout = stdout
    return 0


def _next(group: ProcessGroup) -> Request | None:
    """Return the stage that rank 0 names; None at the end."""
    asked: Request | None = None
    return group.broadcast(asked, _NEXT)


@contextmanager
def _group(
    placement: Placement, on_silence: Callable[[str], NoReturn] = exit_at_once
) -> Iterator[ProcessGroup]:
    """Be one of the launched ranks in the block, and tell the others of an error that ends it."""
    share_cores(placement.local_size)
    device = devices.use_device(placement.local_rank)
    group = ProcessGroup(placement, device, on_silence=on_silence)
    with joined(group):
        try:
            yield group
        except Exception as error:
            group.report(f"{type(error).__name__}: {error}")
            raise
        group.close()
