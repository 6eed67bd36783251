"""Checks everything that a recipe needs before any work begins: models, problems, rewards, data, servers, sandbox. No torch.

A command calls `check_inputs` once, before it plans and runs. Numbers are checked by `recipe.check.number_ranges` when a
recipe is loaded. Whether a server of rollouts was started as it has to be, and has the weights that it is given, the stage finds
out (`sampler.served`).
"""

import ipaddress
import shutil
from urllib.parse import urlsplit

import httpx2

from dianoia.base.errors import ConfigError, EndpointError, UserError
from dianoia.base.records import Problem
from dianoia.bases import model_folder
from dianoia.config import (
    DemonstrationsStage,
    EvaluateStage,
    FunctionSettings,
    PreferencesStage,
    PretrainStage,
    RewardModelStage,
    RLStage,
    RolloutSettings,
    SampleStage,
    SFTStage,
)
from dianoia.judge.function_files import check_arguments, find
from dianoia.judge.functions import missing
from dianoia.judge.rules import tags_to_write
from dianoia.models.endpoint import certificates, endpoint_key, sent_key
from dianoia.models.folder_check import has_chat_template
from dianoia.models.vllm_environment import vllm_program
from dianoia.recipe.check.missing_inputs import missing_files
from dianoia.recipe.check.models import check_lengths, check_models
from dianoia.recipe.check.sandbox_use import sandbox_of
from dianoia.recipe.check.stage_problems import (
    check_evaluation_problems,
    check_judged_problems,
    check_rl_problems,
    check_sampled_problems,
)
from dianoia.recipe.check.training_data import (
    check_corpus,
    check_datasets,
    check_demonstrations,
    read_preferences,
)
from dianoia.recipe.graph import Recipe, Stage, sources, templates
from dianoia.tasks.catalog import problem_source, training_sample
from dianoia.text.template import template_of

_ANSWER_SECONDS = 5.0
"""Time that a server of rollouts has to say that it works."""


def check_inputs(recipe: Recipe, planned: bool = False) -> None:
    """Look up every model and read every problem set and data set from the first row to the last.

    A plan (`planned`) may lack files, and models of the hub whose shape is known; `recipe.check.missing_inputs` lists
    them. A run may not.

    Raises:
        ConfigError, ModelError, ProblemFileError, SandboxError: the first input that cannot be used.
    """
    for name, stage in recipe.stages.items():
        # Models first: a wrong checkpoint makes other messages of the same stage hard to understand.
        check_models(name, recipe, planned)
        for template in templates(stage):
            _check_template(name, template, recipe)
        check_lengths(name, recipe)
        if isinstance(stage, RLStage):
            check_rollout_servers(f"stages.{name}.rollouts", stage.rollouts, planned)
            _check_rewards(name, stage, recipe)
        # A plan lists missing files instead of refusing them.
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
            check_sampled_problems(name, stage)
        case DemonstrationsStage():
            check_demonstrations(name, stage)
        case PreferencesStage():
            check_judged_problems(name, stage)
        case SFTStage():
            check_datasets(name, stage, recipe)
        case RewardModelStage():
            read_preferences(name, stage, recipe)


def _check_template(name: str, template: str, recipe: Recipe) -> None:
    """Raise ConfigError for a template that is neither built-in nor a table, or asks for a chat template that is not there."""
    stage = recipe.stages[name]
    key = "template"
    if isinstance(stage, SampleStage) and template == stage.completion_template:
        key = "completion_template"
    where = f"stages.{name}.{key}"
    if not template_of(template, recipe.templates, where).chat:
        return
    if isinstance(stage, SFTStage) and stage.earlier_thoughts == "keep":
        raise ConfigError(
            f"stages.{name}.earlier_thoughts = 'keep' with template = {template!r}: the chat template of the model itself "
            "decides whether earlier thoughts are shown, here and wherever the model is sampled; remove earlier_thoughts"
        )
    models = sources(stage)
    if isinstance(stage, EvaluateStage):
        models = [source for source in models if stage.template_of(source) == template]
    for source in models:
        # Earlier stages have a chat template if their start has one; a hub name is looked at when it is loaded.
        folder = model_folder(source)
        if source not in recipe.stages and folder.is_dir() and not has_chat_template(folder):
            raise ConfigError(
                f"{where} = {template!r}: the tokenizer of {source!r} has no chat template, as is usual for a base model, so "
                "there is nothing to render messages with; name a template of text, such as 'r1-zero', or start from the "
                "instruct model"
            )


# Rewards -----------------------------------------------------------------------------------------


def _check_rewards(name: str, stage: RLStage, recipe: Recipe) -> None:
    """Raise ConfigError for a part of the reward that would stop the stage later or would never apply.

    The file of a reward function is executed to find the function, also for a plan, and may import anything, even torch.
    The function itself is not called.
    """
    where, rewards = f"stages.{name}.rewards", stage.rewards
    # The part `tags` counts the tags of the template, and some templates have none.
    template = template_of(stage.template, recipe.templates)
    if rewards.tags is not None and not tags_to_write(template):
        raise ConfigError(
            f"{where}.tags with template = {stage.template!r}, which has no tags to count; remove one of the two"
        )
    if rewards.judge is not None:
        try:
            endpoint_key(rewards.judge)
        except ConfigError as error:
            raise ConfigError(f"{where}.judge.{error}") from None
    # Reading a problem can take seconds, so only if there is a function to check it with.
    problem = _first_problem(stage) if rewards.functions else None
    for index, function in enumerate(rewards.functions):
        try:
            _check_function(function, problem)
        except ConfigError as error:
            raise ConfigError(
                f"{where}.functions[{index}], path = {function.path!r}: {error}"
                # Keep the traceback of the user's own file, if importing it failed.
            ) from error.__cause__


def _first_problem(stage: RLStage) -> Problem | None:
    """Return a problem of the stage; None if none can be read, which `check.stage_problems` reports."""
    try:
        return training_sample(problem_source(stage.problems))[0]
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


# Servers of rollouts -----------------------------------------------------------------------------


def check_rollout_servers(where: str, settings: RolloutSettings, planned: bool) -> None:
    """Check the servers of a table; a plan does not ask them.

    Raises:
        ConfigError: they could not be started, or would not see the weights.
        EndpointError: none of those that should run answers.
    """
    if not settings.served:
        return
    try:
        if settings.key_env is not None:
            sent_key(settings.key_env, "the servers")
        if settings.python is not None:
            vllm_program(settings.python)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None
    if settings.command and shutil.which(settings.command[0]) is None:
        raise ConfigError(
            f"{where}.command: there is no program {settings.command[0]!r} here; give its path, or install it"
        )
    elsewhere = [url for url in settings.servers if not _is_here(url)]
    if elsewhere and settings.weights is None:
        raise ConfigError(
            f"{where}.servers: {elsewhere[0]} is another machine, which sees neither the shared memory nor the disk of this one; "
            "set weights to a folder on storage that both see under the same path (a path that is not there ends a server of "
            "vLLM)"
        )
    if settings.servers and not planned:
        _check_answers(where, settings)


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_answers(where: str, settings: RolloutSettings) -> None:
    reasons = []
    with httpx2.Client(verify=certificates(), timeout=_ANSWER_SECONDS, trust_env=False) as client:
        for url in settings.servers:
            try:
                status = client.get(f"{url.rstrip('/')}/health").status_code
            except httpx2.HTTPError as error:
                reasons.append(f"{url}: {error}")
                continue
            if status == 200:
                return
            reasons.append(f"{url}: status {status}")
    raise EndpointError(
        f"{where}.servers: none of them answers ({'; '.join(reasons)}); start them first, or set {where}.python to an environment "
        "with vLLM, and the stage starts its own"
    )
