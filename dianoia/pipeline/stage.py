"""Runs one stage in its folder, in this process."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from dianoia.base.disk_space import release
from dianoia.base.progress import Reports
from dianoia.base.stopping import leave_if_asked
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
from dianoia.hardware import devices
from dianoia.pipeline.stage_outputs import check_model, check_sources, write_manifest
from dianoia.recipe.graph import Recipe, Stage
from dianoia.recipe.plan.disk import reserve_stage_space
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
from dianoia.storage.context import Context
from dianoia.storage.elapsed import worked
from dianoia.storage.run_directory import RunDirectory
from dianoia.storage.state import changed_journals
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.code import use_sandbox
from dianoia.tasks.problem_ranges import problem_range

Show = Callable[[int, Callable[[], object]], AbstractContextManager[Reports]]
"""From a stage's total, and what to call whenever it has come further, to where it tells of its progress."""


def settle(threads: int, sandbox: str) -> torch.device:
    """What holds for every stage of this process; returns the device."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    devices.use_threads(threads)
    device = devices.pick_device()
    devices.use_deterministic_kernels(device)
    use_sandbox(sandbox)
    return device


def run_stage(
    name: str, recipe: Recipe, run: RunDirectory, device: torch.device, show: Show
) -> None:
    """Run a stage, whose folder is ready, to its manifest."""
    stage, directory = recipe.stages[name], run.stage(name)
    check_sources(name, recipe, run)
    try:
        reserve_stage_space(name, recipe, directory.path)
        with worked(directory.worked) as seconds:
            with show(_total(name, recipe), seconds) as progress:
                for line in changed_journals(directory.state):
                    progress.say(f"{name}: {line}")
                resolve = _resolver(recipe, run)
                told = _Stopping(progress) if isinstance(stage, EvaluateStage) else progress
                context = Context(name, directory, recipe.seed, device, resolve, told)
                _run_kind(stage, context)
            release()
            write_manifest(directory, seconds())
    finally:
        release()
    directory.forget_state()


class _Stopping(Reports):
    """Progress of a stage that has no state within a checkpoint: it stops where it tells how far it has come."""

    def __init__(self, progress: Reports) -> None:
        self._progress = progress

    def expect(self, total: int) -> None:
        """As `Reports`."""
        self._progress.expect(total)

    def show(self, done: int, figures: Mapping[str, float | None]) -> None:
        """As `Reports`."""
        self._progress.show(done, figures)
        leave_if_asked()

    def say(self, text: str) -> None:
        """As `Reports`."""
        self._progress.say(text)


def _run_kind(stage: Stage, context: Context) -> None:
    match stage:
        case PretrainStage():
            pretrain.run(stage, context)
        case SFTStage():
            sft.run(stage, context)
        case RLStage():
            rl.run(stage, context)
        case SampleStage():
            sample.run(stage, context)
        case DemonstrationsStage():
            demonstrations.run(stage, context)
        case PreferencesStage():
            preferences.run(stage, context)
        case RewardModelStage():
            reward_model.run(stage, context)
        case EvaluateStage():
            evaluate.run(stage, context)


def _total(name: str, recipe: Recipe) -> int:
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
            return (len(stage.starts) + 1) * len(problems)  # sampled by each, then judged
        case EvaluateStage():
            source = problem_source(stage.problems, stage.whole_file)
            count = len(source.heldout(stage.limit))
            return len(stage.checkpoints) * count


def _resolver(recipe: Recipe, run: RunDirectory) -> Callable[[str], str | Path]:
    def resolve(name: str) -> str | Path:
        if name in recipe.stages:
            return run.stage(name).checkpoint
        path = Path(name).expanduser()
        if path.is_dir() and shipped_model(name) is None:
            check_model(path)
        return shipped_model(name) or (path if path.exists() else name)

    return resolve
