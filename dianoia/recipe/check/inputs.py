"""Looks up what a recipe needs before any work begins: models, problem sets, templates. No torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dianoia.base.errors import ConfigError, ModelError, UserError, nearest
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
from dianoia.datasets.preference_data import Preferences, preferences, ready
from dianoia.models.hub_config import model_config, out_of_reach, text_config
from dianoia.recipe.check.missing import absent
from dianoia.recipe.check.problem_sets_check import check_problems
from dianoia.recipe.check.program_stages import sandbox_of
from dianoia.recipe.check.reward_parts_check import check_rewards
from dianoia.recipe.check.sampling_stages import check_judging, check_sampling
from dianoia.recipe.check.start_models import check_folders
from dianoia.recipe.check.supervised_data import survey
from dianoia.recipe.graph import (
    DATA_KINDS,
    Recipe,
    Stage,
    datasets,
    reward_models,
    sources,
)
from dianoia.tasks.conversation_files import check_amounts
from dianoia.tasks.plugins import CORPORA, DEMONSTRATIONS
from dianoia.text.template import TEMPLATES


def check_inputs(recipe: Recipe, planned: bool = False) -> None:
    """Find every model and read every problem set from the first row to the last.

    A plan (`planned`) may go without files that are not there yet, and without models that the hub has and
    whose shape is known; `recipe.check.missing` lists them. A run may not.

    Raises:
        ConfigError, ModelError, ProblemFileError, SandboxError: the first thing that is not usable.
    """
    for name, stage in recipe.stages.items():
        _check_models(name, stage, recipe, planned)
        if not isinstance(stage, PretrainStage):
            _check_template(name, "template", stage.template)
        _check_length(name, recipe)
        if isinstance(stage, RLStage):
            check_rewards(name, stage)
        if not (planned and absent(stage, recipe)):
            _check_data(name, stage, recipe)
    sandbox_of(recipe)


def _check_models(name: str, stage: Stage, recipe: Recipe, planned: bool) -> None:
    for source in sources(stage):
        _check_source(name, source, recipe)
    judges = reward_models(stage)
    for key, source in judges.items():
        _check_reward_model(name, key, source, recipe)
    for source in [] if planned else [*sources(stage), *judges.values()]:
        _check_reach(name, source, recipe)
    check_folders(name, recipe, planned)


def _check_data(name: str, stage: Stage, recipe: Recipe) -> None:
    match stage:
        case PretrainStage():
            _check_corpus(name, stage)
        case RLStage() | EvaluateStage():
            check_problems(name, stage, recipe.seed)
        case SampleStage():
            _check_template(name, "completion_template", stage.written_in)
            check_sampling(f"stages.{name}", stage)
        case DemonstrationsStage():
            _check_demonstrations(name, stage)
        case PreferencesStage():
            check_judging(f"stages.{name}", stage)
        case SFTStage():
            _check_datasets(name, stage, recipe)
        case RewardModelStage():
            check_preferences(name, stage, recipe)


def _check_length(name: str, recipe: Recipe) -> None:
    """Sequences have to fit into the model's positions, or the stage would stop halfway."""
    stage = recipe.stages[name]
    if isinstance(stage, SFTStage):
        _check_whole_length(name, stage, recipe)
        return
    if isinstance(stage, RLStage):
        key, longest = "sampling.max_tokens (or longer)", stage.sampling.most_tokens
    elif isinstance(stage, SampleStage | PreferencesStage):
        key, longest = "sampling.max_tokens", stage.sampling.max_tokens
    elif isinstance(stage, EvaluateStage):
        key, longest = "max_tokens", stage.max_tokens
    else:
        return
    for source in sources(stage):
        positions = _positions(f"stages.{name}", source, recipe)
        if positions is not None and longest >= positions:
            raise ConfigError(
                f"stages.{name}.{key} = {longest}: the model {source!r} has {positions} positions for "
                f"prompt and response together; lower it, below {positions} by the length of a prompt"
            )


def _check_whole_length(name: str, stage: SFTStage, recipe: Recipe) -> None:
    positions = _positions(f"stages.{name}", name, recipe)
    if positions is not None and stage.max_length > positions:
        raise ConfigError(
            f"stages.{name}.max_length = {stage.max_length}: the model {stage.start!r} has {positions} positions "
            f"for prompt and response together; lower it to {positions} or less, or give the model more with "
            f"positions = {stage.max_length}"
        )


def _positions(where: str, source: str, recipe: Recipe) -> int | None:
    """Positions of a model, followed back through the stages; None where its config does not say."""
    stage = recipe.stages.get(source)
    if stage is None:
        found: int | None = text_config(model_config(where, source)).get("max_position_embeddings")
        return found
    if isinstance(stage, PretrainStage):
        return stage.model.max_positions
    before = _positions(where, sources(stage)[-1], recipe)
    given = stage.positions if isinstance(stage, SFTStage) else None
    return max(before, given) if before is not None and given is not None else before


def _check_template(name: str, key: str, template: str) -> None:
    if template not in TEMPLATES:
        raise ConfigError(
            f"stages.{name}.{key} = {template!r}: there is no such template; "
            f"there are {', '.join(TEMPLATES)}"
        )


def _check_source(name: str, source: str, recipe: Recipe) -> None:
    """What a stage starts from has weights and, unless a reward model is to come of it, writes text."""
    stage = recipe.stages.get(source)
    if isinstance(stage, SampleStage | DemonstrationsStage | PreferencesStage | EvaluateStage):
        raise ConfigError(
            f"stages.{name}: {source!r} is a stage of kind {stage.kind!r}, which writes no model; name a stage "
            "that trains one, a folder or a hub name"
        )
    rewards = _is_reward_model(name, source, recipe)
    if rewards and not isinstance(recipe.stages[name], RewardModelStage):
        raise ConfigError(
            f"stages.{name} uses {source!r}, which is a reward model; a reward model gives numbers and "
            "writes no text, so name a language model"
        )


def _check_reach(name: str, source: str, recipe: Recipe) -> None:
    """A plan needs a model's shape, a run its weights."""
    missing = None if source in recipe.stages else out_of_reach(source)
    if missing is not None:
        raise ModelError(
            f"stages.{name}: the model {source!r} is no folder here and cannot be fetched from the hub "
            f"({missing}); check the connection, fetch it elsewhere (hf download) and give its folder, or look "
            "at the plan alone with --dry-run"
        )


def _is_reward_model(name: str, source: str, recipe: Recipe) -> bool:
    """By its head: a reward model has none over the vocabulary, so that nothing can be sampled from it."""
    stage = recipe.stages.get(source)
    if stage is not None:
        return isinstance(stage, RewardModelStage)
    kinds = model_config(f"stages.{name}", source).get("architectures") or []
    return any(kind.endswith("ForSequenceClassification") for kind in kinds)


def _check_reward_model(name: str, key: str, source: str, recipe: Recipe) -> None:
    """What a stage names gives one number, was trained to see what it is shown, and has room for it."""
    general = {"helpful": "answer", "safety": "response"}
    where = f"stages.{name}.preferences.{key}"
    if key not in general:
        where = f"stages.{name}.rewards.models ({key})"
    stage = recipe.stages.get(source)
    config = {} if stage is not None else model_config(where, source)
    if not _is_reward_model(name, source, recipe) or (stage is None and _labels(config) != 1):
        what = f"is a stage of kind {stage.kind!r}" if stage is not None else _kind_of_model(config)
        raise ConfigError(
            f"{where} = {source!r}: this {what}, and a reward model gives one number to a response; name a stage of "
            "kind 'reward_model' that comes before, or a sequence classification model with one label"
        )
    if isinstance(stage, RewardModelStage):
        view: str | None = stage.view
    else:
        view = (config.get("dianoia_reward_model") or {}).get("sees")
    sees = general.get(key, view)  # a part of its own is shown whatever it was trained to see
    if view not in (None, sees):
        other = "safety" if key == "helpful" else "helpful"
        raise ConfigError(
            f"{where} = {source!r}: this reward model was trained with sees = {view!r}, and the {key} model is shown "
            f"the {sees} (the paper, section 3.1); train it with sees = {sees!r}, or name it as {other}"
        )
    _check_room(name, where, source, recipe)


def _labels(config: Mapping[str, Any]) -> int:
    """Numbers that a classifier gives; transformers does not write down its default, which is 2."""
    return len(config["id2label"]) if "id2label" in config else int(config.get("num_labels", 2))


def _kind_of_model(config: Mapping[str, Any]) -> str:
    kind = (config.get("architectures") or ["model of unknown architecture"])[0]
    return f"is a {kind}" + (f" with {_labels(config)} labels" if "Classif" in kind else "")


def _check_room(name: str, where: str, source: str, recipe: Recipe) -> None:
    """A reward model's positions hold the prompt and the longest response."""
    stage = recipe.stages[name]
    assert isinstance(stage, RLStage), "only these name reward models"
    longest = stage.sampling.most_tokens
    positions = _positions(f"stages.{name}", source, recipe)
    if positions is not None and longest >= positions:
        raise ConfigError(
            f"stages.{name}.sampling.max_tokens (or longer) = {longest}: the reward model "
            f"{where.removeprefix(f'stages.{name}.')} = {source!r} has {positions} positions for prompt and response together; lower it, or name a model "
            "with more"
        )


def check_preferences(name: str, stage: RewardModelStage, recipe: Recipe) -> Preferences:
    """Read every row of a reward model's files; what it will learn from, before tokens are counted.

    What an earlier stage will write cannot be read yet, and so is not in what is found.

    Raises:
        ConfigError, ProblemFileError: a file is missing, a row cannot be used, or nothing is left.
    """
    made = [source for source in stage.data if source in recipe.stages]
    for source in made:
        _check_made(f"stages.{name}.data = {source!r}", stage, recipe.stages[source])
    files = [Path(source).expanduser() for source in stage.data if source not in made]
    for file in files:
        if not file.is_file():
            judged = [n for n, s in recipe.stages.items() if isinstance(s, PreferencesStage)]
            raise ConfigError(
                f"stages.{name}.data = {str(file)!r}: there is no such file of preferences and no earlier stage "
                f"of that name{nearest(str(file), judged)}; give JSONL, CSV or Parquet files with the columns of "
                "docs/reward_model.md, or the name of a preferences stage"
            )
    found = preferences(stage, files)
    return found if made else ready(stage, found, name, recipe.seed)


def _check_made(where: str, stage: RewardModelStage, source: Stage) -> None:
    if not isinstance(source, PreferencesStage):
        raise ConfigError(
            f"{where}: this is a stage of kind {source.kind!r}, which writes no preferences; name a stage of "
            'kind = "preferences", or a file'
        )
    if source.objective != stage.objective:
        raise ConfigError(
            f"{where}: that stage has objective = {source.objective!r} and this one {stage.objective!r}; pairs and "
            "labelled responses are different data, so give both the same objective"
        )


def _check_corpus(name: str, stage: PretrainStage) -> None:
    if stage.corpus not in CORPORA:
        raise ConfigError(
            f"stages.{name}.corpus = {stage.corpus!r}: there is no such corpus{nearest(stage.corpus, CORPORA)}; "
            f"use one of {', '.join(map(repr, CORPORA))}"
        )


def _check_demonstrations(name: str, stage: DemonstrationsStage) -> None:
    if stage.source not in DEMONSTRATIONS:
        raise ConfigError(
            f"stages.{name}.source = {stage.source!r}: there are no such demonstrations"
            f"{nearest(stage.source, DEMONSTRATIONS)}; there are {', '.join(DEMONSTRATIONS) or 'none yet'}. A "
            "file of your own needs no stage: name it under datasets of the sft stage"
        )


def _check_datasets(name: str, stage: SFTStage, recipe: Recipe) -> None:
    """Read every row of every file. What an earlier stage will write cannot be read yet."""
    made = [source for source in datasets(stage) if source in recipe.stages]
    for source in made:
        kind = recipe.stages[source].kind
        if kind not in DATA_KINDS:
            raise ConfigError(
                f"stages.{name}: the data set {source!r} is a stage of kind {kind!r}, which writes a model or "
                "estimates and no samples to learn from; name a JSONL, CSV or Parquet file"
            )
    try:
        counts = survey(stage, recipe.stages)
        if not made:
            share, wanted = stage.heldout_share, stage.evaluation_file is not None
            check_amounts(counts.rows, counts.learnt, counts.heldout, share, wanted)
    except UserError as error:
        raise type(error)(f"stages.{name}: {error}") from None
