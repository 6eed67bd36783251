"""Which stages run programs that a model wrote, and behind which walls: looked up before any work. No torch.

In: a recipe. Out: the name of the sandbox, or None where no problem is judged by running a program. The
environment variable DIANOIA_SANDBOX is this machine's word and goes before the recipe's.
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
from dianoia.recipe.check.missing import absent
from dianoia.recipe.graph import Recipe, Stage
from dianoia.sandbox.sandbox import VARIABLE, choose
from dianoia.tasks.catalog import problem_source, runs_programs


def wanted_sandbox(recipe: Recipe) -> str:
    """The name that is asked for: the environment's, else the recipe's."""
    return os.environ.get(VARIABLE) or recipe.sandbox


def sandbox_of(recipe: Recipe) -> str | None:
    """The sandbox that the run will use; None where no stage runs programs.

    Raises:
        SandboxError: a stage needs one and this machine does not offer it; the message names the stage.
    """
    for name, stage in recipe.stages.items():
        problems = _problems(stage)
        if (
            problems is None
            or path_of(problems[0]) in absent(stage, recipe)
            or not runs_programs(problem_source(*problems))
        ):
            continue
        try:
            return choose(wanted_sandbox(recipe))
        except SandboxError as error:
            raise SandboxError(
                f"stages.{name}.problems = {problems[0]!r} holds problems that are judged by running the "
                f"model's programs. {error}"
            ) from None
    return None


def _problems(stage: Stage) -> tuple[Problems, bool] | None:
    """Arguments of `problem_source`; None for a stage without problems."""
    match stage:
        case RLStage() | SampleStage() | PreferencesStage():
            return stage.problems, False
        case EvaluateStage():
            return stage.problems, stage.whole_file
        case _:
            return None
