"""The files at the top of a run directory: run.json, recipe.json and results.json. No torch.

results.json holds only what stages have written, and only of stages that are done and up to date. The paper's claims are
not in it: `dianoia claims` and the report compute them from these files.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dianoia.base.errors import DamagedFile, StageCrashed, UserError
from dianoia.base.files import read_table, refuse_links, write_json
from dianoia.base.run_files import cure_of
from dianoia.config import EvaluateStage, RewardModelStage
from dianoia.hardware.machine import thread_count
from dianoia.pipeline.model_card import write_cards
from dianoia.recipe.check.sandbox_use import sandbox_of
from dianoia.recipe.graph import Recipe, result_names
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
class PlannedRun:
    """A recipe, its run directory, and what happens to each of its stages."""

    recipe: Recipe
    run: RunDirectory
    plan: tuple[StageTask, ...]
    lock: int | None = None
    """The open lock file of the run directory, see `storage.lock`; None if its file system has no locks."""


def write_beginning(planned: PlannedRun, command: str, jobs: int, ranks: int = 1) -> None:
    """Write run.json and recipe.json, before the first stage begins."""
    recipe, run = planned.recipe, planned.run
    threads = thread_count(recipe.threads, jobs)
    about = describe_run(command, recipe.seed, threads, sandbox_of(recipe), jobs, ranks)
    write_about(run, about)
    write_json(run.recipe, recipe.model_dump(mode="json"), checked=True)
    for task in planned.plan:
        if task.action is Action.SKIP:
            # A kill between the manifest and the removal of the state has left the state.
            run.stage(task.name).forget_state()


def begin(task: StageTask, planned: PlannedRun) -> None:
    """Prepare the folder of a stage; a stage that starts from scratch gets an empty one and its begun.json."""
    directory = planned.run.stage(task.name)
    # Before the folder is touched: what a link leads to is no part of the run.
    refuse_links(directory.path)
    if task.from_scratch:
        directory.start_from_scratch()
        began = datetime.now(UTC).isoformat()
        made_from = fingerprint(task.name, planned.recipe, planned.run)
        write_json(directory.begun, fingerprint_record(made_from, began), checked=True)
    directory.prepare()
    directory.failure.unlink(missing_ok=True)
    write_results(planned)  # results of a stage that is re-run no longer count


def write_failure(directory: StageDirectory, error: Exception) -> None:
    """Write the error that ended a stage, for those who look at the run later."""
    # A full disk, or a folder that was moved away, may be the error itself.
    with suppress(OSError, UserError):
        if directory.path.is_dir():
            # An error of the program says little without its class.
            error_class = (
                "" if isinstance(error, UserError | StageCrashed) else f"{type(error).__name__}: "
            )
            table = {"error": f"{error_class}{error}".rstrip()}
            write_json(directory.failure, table, checked=True)


def write_results(planned: PlannedRun) -> None:
    """Bring results.json up to date, and with it the cards of the checkpoints."""
    content = results(planned.recipe, planned.run)
    write_json(planned.run.results, content, checked=True)
    write_cards(planned.recipe, planned.run, content)


def results(recipe: Recipe, run: RunDirectory) -> dict[str, Any]:
    """Return the content of results.json: the status of each stage, and the estimates of those that are done."""
    statuses = stage_statuses(recipe, run)
    done = [name for name in recipe.stages if statuses[name].status is Status.DONE]
    merged: dict[str, Any] = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "states": {name: stage.status.value for name, stage in statuses.items()},
        "seconds": sum(_seconds(run.stage(name)) for name in done),
        "evaluations": {},
        "by_difficulty": {},
        "reward_models": {},
    }
    for name in done:
        stage = recipe.stages[name]
        if isinstance(stage, EvaluateStage):
            evaluation = _evaluation(run.stage(name), "evaluations", "by_difficulty")
            names = result_names(name, recipe.stages)
            # Of a domain that two stages evaluate, the later stage counts.
            for key in ("evaluations", "by_difficulty"):
                for checkpoint, domains in evaluation[key].items():
                    merged[key].setdefault(names[checkpoint], {}).update(domains)
        elif isinstance(stage, RewardModelStage):
            evaluation = _evaluation(run.stage(name), "reward_model")
            merged["reward_models"][name] = evaluation["reward_model"]
    return merged


def _seconds(directory: StageDirectory) -> float:
    seconds = read_table(directory.manifest).get("seconds")
    if not isinstance(seconds, int | float):
        raise DamagedFile(f"{directory.manifest}: no seconds; {cure_of(directory.manifest)}")
    return seconds


def _evaluation(directory: StageDirectory, *keys: str) -> dict[str, Any]:
    """Read the estimates of a stage; raise DamagedFile unless there is a table under each of the keys."""
    file = directory.evaluation
    check_output(directory, file)
    evaluation = read_table(file)
    for key in keys:
        if not isinstance(evaluation.get(key), dict):
            raise DamagedFile(f"{file}: there is no table {key!r} in it; {cure_of(file)}")
    return evaluation
