"""Checks everything that a recipe reads before any work begins: models, problems, rewards, data, sandbox. No torch.

A command calls `check_inputs` once, before it plans and runs. Numbers are checked by `recipe.check.number_ranges` when a
recipe is loaded.
"""

from dianoia.base.errors import ConfigError
from dianoia.config import (
    DemonstrationsStage,
    EvaluateStage,
    PreferencesStage,
    PretrainStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.recipe.check.missing_inputs import missing_files
from dianoia.recipe.check.models import check_lengths, check_models
from dianoia.recipe.check.problems import (
    check_evaluation_problems,
    check_judged_problems,
    check_rl_problems,
    check_sampled_problems,
)
from dianoia.recipe.check.rewards import check_rewards
from dianoia.recipe.check.sandbox_use import sandbox_of
from dianoia.recipe.check.training_data import (
    check_corpus,
    check_datasets,
    check_demonstrations,
    read_preferences,
)
from dianoia.recipe.graph import Recipe, Stage
from dianoia.text.template import TEMPLATES


def check_inputs(recipe: Recipe, planned: bool = False) -> None:
    """Look up every model and read every problem set and data set from the first row to the last.

    A plan (`planned`) may lack files, and models of the hub whose shape is known; `recipe.check.missing_inputs` lists
    them. A run may not.

    Raises:
        ConfigError, ModelError, ProblemFileError, SandboxError: the first input that cannot be used.
    """
    for name, stage in recipe.stages.items():
        check_models(name, recipe, planned)
        if not isinstance(stage, PretrainStage):
            _check_template(name, "template", stage.template)
        check_lengths(name, recipe)
        if isinstance(stage, RLStage):
            check_rewards(name, stage)
        if not (planned and missing_files(stage, recipe)):
            _check_data(name, stage, recipe)
    sandbox_of(recipe)  # raises if a stage needs a sandbox that this machine lacks


def _check_data(name: str, stage: Stage, recipe: Recipe) -> None:
    match stage:
        case PretrainStage():
            check_corpus(name, stage)
        case RLStage():
            check_rl_problems(name, stage, recipe.seed)
        case EvaluateStage():
            check_evaluation_problems(name, stage)
        case SampleStage():
            _check_template(name, "completion_template", stage.written_in)
            check_sampled_problems(name, stage)
        case DemonstrationsStage():
            check_demonstrations(name, stage)
        case PreferencesStage():
            check_judged_problems(name, stage)
        case SFTStage():
            check_datasets(name, stage, recipe)
        case RewardModelStage():
            read_preferences(name, stage, recipe)


def _check_template(name: str, key: str, template: str) -> None:
    if template not in TEMPLATES:
        raise ConfigError(
            f"stages.{name}.{key} = {template!r}: there is no such template; "
            f"there are {', '.join(TEMPLATES)}"
        )
