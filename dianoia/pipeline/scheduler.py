"""Runs the stages of one or several recipes side by side, as many at a time as there are jobs. No torch here.

In: what is to be run, and where. Each stage runs in a process of its own (`host`, `child`); this one begins
stages, shows how they go and keeps `results.json` true. Out: what `run` leaves, to the last bit, times aside, as
long as the number of threads is the same: a stage knows nothing of those beside it.

Where a stage fails nothing new begins, those that are running are left to finish, and then its error is raised.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection, wait

from rich.console import Console

from dianoia.base import errors
from dianoia.base.errors import StageCrashed, Stopped, UserError
from dianoia.base.progress import Board, Progress
from dianoia.base.stopping import asked, on_signals
from dianoia.hardware.machine import thread_count
from dianoia.pipeline.fork_server import Host
from dianoia.pipeline.messages import STOP, Done, Expected, Failed, Message, Moved, Request, Told
from dianoia.pipeline.order import next_up
from dianoia.pipeline.results import Planned, begin, write_beginning, write_results
from dianoia.recipe.check.sandbox_use import requested_sandbox
from dianoia.recipe.graph import upstream
from dianoia.recipe.plan.disk import check_disk

_LOOK_SECONDS = 0.2
"""Between two looks whether somebody has asked to stop."""
Key = tuple[int, str]
"""A stage: which run, and its name."""


def run_side_by_side(runs: Sequence[Planned], jobs: int, command: str, console: Console) -> None:
    """Do what the plans say, `jobs` stages at a time, and keep every `results.json` true.

    Raises:
        ConfigError, ModelError, ProblemFileError: something cannot be run; nothing was begun.
        UserError, StageCrashed: the first error of a stage.
    """
    for planned in runs:
        check_disk(planned.recipe, planned.plan, planned.run.path, jobs)
    locks = [planned.lock for planned in runs if planned.lock is not None]
    with Host(locks) as host, Board(console) as board:
        for planned in runs:
            write_beginning(planned, command, jobs)
        floor = _Floor(runs, jobs, host, board)
        with on_signals(board.say):
            floor.work()
            reason = asked()
    for planned in runs:
        write_results(planned)
    failures = [one for one in floor.failures if one[1].kind != Stopped.__name__]
    if failures:
        raise _error(*failures[0])
    if reason is not None and (floor.failures or floor.left):
        raise reason


@dataclass(slots=True)
class _Running:
    """A stage at work."""

    key: Key
    title: str
    connection: Connection
    progress: Progress
    began: float = field(default_factory=time.monotonic)
    outcome: Done | Failed | None = None
    heard: bool = False
    """Whether all that it has said was read."""


class _Floor:
    """Where stages are at work."""

    def __init__(self, runs: Sequence[Planned], jobs: int, host: Host, board: Board) -> None:
        self._runs, self._jobs, self._host, self._board = runs, jobs, host, board
        self._todos = {
            (place, todo.name): todo
            for place, planned in enumerate(runs)
            for todo in planned.plan
            if todo.runs
        }
        self._needs = {key: self._sources(key) for key in self._todos}
        self._running: dict[int, _Running] = {}
        self._begun: list[Key] = []
        self._done: set[Key] = set()
        self._told = False
        self.failures: list[tuple[str, Failed]] = []

    def _sources(self, key: Key) -> list[Key]:
        place, name = key
        sources = [(place, source) for source in upstream(name, self._runs[place].recipe)]
        return [source for source in sources if source in self._todos]

    @property
    def left(self) -> int:
        """Stages that have not begun."""
        return len(self._todos) - len(self._begun)

    def work(self) -> None:
        """Until nothing is running and nothing more can begin."""
        try:
            self._fill()
            while self._running:
                self._listen()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise UserError(
                "the process that starts the stages has ended, and with it every stage, as where the system finds that "
                "memory runs out; the same command goes on from the last states, and needs less memory with fewer --jobs"
            ) from None

    def _fill(self) -> None:
        """Begin what there is room for."""
        while len(self._running) < self._jobs and not self.failures and asked() is None:
            ready = next_up(self._needs, self._begun, self._done)
            if not ready:
                return
            self._begin(ready[0])

    def _begin(self, key: Key) -> None:
        planned, number = self._runs[key[0]], len(self._begun)
        recipe = planned.recipe
        begin(self._todos[key], planned)
        prefix = f"seed {recipe.seed}: " if len(self._runs) > 1 else ""
        threads = thread_count(recipe.threads, self._jobs)
        connection = self._host.start(number)
        capture = self._board.console.is_terminal
        sandbox = requested_sandbox(recipe)
        with suppress(
            BrokenPipeError, ConnectionResetError
        ):  # it has just been killed: `_ended` tells
            connection.send(Request(key[1], recipe, planned.run, threads, sandbox, capture))
        progress = self._board.stage(key[1], prefix)
        self._running[number] = _Running(key, prefix + key[1], connection, progress)
        self._begun.append(key)

    def _listen(self) -> None:
        """Wait until somebody has something to say, and hear it."""
        speaking = {one.connection: one for one in self._running.values() if not one.heard}
        self._pass_on()
        for ready in wait([self._host.control, *speaking], _LOOK_SECONDS):
            if ready is self._host.control:
                self._ended(*self._host.ended())
            elif not speaking[ready].connection.closed:  # type: ignore[index]
                _hear(speaking[ready])  # type: ignore[index]

    def _pass_on(self) -> None:
        """Tell the stages at work to stop, once somebody has asked."""
        if self._told or asked() is None:
            return
        self._told = True
        for stage in self._running.values():
            with suppress(OSError):  # it has ended meanwhile
                stage.connection.send(STOP)

    def _ended(self, number: int, status: int) -> None:
        """A process is gone: read what it had still to say, and go on."""
        stage = self._running[number]
        while not stage.heard and stage.connection.poll():
            _hear(stage)
        stage.connection.close()
        stage.progress.close()
        del self._running[number]
        if isinstance(stage.outcome, Done):
            self._done.add(stage.key)
            took = timedelta(seconds=round(time.monotonic() - stage.began))
            self._board.say(f"{stage.title}: done in {took}")
        else:
            self._failed(stage.title, stage.outcome or _killed(stage.title, status))
        write_results(self._runs[stage.key[0]])
        self._fill()

    def _failed(self, title: str, failure: Failed) -> None:
        self.failures.append((title, failure))
        if failure.kind == Stopped.__name__:
            self._board.say(f"{title}: stopped; the same command goes on with it")
            return
        first, text = len(self.failures) == 1, failure.text.rstrip()
        left = ", ".join(one.title for one in self._running.values())
        if first and not left:
            return  # the error that is raised now says it all
        if first and failure.kind is None:
            text = text.rpartition("\n")[2]  # its traceback is raised once the others have finished
        waits = f"; nothing new begins, what runs is left to finish: {left}" if left else ""
        self._board.say(f"{title} failed{waits}\n{text}")


def _hear(stage: _Running) -> None:
    """One message of a stage, or that there will be no more."""
    try:
        message: Message = stage.connection.recv()
    except (EOFError, ConnectionResetError):
        stage.heard = True
        return
    match message:
        case Expected(total):
            stage.progress.expect(total)
        case Moved(done, figures):
            stage.progress.show(done, figures)
        case Told(text):
            stage.progress.say(text)
        case Done() | Failed():
            stage.outcome = message


def _killed(title: str, status: int) -> Failed:
    how = f"ended by itself with status {status}"
    if status < 0:
        how = f"was ended from outside by signal {-status}, as where the system finds that memory runs out"
    return Failed(
        f"the process of {title} {how}; the stage is not done. The same command goes on from its last state, and "
        "needs less memory with fewer --jobs",
        UserError.__name__,
    )


def _error(title: str, failure: Failed) -> Exception:
    """The error to raise for what a stage told."""
    if failure.kind is None:
        return StageCrashed(f"{title} was ended by an error of the program\n{failure.text}")
    kind: type[UserError] = getattr(errors, failure.kind)
    return kind(failure.text)
