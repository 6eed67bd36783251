"""Runs one stage in its folder, in this process."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from dianoia.base.config import (
    DemonstrationsStage,
    EvaluateStage,
    PreferencesStage,
    PretrainStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.base.files import read_json, write_json
from dianoia.base.run import RunDirectory
from dianoia.base.worked import worked
from dianoia.bases import shipped_model
from dianoia.recipe.model import Recipe, Stage
from dianoia.runtime import devices
from dianoia.runtime.context import Context
from dianoia.runtime.progress import Reports
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
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.code import use_sandbox
from dianoia.tasks.ranges import problem_range

Show = Callable[[int, Callable[[], object]], AbstractContextManager[Reports]]
"""From a stage's total, and what to call whenever it has come further, to where it tells of its progress."""


def settle(threads: int, sandbox: str) -> torch.device:
    """What holds for every stage of this process; returns the device."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    devices.use_threads(threads)
    device = devices.pick_device()
    devices.exact_arithmetic(device)
    use_sandbox(sandbox)
    return device


def run_stage(
    name: str, recipe: Recipe, run: RunDirectory, device: torch.device, show: Show
) -> None:
    """Run a stage, whose folder is ready, to its manifest."""
    directory = run.stage(name)
    with worked(directory.worked) as seconds:
        with show(_total(name, recipe), seconds) as progress:
            resolve = _resolver(recipe, run)
            context = Context(name, directory, recipe.seed, device, resolve, progress)
            _run_kind(recipe.stages[name], context)
        write_json(directory.manifest, read_json(directory.begun) | {"seconds": seconds()})
    directory.forget_state()


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
        return shipped_model(name) or (path if path.exists() else name)

    return resolve
