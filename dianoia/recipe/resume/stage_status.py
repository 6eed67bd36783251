"""Status of every stage in a run directory, and what a command does with each. No torch.

In: a recipe, a run directory, and which stages the command asks for. Out: one `StageStatus` per stage (done, interrupted,
out of date, not run) and one `StageTask` per stage (skip, resume, run, run again, leave), each with its reason in words.
The plan prints them and the pipeline follows them. Nothing is written here.

A stage is out of date if its fingerprint has changed or if an earlier stage that it reads is out of date itself.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from dianoia.base.errors import ConfigError, DamagedFile
from dianoia.base.files import read_table
from dianoia.base.run_files import cure_of
from dianoia.recipe.graph import Recipe, dependents, upstream
from dianoia.recipe.overrides import no_such_stage
from dianoia.recipe.resume.fingerprint import differences, fingerprint, recorded_fingerprint
from dianoia.storage.run_directory import RunDirectory, StageDirectory


class Status(StrEnum):
    """What a run directory holds of a stage, measured against the recipe. `results.json` has these values."""

    DONE = "done"
    INTERRUPTED = "interrupted"
    OUT_OF_DATE = "out of date"
    NOT_RUN = "not run"


class Action(StrEnum):
    """What a command does with a stage."""

    SKIP = "skip"
    RESUME = "resume"
    RUN = "run"
    RERUN = "run again"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class StageStatus:
    """A stage in its run directory."""

    status: Status
    reason: str = ""
    """Out of date: what changed. Interrupted: how far the stage came. Otherwise empty."""


@dataclass(frozen=True, slots=True)
class StageSelection:
    """Which stages a command asks for, as typed."""

    only: tuple[str, ...] = ()
    """`--only`; empty: all stages."""
    start: str | None = None
    """`--from`."""
    force: bool = False
    command: str = "dianoia run RECIPE"
    """The command without these options, for messages that say what to type."""


@dataclass(frozen=True, slots=True)
class StageTask:
    """What a command does with one stage."""

    name: str
    action: Action
    reason: str
    """A clause for people, such as `resumes from step 12`."""

    @property
    def runs(self) -> bool:
        """True if the command runs the stage."""
        return self.action not in (Action.SKIP, Action.LEAVE)

    @property
    def from_scratch(self) -> bool:
        """True if the stage starts without a saved state."""
        return self.action in (Action.RUN, Action.RERUN)


# Status ------------------------------------------------------------------------------------------


def stage_statuses(recipe: Recipe, run: RunDirectory) -> dict[str, StageStatus]:
    """Return the status of every stage by its name. Raises ModelError for a model that is neither here nor on the hub."""
    statuses: dict[str, StageStatus] = {}
    for (
        name
    ) in recipe.stages:  # in recipe order, so that the sources of a stage have their status already
        statuses[name] = _status(name, recipe, run, statuses)
    return statuses


def _status(
    name: str, recipe: Recipe, run: RunDirectory, earlier: Mapping[str, StageStatus]
) -> StageStatus:
    directory = run.stage(name)
    if directory.is_empty:
        return StageStatus(Status.NOT_RUN)
    # Folders of runs that were copied by hand or damaged may lack the record.
    before = recorded_fingerprint(directory)
    if before is None:
        return StageStatus(Status.OUT_OF_DATE, "nothing in its folder says what it was made from")
    written_keys = recipe.stages[name].model_dump(mode="json", exclude_defaults=True)
    reasons = differences(before, fingerprint(name, recipe, run), written_keys)
    for source in upstream(name, recipe):
        if earlier[source].status is Status.OUT_OF_DATE:
            # `differences` may have said either about the same source
            pending = f"{source} is run again"
            same = (f"{source} was run again", pending)
            reasons = [*(reason for reason in reasons if reason not in same), pending]
    if reasons:
        return StageStatus(Status.OUT_OF_DATE, "; ".join(reasons))
    # The manifest is written last, so a stage that has one is complete.
    if directory.done:
        return StageStatus(Status.DONE)
    return StageStatus(Status.INTERRUPTED, _progress(name, run))


def _progress(name: str, run: RunDirectory) -> str:
    """Return how an interrupted stage continues, such as `resumes from step 12`."""
    directory = run.stage(name)
    if directory.state_step.exists():
        with suppress(FileNotFoundError):  # the stage is running and has just replaced its state
            return f"resumes from step {_saved_step(directory):,}"
    # Stages without a training state (sample, evaluate) save finished parts instead.
    parts = len(directory.parts())
    if parts:
        return f"resumes after {parts} finished part{'s' * (parts > 1)}"
    return "starts from scratch: it was interrupted before it saved a state"


def _saved_step(directory: StageDirectory) -> int:
    """Return the step of a saved state. Raises DamagedFile if its file holds none."""
    file = directory.state_step
    step = read_table(file).get("step")
    if not isinstance(step, int):
        raise DamagedFile(f"{file}: the file has no step; {cure_of(file)}")
    return step


# Tasks -------------------------------------------------------------------------------------------


def stage_tasks(recipe: Recipe, run: RunDirectory, selection: StageSelection) -> list[StageTask]:
    """Decide what a command does with every stage; returns the tasks in the order of the recipe.

    Raises:
        ConfigError: a name is wrong, the directory belongs to another recipe or seed, or an input is missing.
    """
    _check_selection(recipe, selection)
    _refuse_another_run(recipe, run, selection)
    statuses = stage_statuses(recipe, run)
    tasks: dict[str, StageTask] = {}
    for name in recipe.stages:
        # Statuses are updated on the way: a stage that will run again makes its readers out of date.
        statuses[name] = _expected_status(name, recipe, statuses, tasks)
        option = _forcing_option(name, recipe, selection)
        tasks[name] = _task(name, statuses[name], option, selection)
    _refuse_missing_inputs(recipe, statuses, tasks, selection)
    return list(tasks.values())


def _expected_status(
    name: str,
    recipe: Recipe,
    statuses: Mapping[str, StageStatus],
    tasks: Mapping[str, StageTask],
) -> StageStatus:
    """Return the status that a stage will have once the tasks of the stages before it are done."""
    changing = [
        source
        for source in upstream(name, recipe)
        if tasks[source].from_scratch or statuses[source].status is Status.OUT_OF_DATE
    ]
    # A stage that is not run yet stays so: it simply reads the new outputs.
    if changing and statuses[name].status in (Status.DONE, Status.INTERRUPTED):
        reasons = (f"{source} is run again" for source in changing)
        return StageStatus(Status.OUT_OF_DATE, "; ".join(reasons))
    return statuses[name]


def _task(
    name: str, stage: StageStatus, forcing_option: str, selection: StageSelection
) -> StageTask:
    # `--only` comes first: a stage that was not asked for is left alone even with --force.
    if selection.only and name not in selection.only:
        status = _status_with_reason(stage)
        return StageTask(name, Action.LEAVE, f"left alone, not asked for: {status}")
    if stage.status is Status.NOT_RUN:
        return StageTask(name, Action.RUN, "runs")
    if forcing_option or stage.status is Status.OUT_OF_DATE:
        return StageTask(name, Action.RERUN, f"runs again: {forcing_option or stage.reason}")
    if stage.status is Status.DONE:
        return StageTask(name, Action.SKIP, "done, skipped")
    return StageTask(name, Action.RESUME, stage.reason)


def _forcing_option(name: str, recipe: Recipe, selection: StageSelection) -> str:
    """Return the option that makes a stage run again; empty if none does."""
    if selection.force:
        return "--force"
    start = selection.start
    if start is not None and name in (start, *dependents(start, recipe)):
        return f"--from {start}"
    return ""


def _status_with_reason(stage: StageStatus) -> str:
    return (
        f"{stage.status} ({stage.reason})" if stage.status is Status.OUT_OF_DATE else stage.status
    )


# Refusals ----------------------------------------------------------------------------------------


def _check_selection(recipe: Recipe, selection: StageSelection) -> None:
    """Raise ConfigError for a stage that the recipe lacks, and for options that exclude each other."""
    _check_stage_names("--only", selection.only, recipe)
    if selection.start is None:
        return
    _check_stage_names("--from", (selection.start,), recipe)
    for option, present in (("--only", bool(selection.only)), ("--force", selection.force)):
        if present:
            raise ConfigError(
                f"--from {selection.start} with {option}: --from reruns a stage and all that depend on it, and {option} "
                "makes a choice of its own; use one of the two"
            )


def _check_stage_names(option: str, names: Sequence[str], recipe: Recipe) -> None:
    for name in names:
        if name not in recipe.stages:
            raise ConfigError(f"{option} {','.join(names)}: {no_such_stage(name, recipe.stages)}")


def _refuse_another_run(recipe: Recipe, run: RunDirectory, selection: StageSelection) -> None:
    """Raise ConfigError if the directory holds a run of another recipe or seed.

    That is nearly always a mistake, and it would cost the results of the other run.
    """
    # Without `recipe.json` no stage has begun, so nothing can be lost.
    if selection.force or not run.recipe.exists():
        return
    before = read_table(run.recipe)
    if before.get("name") != recipe.name:
        raise ConfigError(
            f"{run.path} holds a run of the recipe {before.get('name')!r}, and this one is {recipe.name!r}; give "
            "another --out, or --force to run every stage of this one in its place"
        )
    if before.get("seed") != recipe.seed:
        raise ConfigError(
            f"{run.path} holds a run with seed = {before.get('seed')}, and this one has seed = {recipe.seed}, which "
            "changes every stage; give another --out to have both, or --force to run every stage again in its place"
        )


def _refuse_missing_inputs(
    recipe: Recipe,
    statuses: Mapping[str, StageStatus],
    tasks: Mapping[str, StageTask],
    selection: StageSelection,
) -> None:
    """Raise ConfigError if a selected stage reads a stage that is not done; the message has the command that runs both."""
    running = [name for name in tasks if tasks[name].runs]
    missing = {name: _missing_sources(name, recipe, statuses, tasks) for name in tasks}
    needed = set(running)
    for name in reversed(recipe.stages):  # a missing stage may miss sources itself
        needed |= set(missing[name]) if name in needed else set()
    for name in running:
        for source in missing[name]:
            names = ",".join(stage for stage in recipe.stages if stage in needed)
            raise ConfigError(
                f"--only {','.join(selection.only)}: {name} reads the stage {source!r}, which is "
                f"{_status_with_reason(statuses[source])}; to run that too: {selection.command} --only {names}"
                + (" --force" if selection.force else "")
            )


def _missing_sources(
    name: str,
    recipe: Recipe,
    statuses: Mapping[str, StageStatus],
    tasks: Mapping[str, StageTask],
) -> list[str]:
    """Return the stages that a stage reads, that are not done, and that the command does not run."""
    return [
        source
        for source in upstream(name, recipe)
        if not tasks[source].runs and statuses[source].status is not Status.DONE
    ]
