"""The parts of a reward beside the paper's, looked up before any work, and told in the plan. No torch of our own.

In: the table of an `rl` stage. Out: nothing, or a refusal in the words of the recipe; a clause of the plan. A function's
file is run to look it up, by a plan too, and it may import what it likes; the function itself is not called.
"""

from collections.abc import Mapping

from dianoia.base.errors import ConfigError, UserError
from dianoia.base.records import Problem
from dianoia.config import FunctionSettings, RLStage
from dianoia.judge.function_files import check_arguments, find
from dianoia.judge.functions import missing
from dianoia.judge.shaping import tags_to_write
from dianoia.models.endpoint import endpoint_key
from dianoia.recipe.plan.model_sizes import Size
from dianoia.recipe.plan.number_format import in_bytes
from dianoia.tasks.catalog import looked_at, problem_source
from dianoia.text.template import TEMPLATES


def check_rewards(name: str, stage: RLStage) -> None:
    """Raise ConfigError for a part of the reward that would stop the stage later, or would never say anything."""
    where, rewards = f"stages.{name}.rewards", stage.rewards
    if rewards.tags is not None and not tags_to_write(TEMPLATES[stage.template]):
        raise ConfigError(
            f"{where}.tags with template = {stage.template!r}, which has no tags to count; remove one of the two"
        )
    if rewards.judge is not None:
        try:
            endpoint_key(rewards.judge)
        except ConfigError as error:
            raise ConfigError(f"{where}.judge.{error}") from None
    problem = _first(stage) if rewards.functions else None
    for place, function in enumerate(rewards.functions):
        try:
            _check_function(function, problem)
        except ConfigError as error:
            raise ConfigError(
                f"{where}.functions[{place}], path = {function.path!r}: {error}"
            ) from error.__cause__


def _first(stage: RLStage) -> Problem | None:
    """A problem of the stage; None where none can be read, which the check of the problems tells."""
    try:
        return looked_at(problem_source(stage.problems))[0]
    except UserError:
        return None


def _check_function(function: FunctionSettings, problem: Problem | None) -> None:
    """`problem` stands for all of them."""
    found = find(function.path)
    if function.arguments is not None:
        check_arguments(function.path, function.arguments)
        return
    lacking = [] if problem is None else missing(found, problem)
    if problem is not None and lacking:
        raise ConfigError(
            f"the function asks for {', '.join(map(repr, lacking))}, which is no column of problem {problem.id!r}; "
            "add the column, give the parameter a default, or, where the path names a factory, set arguments"
        )


def further(stage: RLStage, completions: int, judges: Mapping[str, Size]) -> str:
    """What the reward holds beside accuracy and format, with weights; empty where that is nothing."""
    rewards = stage.rewards
    paths = {function.title: f" ({function.path})" for function in rewards.functions}
    models = {
        one.name: f" (reward model {judges[one.name].name}, {in_bytes(4 * judges[one.name].parameters)})"
        for one in rewards.models
    }
    told = [
        f"{name}{'' if weight == 1 else f' x {weight:g}'}{(paths | models).get(name, '')}"
        for name, weight in rewards.parts.items()
        if weight or name in paths or name in models
    ]
    plain = {"accuracy", "format"}
    if {name for name, weight in rewards.parts.items() if weight} == plain and not paths:
        return ""
    asked = ""
    if rewards.judge is not None:
        asked = (
            f"; at most {completions:,} requests to {rewards.judge.model} to grade, and as many again as the held-out "
            "curve has completions"
        )
    return f"; reward = {' + '.join(told)}{asked}"
