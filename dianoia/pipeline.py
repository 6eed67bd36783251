"""Runs a recipe: its stages in order, each in its own folder, and the results at the end.

A run directory belongs to one resolved recipe. A stage with a manifest is done and skipped; one that was
interrupted goes on from its state. Everything that can be refused is refused before the first stage begins.
The results file holds nothing but what stages have written.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
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
from dianoia.base.errors import ConfigError
from dianoia.base.files import read_json, write_json
from dianoia.base.run import RunDirectory, describe_run, write_about
from dianoia.bases import shipped_model
from dianoia.recipe.inputs import check_inputs
from dianoia.recipe.model import Recipe, Stage
from dianoia.recipe.programs import sandbox_of, wanted_sandbox
from dianoia.runtime import devices
from dianoia.runtime.context import Context
from dianoia.runtime.progress import Progress
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


def run_recipe(recipe: Recipe, run: RunDirectory, command: str, console: Console) -> None:
    """Run what is not done yet and write `results.json`.

    Raises:
        ConfigError, ModelError, ProblemFileError: something cannot be run; nothing was begun.
    """
    check_inputs(recipe)
    _same_recipe(recipe, run)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    threads = devices.use_threads(recipe.threads)
    device = devices.pick_device()
    devices.exact_arithmetic(device)
    use_sandbox(wanted_sandbox(recipe))
    write_about(run, describe_run(command, recipe.seed, threads, sandbox_of(recipe)))
    write_json(run.recipe, recipe.model_dump(mode="json"))
    for name in recipe.stages:
        if run.stage(name).done:
            console.print(f"{name}: done before, skipped")
            continue
        _run_stage(name, recipe, run, device, console)
    write_json(run.results, results(recipe, run))


def _same_recipe(recipe: Recipe, run: RunDirectory) -> None:
    """A run directory belongs to one resolved recipe: mixing two would make its results a lie."""
    if not run.recipe.exists():
        return
    before, now = read_json(run.recipe), recipe.model_dump(mode="json")
    changed = [key for key in _flat(now) if _flat(now)[key] != _flat(before).get(key)]
    changed += [key for key in _flat(before) if key not in _flat(now)]
    if changed:
        raise ConfigError(
            f"{run.path} holds a run of another configuration ({', '.join(changed[:6])} differ); "
            "give another --out, or delete the folder"
        )


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _run_stage(
    name: str, recipe: Recipe, run: RunDirectory, device: torch.device, console: Console
) -> None:
    stage, directory = recipe.stages[name], run.stage(name)
    directory.prepare()
    start = time.perf_counter()
    with Progress(console, name, _total(name, recipe)) as progress:
        context = Context(name, directory, recipe.seed, device, _resolver(recipe, run), progress)
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
    write_json(directory.manifest, {"seconds": time.perf_counter() - start})
    directory.forget_state()


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


def results(recipe: Recipe, run: RunDirectory) -> dict[str, Any]:
    """What `results.json` holds, gathered from the stages' own files."""
    found: dict[str, Any] = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "seconds": sum(read_json(run.stage(name).manifest)["seconds"] for name in recipe.stages),
        "evaluations": {},
        "by_difficulty": {},
        "reward_models": {},
        "claims": [],
    }
    for name, stage in recipe.stages.items():
        if isinstance(stage, EvaluateStage):
            evaluation = read_json(run.stage(name).evaluation)
            for key in ("evaluations", "by_difficulty"):
                for checkpoint, domains in evaluation[key].items():
                    found[key].setdefault(checkpoint, {}).update(domains)
        elif isinstance(stage, RewardModelStage):
            found["reward_models"][name] = read_json(run.stage(name).evaluation)["reward_model"]
    return found
