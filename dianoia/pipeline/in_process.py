"""Executor that runs each stage in this process, as soon as it is started. Imports PyTorch."""

from contextlib import AbstractContextManager, nullcontext

from dianoia.pipeline.scheduler import Job
from dianoia.pipeline.stage import run_stage


class InProcess:
    """Runs one stage at a time. An error of a stage is raised by `start`, unchanged."""

    def __init__(self) -> None:
        self._ended: list[Job] = []

    def running(self) -> AbstractContextManager[object]:
        """Hold nothing: there is no process to end."""
        return nullcontext()

    def start(self, job: Job) -> None:
        """Run the stage to its end."""
        run_stage(job.request, job.progress)
        self._ended.append(job)

    def wait(self) -> list[tuple[Job, Exception | None]]:
        """Return the job that has just ended."""
        ended, self._ended = self._ended, []
        return [(job, None) for job in ended]
