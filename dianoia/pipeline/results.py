"""What a run directory says of itself while its stages begin and end: run.json, recipe.json, results.json. No torch.

The results hold nothing but what stages have written, and only of those that are done and up to date.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dianoia.base.errors import DamagedFile
from dianoia.base.files import read_table, refuse_links, write_json
from dianoia.base.remedies import cure_of
from dianoia.claims import claims_of
from dianoia.config import EvaluateStage, RewardModelStage
from dianoia.hardware.machine import thread_count
from dianoia.recipe.check.sandbox_use import sandbox_of
from dianoia.recipe.graph import Recipe
from dianoia.recipe.resume.fingerprint import fingerprint, fingerprint_record
from dianoia.recipe.resume.stage_status import Action, StageTask, Status, stage_statuses
from dianoia.storage.run_directory import (
    RunDirectory,
    StageDirectory,
    check_output,
    describe_run,
    write_about,
)


@dataclass(frozen=True, slots=True)
class Planned:
    """A recipe, where it runs, and what happens to each of its stages."""

    recipe: Recipe
    run: RunDirectory
    plan: tuple[StageTask, ...]
    lock: int | None = None
    """The open lock of the run directory, see `storage.lock`; None where its file system has none."""


def write_beginning(planned: Planned, command: str, jobs: int) -> None:
    """Say who runs what, before the first stage begins."""
    recipe, run = planned.recipe, planned.run
    threads = thread_count(recipe.threads, jobs)
    about = describe_run(command, recipe.seed, threads, sandbox_of(recipe), jobs)
    write_about(run, about)
    write_json(run.recipe, recipe.model_dump(mode="json"), checked=True)
    for todo in planned.plan:
        if todo.action is Action.SKIP:
            run.stage(todo.name).forget_state()  # a kill may have come between manifest and this


def begin(todo: StageTask, planned: Planned) -> None:
    """Make the stage's folder ready; a stage that begins from nothing says what it is made from."""
    directory = planned.run.stage(todo.name)
    refuse_links(directory.path)
    if todo.from_scratch:
        directory.begin_anew()
        began = datetime.now(UTC).isoformat()
        made = fingerprint(todo.name, planned.recipe, planned.run)
        write_json(directory.begun, fingerprint_record(made, began), checked=True)
    directory.prepare()
    write_results(planned)  # what has begun anew is no result any more


def write_results(planned: Planned) -> None:
    """Bring `results.json` up to date."""
    write_json(planned.run.results, results(planned.recipe, planned.run), checked=True)


def results(recipe: Recipe, run: RunDirectory) -> dict[str, Any]:
    """What `results.json` holds: where each stage stands, and what those have found that are done."""
    found = stage_statuses(recipe, run)
    done = [name for name in recipe.stages if found[name].status is Status.DONE]
    gathered: dict[str, Any] = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "states": {name: stage.status.value for name, stage in found.items()},
        "seconds": sum(_seconds(run.stage(name)) for name in done),
        "evaluations": {},
        "by_difficulty": {},
        "reward_models": {},
    }
    for name in done:
        stage = recipe.stages[name]
        if isinstance(stage, EvaluateStage):
            evaluation = _evaluation(run.stage(name), "evaluations", "by_difficulty")
            for key in ("evaluations", "by_difficulty"):
                for checkpoint, domains in evaluation[key].items():
                    gathered[key].setdefault(checkpoint, {}).update(domains)
        elif isinstance(stage, RewardModelStage):
            evaluation = _evaluation(run.stage(name), "reward_model")
            gathered["reward_models"][name] = evaluation["reward_model"]
    return gathered | claims_of(recipe, run, done, gathered)


def _seconds(directory: StageDirectory) -> float:
    seconds = read_table(directory.manifest).get("seconds")
    if not isinstance(seconds, int | float):
        raise DamagedFile(f"{directory.manifest}: no seconds; {cure_of(directory.manifest)}")
    return seconds


def _evaluation(directory: StageDirectory, *keys: str) -> dict[str, Any]:
    """The estimates of a stage, which hold a table under each of these keys."""
    file = directory.evaluation
    check_output(directory, file)
    found = read_table(file)
    for key in keys:
        if not isinstance(found.get(key), dict):
            raise DamagedFile(f"{file}: there is no table {key!r} in it; {cure_of(file)}")
    return found
