"""Runs one stage in its folder, in this process: checks what it reads, runs it, writes its manifest.

A manifest names the files that later stages read, with their digests; the checkpoint has its own `SHA256SUMS`. Before a
stage begins, the outputs of the stages that it reads are compared with them.

Executors that start no process: `InProcess` of a command by itself, and those of a command that a launcher such as torchrun
has started once per rank, whose processes stay for all stages. Of these, rank 0 plans, schedules, prints and writes, as a command
by itself does (`LaunchedRanks`); it tells the others which stage runs, and they do nothing else, and end with it (`follow`).
"""

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import torch
from transformers.utils.logging import disable_progress_bar

from dianoia.base.collector import objects_frozen
from dianoia.base.disk_space import release_space
from dianoia.base.errors import ConfigError, RankError, UserError
from dianoia.base.files import SUMS, check_folder, digest, read_table, write_json
from dianoia.base.progress import Reporter, Silence
from dianoia.base.stopping import SIGNAL_NAMES, stop_if_requested
from dianoia.bases import shipped_model
from dianoia.config import (
    DemonstrationsStage,
    EvaluateStage,
    PreferencesStage,
    PretrainStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.distributed.group import ranks
from dianoia.distributed.placement import Placement
from dianoia.distributed.process_group import ProcessGroup, among_ranks, exit_at_once
from dianoia.hardware import devices
from dianoia.learner.checkpoint_folder import Draw
from dianoia.learner.shards import Sharding
from dianoia.pipeline.messages import Request
from dianoia.pipeline.results import write_failure
from dianoia.recipe.graph import Recipe, Stage, upstream
from dianoia.recipe.plan.disk import reserve_stage_space
from dianoia.recipe.plan.layout import Layout
from dianoia.recipe.plan.run_plan import sharding_of
from dianoia.stages import (
    demonstrations,
    evaluate,
    preferences,
    pretrain,
    reward_model,
    rl,
    sample,
    sft,
)
from dianoia.stages.context import StageContext
from dianoia.storage.journal import record_seconds
from dianoia.storage.run_directory import RunDirectory, StageDirectory, check_output
from dianoia.storage.state import changed_journals
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.code import use_sandbox
from dianoia.tasks.problem_ranges import problem_range

_WEIGHTS = "*.safetensors"
_NEXT = "wait for the next stage"
"""Verb of the exchange in which rank 0 of a launched command names a stage."""
_STAGE_MODULES: Mapping[type[Stage], ModuleType] = {
    PretrainStage: pretrain,
    SFTStage: sft,
    RLStage: rl,
    SampleStage: sample,
    DemonstrationsStage: demonstrations,
    PreferencesStage: preferences,
    RewardModelStage: reward_model,
    EvaluateStage: evaluate,
}
"""Module whose `run(table, context)` runs a stage, by the class of its table."""


def run_stage(request: Request, reporter: Reporter) -> None:
    """Run a stage, whose folder is ready, until its manifest is written; on other ranks than the first its work alone.

    Raises:
        DamagedFile: what it reads is not what earlier stages wrote.
        Stopped: the user asked to stop; the stage has written its state.
    """
    name, recipe, run = request.name, request.recipe, request.run
    stage, directory = recipe.stages[name], run.stage(name)
    device = settle(request.threads, request.sandbox)  # before the first computation
    module, group = _STAGE_MODULES[type(stage)], ranks()
    if group.writes:
        check_sources(name, recipe, run)
    group.barrier("check inputs")
    if not group.writes:
        module.run(stage, _context(request, reporter, device))
        return
    try:
        reserve_stage_space(name, recipe, directory.path)
        with record_seconds(directory.seconds_file) as write_seconds:
            progress = _StageReporter(reporter, write_seconds, isinstance(stage, EvaluateStage))
            progress.set_total(_total(name, recipe))
            for line in changed_journals(directory.state):
                progress.print_line(f"{name}: {line}")
            module.run(stage, _context(request, progress, device))
            # The stage has written its last state. The manifest is the last file: it makes the stage done.
            release_space()
            write_manifest(directory, write_seconds())
    finally:
        release_space()
    # Only now: a kill before the manifest must find the state.
    directory.forget_state()


def _context(request: Request, reporter: Reporter, device: torch.device) -> StageContext:
    """Return what the stage's own module works with, on every rank."""
    name, recipe, run = request.name, request.recipe, request.run
    return StageContext(
        name,
        run.stage(name),
        recipe.seed,
        device,
        _resolver(recipe, run),
        reporter,
        ranks().writes,
        recipe.templates,
        draw_of(name, recipe),
        _sharding(name, recipe, device),
    )


def settle(threads: int, sandbox: str) -> torch.device:
    """Set threads, exact arithmetic and sandbox of this process, and return its device."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    devices.use_threads(threads)
    device = devices.pick_device()
    # A GPU has one replica, however many threads its process has.
    ranks().set_lanes(threads if device.type == "cpu" else 1)
    devices.use_deterministic_kernels(device)
    use_sandbox(sandbox)
    return device


def _sharding(name: str, recipe: Recipe, device: torch.device) -> Sharding | None:
    """Return how the ranks of this stage hold its model together, by its key `shard`; None: each has a copy. Collective."""
    group = ranks()
    if group.size == 1:
        return None
    layout = Layout(group.size, group.node_ranks)
    # Rank 0 chooses: another machine may have another memory.
    choice = sharding_of(name, recipe, layout) if group.rank == 0 else layout.shard
    together = layout.with_shard(group.broadcast(choice, "choose shards")).group
    if group.size % together:
        raise ConfigError(
            f'stages.{name}: shard = "node": {group.size} ranks in nodes of {together} leave a node with fewer ranks than the '
            'others, and each node has to hold one copy of the model; start as many ranks on each node, or set shard = "all"'
        )
    return None if together == 1 else Sharding.over(group, device, together)


class _StageReporter(Reporter):
    """Passes the reports of a stage on; each update also writes the elapsed seconds to disk."""

    def __init__(
        self, reporter: Reporter, write_seconds: Callable[[], object], stops_here: bool
    ) -> None:
        """`stops_here`: the stage has written what it has sampled before an update, so a request to stop is obeyed there."""
        self._reporter, self._write_seconds, self._stops_here = reporter, write_seconds, stops_here
        self._total = 0

    def set_total(self, total: int) -> None:
        self._total = total
        self._reporter.set_total(total)

    def update(self, done: int, metrics: Mapping[str, float | None]) -> None:
        self._write_seconds()
        self._reporter.update(done, metrics)
        if self._stops_here:
            stop_if_requested(point=f"after problem {done:,} of {self._total:,}")

    def print_line(self, text: str) -> None:
        self._reporter.print_line(text)


def _total(name: str, recipe: Recipe) -> int:
    """Return the total that progress counts to: steps, tokens, problems or rows, depending on the kind of stage."""
    stage: Stage = recipe.stages[name]
    match stage:
        case PretrainStage():
            return stage.tokens
        case SFTStage() | RewardModelStage():
            return stage.epochs  # until the stage has counted its data and knows its steps
        case RLStage():
            return stage.steps
        case SampleStage():
            return len(problem_range(problem_source(stage.problems), stage.first, stage.prompts))
        case DemonstrationsStage():
            return stage.rows
        case PreferencesStage():
            problems = problem_range(problem_source(stage.problems), stage.first, stage.prompts)
            return (len(stage.starts) + 1) * len(problems)  # sampled by each start, then judged
        case EvaluateStage():
            source = problem_source(stage.problems, stage.whole_file)
            count = len(source.heldout(stage.limit))
            return len(stage.checkpoints) * count


def draw_of(name: str, recipe: Recipe) -> Draw:
    """Return how the recipe evaluates a stage's checkpoint: by its last stage that does, else on its held-out curve."""
    evaluations = [
        stage
        for stage in recipe.stages.values()
        if isinstance(stage, EvaluateStage) and name in stage.checkpoints
    ]
    if evaluations:
        last = evaluations[-1]
        return Draw(last.temperature, last.top_p, last.top_k)
    stage: Stage = recipe.stages[name]
    if isinstance(stage, RLStage) and stage.progress.problems:
        return Draw(stage.progress.temperature, stage.progress.top_p)
    return Draw()  # the paper's


def _resolver(recipe: Recipe, run: RunDirectory) -> Callable[[str], str | Path]:
    """Return a function from a name in the recipe to what transformers can load."""

    def resolve(name: str) -> str | Path:
        if name in recipe.stages:
            return run.stage(name).checkpoint
        path = Path(name).expanduser()
        # A folder of the user's may have changed since it was written; a shipped model comes with the package.
        if path.is_dir() and shipped_model(name) is None:
            _check_model(path)
        return shipped_model(name) or (path if path.exists() else name)

    return resolve


# What a stage leaves -------------------------------------------------------------------------------


def write_manifest(directory: StageDirectory, seconds: float) -> None:
    """Write that the stage is done, what it was made from and what it leaves; no later stage reads it before."""
    # Digests by which later stages, and later commands, notice a changed file.
    outputs = {directory.output_name(file): digest(file) for file in directory.outputs()}
    manifest = read_table(directory.begun) | {"seconds": seconds, "outputs": outputs}
    write_json(directory.manifest, manifest, checked=True)


def check_sources(name: str, recipe: Recipe, run: RunDirectory) -> None:
    """Compare what a stage reads of earlier stages with what those wrote.

    Raises:
        DamagedFile: a file is missing or has changed; the message says which stage to run again.
    """
    for source in upstream(name, recipe):
        directory = run.stage(source)
        sums = directory.checkpoint / SUMS
        for file in (directory.dataset, sums):
            check_output(directory, file)
        if sums.is_file():
            cure = (
                f"restore it from a copy, or remove {shlex.quote(str(directory.manifest))}, and the same command runs "
                f"the stage {source!r} again"
            )
            check_folder(directory.checkpoint, cure)


def _check_model(folder: Path) -> None:
    """Compare the weights of a model folder with its `SHA256SUMS`, if it has one."""
    if (folder / SUMS).is_file():
        cure = f"restore it from a copy; or, if you changed it yourself, remove {folder / SUMS}"
        check_folder(folder, cure, _WEIGHTS)


# Executors in this process ------------------------------------------------------------------------


class InProcess:
    """Runs one stage at a time: `start` returns when the stage has ended, and raises its error unchanged."""

    start = staticmethod(run_stage)

    def running(self) -> AbstractContextManager[None]:
        """Return a context manager in which the garbage collector passes over what is there already."""
        return objects_frozen()

    def wait(self, running: Sequence[Request]) -> list[tuple[Request, Exception | None]]:
        """Return the stage that has just ended."""
        return [(request, None) for request in running]


class LaunchedRanks:
    """Executor of rank 0 of a launched command: runs one stage at a time, together with the ranks that `follow`."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._request: Request | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Meet the other ranks, and let them go at the end."""
        with among_ranks(self._placement, _class_and_text, on_silence=self._end) as self._group:
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
        with (
            among_ranks(placement, _class_and_text) as group,
            open(os.devnull, "w", encoding="utf-8") as sys.stdout,  # noqa: PTH123
        ):
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
    unread: Request | None = None  # only rank 0's object is
    return group.broadcast(unread, _NEXT)


def _class_and_text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
