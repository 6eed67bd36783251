"""Runs the stages of a recipe one after another, in the order of the recipe, in this process."""

from functools import partial

from rich.console import Console

from dianoia.pipeline.results import Planned, begin, write_beginning, write_results
from dianoia.pipeline.stage import run_stage, settle
from dianoia.recipe.inputs import check_inputs
from dianoia.recipe.programs import wanted_sandbox
from dianoia.runtime.machine import threads_of
from dianoia.runtime.progress import Progress


def run_recipe(planned: Planned, command: str, console: Console) -> None:
    """Do what the plan says, stage by stage, and keep `results.json` true.

    Raises:
        ConfigError, ModelError, ProblemFileError: something cannot be run; nothing was begun.
    """
    recipe = planned.recipe
    check_inputs(recipe)
    device = settle(threads_of(recipe.threads), wanted_sandbox(recipe))
    write_beginning(planned, command, jobs=1)
    for todo in planned.plan:
        if todo.works:
            begin(todo, planned)
            run_stage(todo.name, recipe, planned.run, device, partial(Progress, console, todo.name))
    write_results(planned)
