"""Whether a recipe runs programs that a model wrote, and in which sandbox. No torch.

In: a recipe. Out: the name of the sandbox, or None if no problem is graded by running a program. The environment
variable DIANOIA_SANDBOX belongs to the machine and takes precedence over the recipe.
"""

import os

from dianoia.base.errors import SandboxError
from dianoia.config import (
    EvaluateStage,
    PreferencesStage,
    Problems,
    RLStage,
    SampleStage,
    path_of,
)
from dianoia.recipe.check.missing_inputs import missing_files
from dianoia.recipe.graph import Recipe, Stage
from dianoia.sandbox.sandbox import VARIABLE, choose
from dianoia.tasks.catalog import problem_source, runs_programs


def requested_sandbox(recipe: Recipe) -> str:
    """Return the name that the environment asks for, or else the recipe."""
    return os.environ.get(VARIABLE) or recipe.sandbox


def sandbox_of(recipe: Recipe) -> str | None:
    """Return the sandbox that the run will use; None if no stage runs programs.

    Raises:
        SandboxError: a stage needs one that this machine does not offer; the message names the stage.
    """
    for name, stage in recipe.stages.items():
        arguments = _problem_source_arguments(stage)
        if (
            # In order of cost: reading the problems comes last.
            arguments is None
            or path_of(arguments[0]) in missing_files(stage, recipe)
            or not runs_programs(problem_source(*arguments))
        ):
            continue
        try:
            # All stages share one sandbox, so the first stage that needs it decides.
            return choose(requested_sandbox(recipe))
        except SandboxError as error:
            raise SandboxError(
                f"stages.{name}.problems = {arguments[0]!r} holds problems that are graded by running the "
                f"model's programs. {error}"
            ) from None
    return None


def _problem_source_arguments(stage: Stage) -> tuple[Problems, bool] | None:
    """Return the arguments of `problem_source`; None for a stage without problems."""
    match stage:
        case RLStage() | SampleStage() | PreferencesStage():
            return stage.problems, False
        case EvaluateStage():
            return stage.problems, stage.whole_file
        case _:
            return None
