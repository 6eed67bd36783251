"""Runs a recipe: its stages in order, each in its own folder, and the results at the end.

`recipe.standing` has decided what happens to each stage; this room does it. A stage that begins writes what it
is made from, one that is done writes its manifest last; one that is run again leaves what was there under
`stages/.old/`. Everything that can be refused is refused before the first stage begins. The results file holds
nothing but what stages have written, and only of those that are done and up to date.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
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
from dianoia.base.files import read_json, write_json
from dianoia.base.run import RunDirectory, describe_run, write_about
from dianoia.base.worked import worked
from dianoia.bases import shipped_model
from dianoia.claims import claims_of
from dianoia.recipe.fingerprint import fingerprint, record_of
from dianoia.recipe.inputs import check_inputs
from dianoia.recipe.model import Recipe, Stage
from dianoia.recipe.programs import sandbox_of, wanted_sandbox
from dianoia.recipe.standing import Action, State, Todo, standings
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


def run_recipe(
    recipe: Recipe, run: RunDirectory, plan: Sequence[Todo], command: str, console: Console
) -> None:
    """Do what the plan says, stage by stage, and keep `results.json` true.

    Raises:
        ConfigError, ModelError, ProblemFileError: something cannot be run; nothing was begun.
    """
    check_inputs(recipe)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    threads = devices.use_threads(recipe.threads)
    device = devices.pick_device()
    devices.exact_arithmetic(device)
    use_sandbox(wanted_sandbox(recipe))
    write_about(run, describe_run(command, recipe.seed, threads, sandbox_of(recipe)))
    write_json(run.recipe, recipe.model_dump(mode="json"))
    for todo in plan:
        if todo.works:
            _begin(todo, recipe, run)
            _run_stage(todo.name, recipe, run, device, console)
        elif todo.action is Action.SKIP:
            run.stage(todo.name).forget_state()  # a kill may have come between manifest and this
    write_json(run.results, results(recipe, run))


def _begin(todo: Todo, recipe: Recipe, run: RunDirectory) -> None:
    """Make the stage's folder ready; a stage that begins from nothing says what it is made from."""
    directory = run.stage(todo.name)
    if todo.anew:
        directory.begin_anew()
        began = datetime.now(UTC).isoformat()
        write_json(directory.begun, record_of(fingerprint(todo.name, recipe, run), began))
    directory.prepare()
    write_json(run.results, results(recipe, run))  # what has begun anew is no result any more


def _run_stage(
    name: str, recipe: Recipe, run: RunDirectory, device: torch.device, console: Console
) -> None:
    directory = run.stage(name)
    with worked(directory.worked) as seconds:
        with Progress(console, name, _total(name, recipe), seconds) as progress:
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


def results(recipe: Recipe, run: RunDirectory) -> dict[str, Any]:
    """What `results.json` holds: where each stage stands, and what those have found that are done."""
    found = standings(recipe, run)
    done = [name for name in recipe.stages if found[name].state is State.DONE]
    gathered: dict[str, Any] = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "states": {name: standing.state.value for name, standing in found.items()},
        "seconds": sum(read_json(run.stage(name).manifest)["seconds"] for name in done),
        "evaluations": {},
        "by_difficulty": {},
        "reward_models": {},
    }
    for name in done:
        stage = recipe.stages[name]
        if isinstance(stage, EvaluateStage):
            evaluation = read_json(run.stage(name).evaluation)
            for key in ("evaluations", "by_difficulty"):
                for checkpoint, domains in evaluation[key].items():
                    gathered[key].setdefault(checkpoint, {}).update(domains)
        elif isinstance(stage, RewardModelStage):
            gathered["reward_models"][name] = read_json(run.stage(name).evaluation)["reward_model"]
    return gathered | claims_of(recipe, run, done, gathered)
