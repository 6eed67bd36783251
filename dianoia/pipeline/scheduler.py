"""Runs the stages of one or several recipes, as many at the same time as there are jobs. No torch.

In: runs with their plans, and an `Executor` that runs a stage: in this process (`stage.InProcess`) or in a process per stage
(`stage_processes`). The scheduler starts stages, shows their progress and keeps every `results.json` true. Results do
not depend on the number of jobs, times aside, as long as the number of threads per stage is the same: a stage knows
nothing of the others.

If a stage fails, no new stage starts, the stages at work run to their end, and then the error is raised.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console

from dianoia.base.errors import StageCrashed, Stopped, UserError
from dianoia.base.progress import Board, Progress, Reporter
from dianoia.base.stopping import stop_on_signals, stop_reason
from dianoia.distributed.placement import ALONE, RankCount
from dianoia.hardware.machine import threads_per_rank
from dianoia.pipeline.messages import Request
from dianoia.pipeline.results import (
    PlannedRun,
    begin,
    write_beginning,
    write_failure,
    write_results,
)
from dianoia.recipe.check.sandbox_use import requested_sandbox
from dianoia.recipe.graph import upstream
from dianoia.recipe.plan.disk import check_disk
from dianoia.recipe.stage_order import next_stage

Key = tuple[int, str]
"""A stage of this command: index of its run, and its name."""


@dataclass(frozen=True, slots=True)
class Job:
    """One stage at work."""

    key: Key
    request: Request
    progress: Progress


class Executor(Protocol):
    """Runs stages."""

    def running(self) -> AbstractContextManager[object]:
        """Return a context manager; at its end no stage is left running."""
        ...

    def start(self, request: Request, reporter: Reporter) -> None:
        """Start a stage. An executor that runs it right away returns when it has ended, and raises its error."""
        ...

    def wait(self, running: Sequence[Request]) -> list[tuple[Request, Exception | None]]:
        """Wait a moment, pass progress on, and return which of the running stages have ended, each with its error."""
        ...


def run_recipes(
    runs: Sequence[PlannedRun],
    jobs: int,
    executor: Executor,
    command: str,
    console: Console,
    ranks: RankCount = ALONE,
) -> None:
    """Do what the plans say, `jobs` stages at a time each by `ranks`, and keep every `results.json` true.

    The inputs of the recipes have been checked.

    Raises:
        MachineFault: the disk has too little space, or another fault of the machine.
        Stopped: the user asked to stop; the stages at work have written their states.
        UserError, StageCrashed: the first error of a stage.
    """
    for planned in runs:
        check_disk(planned.recipe, planned.plan, planned.run.path, jobs)
    # Everything that can be refused has been refused. From here on files are written.
    with executor.running(), Board(console) as board:
        for planned in runs:
            write_beginning(planned, command, jobs, ranks.size)
        scheduler = Scheduler(runs, jobs, board, ranks)
        with stop_on_signals(board.print_line):
            while True:
                while (job := scheduler.next_job()) is not None:
                    with scheduler.failure_written(job), _naming_signal(job.request.title):
                        executor.start(job.request, job.progress)
                if not scheduler.running:
                    break
                for request, error in executor.wait(list(scheduler.running)):
                    scheduler.finish(request, error)
            reason = stop_reason()  # before the block ends, which forgets it
    for planned in runs:
        write_results(planned)
    failures = [error for error in scheduler.errors if not isinstance(error, Stopped)]
    if failures:
        raise failures[0]
    # A stop that came when every stage was done has stopped nothing.
    if reason is not None and (scheduler.errors or scheduler.waiting):
        raise _stop_message(reason, scheduler.stopped)


@contextmanager
def _naming_signal(title: str) -> Iterator[None]:
    """Add the signal and the stage's name to a stop in the block, which says where in the stage it was."""
    try:
        yield
    except Stopped as stop:
        reason = stop_reason() or Stopped("stopped")
        raise _stop_message(reason, [f"{title} {stop}"]) from None


def _stop_message(reason: UserError, points: Sequence[str]) -> UserError:
    """Return `stopped by SIGTERM: zero after step 12 of 24`; a reason of another class, a full disk, as it is."""
    if not points or not isinstance(reason, Stopped):
        return reason
    return Stopped(f"{reason}: {', '.join(points)}")


class Scheduler:
    """Says which stage starts next, and keeps account of those that run and those that have ended."""

    def __init__(
        self, runs: Sequence[PlannedRun], jobs: int, board: Board, ranks: RankCount = ALONE
    ) -> None:
        self._runs, self._jobs, self._board, self._ranks = runs, jobs, board, ranks
        self._tasks = {
            (index, task.name): task
            for index, planned in enumerate(runs)
            for task in planned.plan
            if task.runs
        }
        self._needs = {key: self._sources(key) for key in self._tasks}
        self._prefixes = {key: self._prefix(key) for key in self._tasks}
        self._width = max((len(self._prefixes[key] + key[1]) for key in self._tasks), default=0)
        self._begun: list[Key] = []
        self._done: set[Key] = set()
        self.running: dict[Request, Job] = {}
        self.errors: list[Exception] = []
        self.stopped: list[str] = []
        """Where each stage was that has stopped: `zero after step 12 of 24`."""

    @property
    def waiting(self) -> int:
        """Number of stages that have not begun."""
        return len(self._tasks) - len(self._begun)

    def next_job(self) -> Job | None:
        """Begin the stage to start now, and return it; None if no stage is to start now.

        None is to start if no job is free, no stage is ready, one has failed, or the user asked to stop.
        """
        if len(self.running) >= self._jobs or self.errors or stop_reason() is not None:
            return None
        stage = next_stage(self._needs, self._begun, self._done, self._jobs)
        return None if stage is None else self._begin(stage)

    def _begin(self, key: Key) -> Job:
        index, name = key
        planned = self._runs[index]
        recipe = planned.recipe
        begin(self._tasks[key], planned)  # the folder must be ready before its process looks at it
        threads = threads_per_rank(
            recipe.threads, self._jobs, self._ranks.size, self._ranks.per_machine
        )
        sandbox = requested_sandbox(recipe)
        request = Request(
            name, self._title(key), recipe, planned.run, threads, sandbox, self._ranks.size
        )
        prefix = self._prefixes[key]
        progress = self._board.stage(f"{prefix}{name}".ljust(self._width), prefix)
        # Before the executor starts it: one that runs stages in this process returns only when the stage has ended.
        self._begun.append(key)
        self.running[request] = Job(key, request, progress)
        return self.running[request]

    def finish(self, request: Request, error: Exception | None) -> None:
        """Take note of a stage that has ended."""
        job = self.running.pop(request)
        job.progress.close()
        if error is None:
            self._done.add(job.key)
            job.progress.done(request.name)
        else:
            self.errors.append(error)
            self._write_failure(job, error)
            self._report_failure(request.title, error)
        # Also after a failure: the stage is interrupted now, and results of its dependents may be out of date.
        write_results(self._runs[job.key[0]])

    @contextmanager
    def failure_written(self, job: Job) -> Iterator[None]:
        """Write the error of an executor that runs the stage right away, which leaves the block."""
        try:
            yield
        except Exception as error:
            self._write_failure(job, error)
            raise

    def _write_failure(self, job: Job, error: Exception) -> None:
        # A stage that the user has stopped has not failed.
        if not isinstance(error, Stopped):
            write_failure(job.request.run.stage(job.request.name), error)

    def _report_failure(self, title: str, error: Exception) -> None:
        if isinstance(error, Stopped):
            self._board.print_line(f"{title}: stopped {error}; the same command resumes it")
            self.stopped.append(f"{title} {error}")
            return
        is_first, text = len(self.errors) == 1, str(error).rstrip()
        others = ", ".join(request.title for request in self.running)
        if is_first and not others:
            return  # `run_recipes` raises this error now, and the command prints it
        if is_first and isinstance(error, StageCrashed):
            text = text.rpartition("\n")[2]  # the traceback is printed when the error is raised
        waits = f"; no new stage starts, those at work run to their end: {others}" if others else ""
        self._board.print_line(f"{title} failed{waits}\n{text}")

    def _sources(self, key: Key) -> list[Key]:
        """Return the stages with work that a stage reads."""
        index, name = key
        # Sources without work are done: the plan refuses a stage whose source is missing.
        sources = [(index, source) for source in upstream(name, self._runs[index].recipe)]
        return [source for source in sources if source in self._tasks]

    def _title(self, key: Key) -> str:
        index, name = key
        return f"seed {self._runs[index].recipe.seed}: {name}" if len(self._runs) > 1 else name

    def _prefix(self, key: Key) -> str:
        """Return the start of each line of a stage, such as `[ 7/22] seed 1: `."""
        names = list(self._runs[key[0]].recipe.stages)
        # The number is the position in the recipe, not in time: the same stage has the same number in every run.
        number = f"{names.index(key[1]) + 1:>{len(str(len(names)))}}"
        return f"[{number}/{len(names)}] {self._title(key).removesuffix(key[1])}"
