"""What a recipe needs, and whether this machine has it. No torch.

In: a recipe. Out: findings; what a run would be refused for is `broken`. The checks are those of `dianoia run --dry-run`, one
message each instead of an end at the first.
"""

from collections.abc import Iterator
from pathlib import Path

from dianoia.base.errors import UserError
from dianoia.base.extras import pip_install
from dianoia.doctor.finding import Finding, broken, warning
from dianoia.doctor.package_checks import missing_of
from dianoia.recipe.check.inputs import check_inputs
from dianoia.recipe.check.sandbox_use import sandbox_of
from dianoia.recipe.graph import Recipe
from dianoia.recipe.load import load_recipe
from dianoia.recipe.plan.memory import TIGHT
from dianoia.recipe.plan.number_format import format_bytes, format_seconds, plural
from dianoia.recipe.plan.run_plan import MemoryPlan, RunPlan, plan_run
from dianoia.recipe.resume.stage_status import StageSelection, stage_tasks
from dianoia.recipe.templates import inherit_templates
from dianoia.storage.run_directory import RunDirectory


def check_recipe(recipe_name: str) -> Iterator[Finding]:
    """Yield what a recipe needs and lacks here.

    Raises:
        ConfigError: the recipe itself cannot be read.
    """
    recipe = inherit_templates(load_recipe(recipe_name))
    yield Finding(
        "recipe", f"{recipe.name}: {plural(len(recipe.stages), 'stage')}. {recipe.description}"
    )
    try:
        # First: a plan of inputs that are wrong would say something about another run.
        check_inputs(recipe, planned=True)
    except UserError as error:
        yield broken("inputs", str(error), f"mend it, then: dianoia run {recipe_name} --dry-run")
        return
    run = RunDirectory(Path("runs") / recipe.name)
    # In the default run directory: stages that are done there need nothing any more.
    tasks = tuple(stage_tasks(recipe, run, StageSelection()))
    plan = plan_run(recipe, tasks, run.path)
    yield from _inputs(plan)
    yield from _memory(plan)
    yield from _time(plan)
    yield from _disk(plan)
    yield from _sandbox(recipe)
    yield from _trackers(recipe)


def _inputs(plan: RunPlan) -> Iterator[Finding]:
    if not plan.missing:
        yield Finding("inputs", "all models and files are here")
    for sentence in plan.missing:
        yield broken("inputs", sentence, "put it there, or name what you have instead with --set")


def _memory(plan: RunPlan) -> Iterator[Finding]:
    largest = max(plan.stages, key=lambda stage: stage.memory.bytes if stage.memory else 0.0)
    if largest.memory is None:
        yield Finding("memory", "nothing is left to run")
        return
    value = f"{largest.name} needs about {format_bytes(largest.memory.bytes)} while {largest.memory.activity}"
    machine = plan.machine_memory
    if machine is None:
        yield Finding("memory", f"{value}; what {plan.machine} has is not known")
        return
    value += f", {plan.machine} has {format_bytes(machine)}"
    if plan.fits(largest):
        tight = largest.memory.bytes > TIGHT * machine
        advice = "end other programs first, or set one of the keys that the plan names (--dry-run --verbose)"
        yield warning("memory", value, advice) if tight else Finding("memory", value)
        return
    yield broken("memory", value, _way_out(largest.name, largest.memory, plan))


def _way_out(stage: str, memory: MemoryPlan, plan: RunPlan) -> str:
    """Return keys that make a stage fit, or else another machine."""
    assert plan.machine_memory is not None, "of a machine that is too small"
    room = TIGHT * plan.machine_memory
    # One key that is enough is better advice than all of them together.
    alone = [
        f"--set {stage}.{saving.text.replace(' ', '')}"
        for saving in memory.savings
        if saving.bytes <= room
    ]
    together = memory.least is not None and memory.least <= room
    ways = [alone[0]] if alone else []
    if not alone and together:
        ways = [
            " ".join(f"--set {stage}.{saving.text.replace(' ', '')}" for saving in memory.savings)
        ]
    if plan.suggested_gpu:
        ways.append(f"a machine with one {plan.suggested_gpu}")
    return ", or ".join(ways) or "a smaller model, or a larger machine"


def _time(plan: RunPlan) -> Iterator[Finding]:
    if plan.slow_stages:
        gpu = f"; one {plan.suggested_gpu} would do" if plan.suggested_gpu else ""
        yield warning(
            "time",
            f"{', '.join(plan.slow_stages)}: more than a month on {plan.machine}",
            f"use a faster machine{gpu}",
        )
        return
    if plan.total_seconds:
        yield Finding("time", f"{format_seconds(plan.total_seconds)} on {plan.machine}")
        return
    stage_seconds = [stage.seconds for stage in plan.stages if stage.seconds and not stage.unit]
    if stage_seconds:
        yield Finding(
            "time", f"{format_seconds(sum(stage_seconds))} on {plan.machine}, as far as it is known"
        )


def _disk(plan: RunPlan) -> Iterator[Finding]:
    if plan.disk is None:
        return
    value = f"at most {format_bytes(plan.disk.needed)} in {plan.run_directory}"
    free = plan.disk.free
    if free is not None and free < plan.disk.needed:
        yield broken(
            "disk",
            f"{value}, and {format_bytes(free)} are free",
            "free some space, or give --out on another disk",
        )
    else:
        yield Finding("disk", value)


def _sandbox(recipe: Recipe) -> Iterator[Finding]:
    # check_inputs has seen that there is one if it is needed.
    name = sandbox_of(recipe)
    if name is not None:
        yield Finding("sandbox", f"programs of models run in {name}")


def _trackers(recipe: Recipe) -> Iterator[Finding]:
    for name in recipe.track.to:
        faults = missing_of(name)
        # A tracker that fails never stops a run, so that this is no refusal.
        if faults:
            yield warning("tracker", f"{name}: {'; '.join(faults)}", pip_install(name))
        else:
            yield Finding("tracker", f"{name} is installed")
