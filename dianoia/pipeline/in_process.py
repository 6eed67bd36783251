"""Runs the stages of a recipe one after another, in the order of the recipe, in this process."""

from functools import partial

from rich.console import Console

from dianoia.base.progress import Progress
from dianoia.base.stopping import leave_if_asked, on_signals
from dianoia.hardware.machine import thread_count
from dianoia.pipeline.results import Planned, begin, write_beginning, write_results
from dianoia.pipeline.stage import run_stage, settle
from dianoia.recipe.check.sandbox_use import requested_sandbox
from dianoia.recipe.plan.disk import check_disk


def run_recipe(planned: Planned, command: str, console: Console) -> None:
    """Do what the plan says, stage by stage, and keep `results.json` true.

    Raises:
        ConfigError, ModelError, ProblemFileError: something cannot be run; nothing was begun.
        MachineFault: the disk has too little space, or another fault of the machine.
        Stopped: somebody asked to stop, and the stage in hand has written its state.
    """
    recipe = planned.recipe
    check_disk(recipe, planned.plan, planned.run.path)
    device = settle(thread_count(recipe.threads), requested_sandbox(recipe))
    write_beginning(planned, command, jobs=1)
    with on_signals(partial(console.print, highlight=False, markup=False)):
        for todo in planned.plan:
            if todo.runs:
                leave_if_asked()
                begin(todo, planned)
                show = partial(Progress, console, todo.name)
                run_stage(todo.name, recipe, planned.run, device, show)
    write_results(planned)
