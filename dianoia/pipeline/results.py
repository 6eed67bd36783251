"""What a run directory says of itself while its stages begin and end: run.json, recipe.json, results.json. No torch.

The results hold nothing but what stages have written, and only of those that are done and up to date.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dianoia.base.config import EvaluateStage, RewardModelStage
from dianoia.base.files import read_json, write_json
from dianoia.base.run import RunDirectory, describe_run, write_about
from dianoia.claims import claims_of
from dianoia.recipe.fingerprint import fingerprint, record_of
from dianoia.recipe.model import Recipe
from dianoia.recipe.programs import sandbox_of
from dianoia.recipe.standing import Action, State, Todo, standings
from dianoia.runtime.machine import threads_of


@dataclass(frozen=True, slots=True)
class Planned:
    """A recipe, where it runs, and what happens to each of its stages."""

    recipe: Recipe
    run: RunDirectory
    plan: tuple[Todo, ...]
    lock: int | None = None
    """The open lock of the run directory, see `base.lock`; None where its file system has none."""


def write_beginning(planned: Planned, command: str, jobs: int) -> None:
    """Say who runs what, before the first stage begins."""
    recipe, run = planned.recipe, planned.run
    threads = threads_of(recipe.threads, jobs)
    about = describe_run(command, recipe.seed, threads, sandbox_of(recipe), jobs)
    write_about(run, about)
    write_json(run.recipe, recipe.model_dump(mode="json"))
    for todo in planned.plan:
        if todo.action is Action.SKIP:
            run.stage(todo.name).forget_state()  # a kill may have come between manifest and this


def begin(todo: Todo, planned: Planned) -> None:
    """Make the stage's folder ready; a stage that begins from nothing says what it is made from."""
    directory = planned.run.stage(todo.name)
    if todo.anew:
        directory.begin_anew()
        began = datetime.now(UTC).isoformat()
        made = fingerprint(todo.name, planned.recipe, planned.run)
        write_json(directory.begun, record_of(made, began))
    directory.prepare()
    write_results(planned)  # what has begun anew is no result any more


def write_results(planned: Planned) -> None:
    """Bring `results.json` up to date."""
    write_json(planned.run.results, results(planned.recipe, planned.run))


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
