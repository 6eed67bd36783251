"""Checks the reward of an `rl` stage before any work: grader, tags and reward functions. No torch of our own.

In: the table of a stage. Out: nothing, or a refusal in the words of the recipe. The file of a reward function is executed
to find the function, also for a plan, and may import anything; the function itself is not called.
"""

from dianoia.base.errors import ConfigError, UserError
from dianoia.base.records import Problem
from dianoia.config import FunctionSettings, RLStage
from dianoia.judge.function_files import check_arguments, find
from dianoia.judge.functions import missing
from dianoia.judge.rules import tags_to_write
from dianoia.models.endpoint import endpoint_key
from dianoia.tasks.catalog import looked_at, problem_source
from dianoia.text.template import TEMPLATES


def check_rewards(name: str, stage: RLStage) -> None:
    """Raise ConfigError for a part of the reward that would stop the stage later or would never apply."""
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
    problem = _first_problem(stage) if rewards.functions else None
    for index, function in enumerate(rewards.functions):
        try:
            _check_function(function, problem)
        except ConfigError as error:
            raise ConfigError(
                f"{where}.functions[{index}], path = {function.path!r}: {error}"
            ) from error.__cause__


def _first_problem(stage: RLStage) -> Problem | None:
    """Return a problem of the stage; None if none can be read, which `check.problems` reports."""
    try:
        return looked_at(problem_source(stage.problems))[0]
    except UserError:
        return None


def _check_function(function: FunctionSettings, problem: Problem | None) -> None:
    """Raise ConfigError for a function that cannot be called; the columns of `problem` stand for those of all."""
    loaded = find(function.path)
    if function.arguments is not None:  # a factory: the function that it makes is known only later
        check_arguments(function.path, function.arguments)
        return
    columns = [] if problem is None else missing(loaded, problem)
    if problem is not None and columns:
        raise ConfigError(
            f"the function asks for {', '.join(map(repr, columns))}, which is no column of problem {problem.id!r}; "
            "add the column, give the parameter a default, or, if the path names a factory, set arguments"
        )
