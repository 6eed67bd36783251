"""Where each stage of a recipe stands in a run directory, and what a command does with it. No torch.

In: a recipe, a run directory, and which stages were asked for. Out: a `Standing` a stage (done, interrupted, out of
date, not run) and a `Todo` a stage (skip, go on, run, run again, leave alone), each with its reason in words. The plan
prints these; the pipeline follows them. Nothing is written here.

A stage is out of date where its fingerprint has changed or an earlier stage that it reads is out of date itself.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from dianoia.base.errors import ConfigError, DamagedFile
from dianoia.base.files import read_table
from dianoia.base.remedies import cure_of
from dianoia.recipe.graph import Recipe, dependents, upstream
from dianoia.recipe.load import check_stage_names
from dianoia.recipe.resume.fingerprint import differences, fingerprint, recorded
from dianoia.storage.run_directory import RunDirectory, StageDirectory


class State(StrEnum):
    """What is there of a stage, measured against the recipe."""

    DONE = "done"
    INTERRUPTED = "interrupted"
    OUT_OF_DATE = "out of date"
    NOT_RUN = "not run"


class Action(StrEnum):
    """What a command does with a stage."""

    SKIP = "skip"
    GO_ON = "go on"
    RUN = "run"
    AGAIN = "run again"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Standing:
    """A stage in its run directory."""

    state: State
    why: str = ""
    """Of a stage that is out of date: what changed. Of one that was interrupted: how far it came."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which stages a command asks for, as typed."""

    only: tuple[str, ...] = ()
    """`--only`; empty: every stage."""
    start: str | None = None
    """`--from`."""
    force: bool = False
    command: str = "dianoia run RECIPE"
    """The command without these options, to be told what to type."""


@dataclass(frozen=True, slots=True)
class Todo:
    """What a command does with one stage."""

    name: str
    action: Action
    why: str
    """For a person: a clause such as `goes on from step 12`."""

    @property
    def works(self) -> bool:
        """Whether the stage is run at all."""
        return self.action not in (Action.SKIP, Action.LEAVE)

    @property
    def anew(self) -> bool:
        """Whether the stage begins from nothing."""
        return self.action in (Action.RUN, Action.AGAIN)


def standings(recipe: Recipe, run: RunDirectory) -> dict[str, Standing]:
    """Where every stage stands. Raises ModelError for a model that is neither here nor on the hub."""
    found: dict[str, Standing] = {}
    for name in recipe.stages:
        found[name] = _standing(name, recipe, run, found)
    return found


def _standing(
    name: str, recipe: Recipe, run: RunDirectory, earlier: Mapping[str, Standing]
) -> Standing:
    directory = run.stage(name)
    if directory.empty:
        return Standing(State.NOT_RUN)
    before = recorded(directory)
    if before is None:
        return Standing(State.OUT_OF_DATE, "nothing in its folder says what it was made from")
    chosen = recipe.stages[name].model_dump(mode="json", exclude_defaults=True)
    reasons = differences(before, fingerprint(name, recipe, run), chosen)
    for source in upstream(name, recipe):
        if earlier[source].state is State.OUT_OF_DATE:
            known = (f"{source} was run again", f"{source} is run again")
            reasons = [*(reason for reason in reasons if reason not in known), known[1]]
    if reasons:
        return Standing(State.OUT_OF_DATE, "; ".join(reasons))
    if directory.done:
        return Standing(State.DONE)
    return Standing(State.INTERRUPTED, _reached(name, run))


def _reached(name: str, run: RunDirectory) -> str:
    """How far an interrupted stage came."""
    directory = run.stage(name)
    if directory.state_step.exists():
        with suppress(FileNotFoundError):  # a stage at work has just replaced it
            return f"from step {_step(directory):,}"
    parts = len(directory.parts())
    if parts:
        return (
            f"after {parts} part{'s' if parts > 1 else ''} that {'are' if parts > 1 else 'is'} done"
        )
    return "from its beginning, as it was interrupted before its first state"


def _step(directory: StageDirectory) -> int:
    """The step of a state. Raises DamagedFile where its file does not say."""
    file = directory.state_step
    step = read_table(file).get("step")
    if not isinstance(step, int):
        raise DamagedFile(f"{file}: the file says no step; {cure_of(file)}")
    return step


# What a command does -----------------------------------------------------------------------------


def what_to_do(recipe: Recipe, run: RunDirectory, choice: Choice) -> list[Todo]:
    """A `Todo` for every stage, in the order of the recipe.

    Raises:
        ConfigError: a name is wrong, the directory is that of another recipe or seed, or an input is not there.
    """
    _check_choice(recipe, choice)
    _refuse_another_run(recipe, run, choice)
    found = standings(recipe, run)
    plan: dict[str, Todo] = {}
    for name in recipe.stages:
        found[name] = _foreseen(name, recipe, found, plan)
        plan[name] = _todo(name, found[name], _forced(name, recipe, choice), choice)
    _refuse_missing_inputs(recipe, found, plan, choice)
    return list(plan.values())


def _foreseen(
    name: str, recipe: Recipe, found: Mapping[str, Standing], plan: Mapping[str, Todo]
) -> Standing:
    """The standing once the stages before it have done what the plan says."""
    anew = [
        source
        for source in upstream(name, recipe)
        if plan[source].anew or found[source].state is State.OUT_OF_DATE
    ]
    if anew and found[name].state in (State.DONE, State.INTERRUPTED):
        return Standing(State.OUT_OF_DATE, "; ".join(f"{source} is run again" for source in anew))
    return found[name]


def _todo(name: str, standing: Standing, forced: str, choice: Choice) -> Todo:
    if choice.only and name not in choice.only:
        told = f" ({standing.why})" if standing.state is State.OUT_OF_DATE else ""
        return Todo(name, Action.LEAVE, f"left alone, not asked for: {standing.state}{told}")
    if standing.state is State.NOT_RUN:
        return Todo(name, Action.RUN, "runs")
    if forced or standing.state is State.OUT_OF_DATE:
        return Todo(name, Action.AGAIN, f"runs again: {forced or standing.why}")
    if standing.state is State.DONE:
        return Todo(name, Action.SKIP, "done, skipped")
    return Todo(name, Action.GO_ON, f"goes on {standing.why}")


def _forced(name: str, recipe: Recipe, choice: Choice) -> str:
    """The option that has a stage run again; empty where none does."""
    if choice.force:
        return "--force"
    if choice.start is not None and name in (choice.start, *dependents(choice.start, recipe)):
        return f"--from {choice.start}"
    return ""


# Refusals ----------------------------------------------------------------------------------------


def _check_choice(recipe: Recipe, choice: Choice) -> None:
    check_stage_names("--only", choice.only, recipe)
    if choice.start is None:
        return
    check_stage_names("--from", (choice.start,), recipe)
    for option, given in (("--only", bool(choice.only)), ("--force", choice.force)):
        if given:
            raise ConfigError(
                f"--from {choice.start} with {option}: --from runs a stage and all that depend on it again, and "
                f"{option} says which or how by itself; use one of the two"
            )


def _refuse_another_run(recipe: Recipe, run: RunDirectory, choice: Choice) -> None:
    """Two recipes or two seeds in one directory are nearly always a mistake, and a costly one."""
    if choice.force or not run.recipe.exists():
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
    recipe: Recipe, found: Mapping[str, Standing], plan: Mapping[str, Todo], choice: Choice
) -> None:
    """A stage alone needs what it reads; raise with the command that makes both."""
    working = [name for name in plan if plan[name].works]
    asked, missing = set(working), {name: _missing(name, recipe, found, plan) for name in plan}
    for name in reversed(recipe.stages):  # what is missing may miss something itself
        asked |= set(missing[name]) if name in asked else set()
    for name in working:
        for source in missing[name]:
            told = f" ({found[source].why})" if found[source].state is State.OUT_OF_DATE else ""
            every = ",".join(stage for stage in recipe.stages if stage in asked)
            raise ConfigError(
                f"--only {','.join(choice.only)}: {name} reads the stage {source!r}, which is "
                f"{found[source].state}{told}; to run that too: {choice.command} --only {every}"
                + (" --force" if choice.force else "")
            )


def _missing(
    name: str, recipe: Recipe, found: Mapping[str, Standing], plan: Mapping[str, Todo]
) -> list[str]:
    """What a stage reads that is not there and that the command does not make."""
    return [
        source
        for source in upstream(name, recipe)
        if not plan[source].works and found[source].state is not State.DONE
    ]
