"""Executor that runs each stage in this process, as soon as it is started. Imports PyTorch."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from dianoia.pipeline.messages import Request
from dianoia.pipeline.stage import run_stage


class InProcess:
    """Runs one stage at a time: `start` returns when the stage has ended, and raises its error unchanged."""

    start = staticmethod(run_stage)

    def running(self) -> AbstractContextManager[object]:
        """Hold nothing: there is no process to end."""
        return nullcontext()

    def wait(self, running: Sequence[Request]) -> list[tuple[Request, Exception | None]]:
        """Return the stage that has just ended."""
        return [(request, None) for request in running]
