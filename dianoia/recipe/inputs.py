"""Looks up what a recipe needs before any work begins: models, problem sets, templates. No torch."""

from pathlib import Path

from dianoia.base.config import (
    DemonstrationsStage,
    EvaluateStage,
    PreferencesStage,
    PretrainStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.base.errors import ConfigError, ModelError, UserError
from dianoia.recipe.datasets import survey
from dianoia.recipe.hub import model_config, out_of_reach, text_config
from dianoia.recipe.load import nearest
from dianoia.recipe.missing import absent
from dianoia.recipe.model import DATA_KINDS, Recipe, Stage, datasets, sources
from dianoia.recipe.programs import sandbox_of
from dianoia.recipe.sampling import check_judging, check_sampling
from dianoia.roles.preferences import Preferences, preferences, ready
from dianoia.tasks.catalog import DEMONSTRATIONS, ProblemSource, problem_source
from dianoia.tasks.conversations import check_amounts
from dianoia.text.language import check_measurable
from dianoia.text.template import TEMPLATES


def check_inputs(recipe: Recipe, planned: bool = False) -> None:
    """Find every model and read every problem set from the first row to the last.

    A plan (`planned`) may go without files that are not there yet, and without models that the hub has and
    whose shape is known; `recipe.missing` lists them. A run may not.

    Raises:
        ConfigError, ModelError, ProblemFileError, SandboxError: the first thing that is not usable.
    """
    for name, stage in recipe.stages.items():
        for source in sources(stage):
            _check_source(name, source, recipe)
            if not planned:
                _check_reach(name, source, recipe)
        if not isinstance(stage, PretrainStage):
            _check_template(name, "template", stage.template)
        _check_length(name, recipe)
        if planned and absent(stage, recipe):
            continue
        match stage:
            case RLStage() | EvaluateStage():
                _check_problems(name, stage)
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
    sandbox_of(recipe)


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


def _check_problems(name: str, stage: RLStage | EvaluateStage) -> ProblemSource:
    try:
        whole = isinstance(stage, EvaluateStage) and stage.whole_file
        source = problem_source(stage.problems, whole)
    except ConfigError as error:
        raise ConfigError(f"stages.{name}.{error}") from None
    if isinstance(stage, RLStage):
        source.draw(0, 0, 1)
        _check_languages(name, stage, source)
    if isinstance(stage, EvaluateStage) or stage.progress.problems:
        source.heldout(1)
    return source


def _check_languages(name: str, stage: RLStage, source: ProblemSource) -> None:
    """A language reward needs targets that can be told from other languages."""
    if not stage.rewards.language:
        return
    for language in sorted(source.languages):
        try:
            check_measurable(language)
        except ConfigError as error:
            raise ConfigError(
                f"stages.{name}.rewards.language = {stage.rewards.language:g}: questions of "
                f"{stage.problems!r} are in {language!r}. {error}"
            ) from None


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
