"""Checks the models that the stages of a recipe start from and score with, before any work. No torch.

In: a recipe and the name of a stage. Out: nothing, or a refusal that names the key, and for a folder the file and the
tensors. A model folder must be complete: weights that match its configuration and are finite, an architecture that
transformers has, and a tokenizer of bounded size whose ids the model has. Shipped models, earlier stages and hub names
are not opened: the first two are ours, and a hub folder is checked when it is loaded.
"""

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from dianoia.base.errors import ConfigError, ModelError
from dianoia.bases import SHIPPED
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
from dianoia.config.lora_table import unmatched_message
from dianoia.models.folder_check import (
    Config,
    check_files,
    check_finite,
    check_tokenizer_files,
    read_config,
    tensors_of,
    unknown_architecture_message,
    vocabulary_message,
)
from dianoia.models.hub_config import model_config, text_config, unavailable_reason
from dianoia.models.tensor_names import Head, check_tensors, expected_shapes
from dianoia.models.tokenizer_probe import tokenizer_size
from dianoia.recipe.graph import Recipe, reward_models, sources

_MAX_PLAN_BYTES = 2**31
"""Bytes of weights up to which a plan searches them for NaN; a run always reads all of them."""


def check_models(name: str, recipe: Recipe, planned: bool) -> None:
    """Raise ConfigError or ModelError for a model that the stage cannot use; a plan needs no weights from the hub."""
    stage = recipe.stages[name]
    for source in sources(stage):
        _check_source(name, source, recipe)
    scorers = reward_models(stage)
    for part, source in scorers.items():
        _check_reward_model(name, part, source, recipe)
    # A plan needs only the configuration of a hub model; a run needs its weights, so ask the hub for them now.
    if not planned:
        for source in [*sources(stage), *scorers.values()]:
            _check_reachable(name, source, recipe)
    _check_folders(name, recipe, planned)
    _check_targets(name, recipe)


# Kinds of models ---------------------------------------------------------------------------------


def _check_source(name: str, source: str, recipe: Recipe) -> None:
    """Raise ConfigError unless a stage starts from a model, and from one that writes text if it does not train scores."""
    stage = recipe.stages.get(source)
    if isinstance(stage, SampleStage | DemonstrationsStage | PreferencesStage | EvaluateStage):
        raise ConfigError(
            f"stages.{name}: {source!r} is a stage of kind {stage.kind!r}, which writes no model; name a stage "
            "that trains one, a folder or a hub name"
        )
    needs_text = not isinstance(recipe.stages[name], RewardModelStage)
    if _is_reward_model(name, source, recipe) and needs_text:
        raise ConfigError(
            f"stages.{name} uses {source!r}, which is a reward model; a reward model gives numbers and "
            "writes no text, so name a language model"
        )


def _check_reachable(name: str, source: str, recipe: Recipe) -> None:
    """Raise ModelError for a model whose weights are neither here nor on the hub."""
    reason = None if source in recipe.stages else unavailable_reason(source)
    if reason is not None:
        raise ModelError(
            f"stages.{name}: the model {source!r} is no folder here and cannot be fetched from the hub "
            f"({reason}); check the connection, fetch it elsewhere (hf download) and give its folder, or look "
            "at the plan alone with --dry-run"
        )


def _is_reward_model(name: str, source: str, recipe: Recipe) -> bool:
    """Return True if a model has a score head instead of one over the vocabulary."""
    stage = recipe.stages.get(source)
    if stage is not None:
        return isinstance(stage, RewardModelStage)
    # transformers writes the class of a model into its configuration.
    architectures = model_config(f"stages.{name}", source).get("architectures") or []
    return any(architecture.endswith("ForSequenceClassification") for architecture in architectures)


def _check_reward_model(name: str, part: str, source: str, recipe: Recipe) -> None:
    """Raise ConfigError unless a model gives one number, was trained on the view it is shown, and has enough positions."""
    # Views by the paper: the helpful model sees the final answer, the safety model the whole response (section 3.1).
    shown_views = {"helpful": "answer", "safety": "response"}
    where = f"stages.{name}.preferences.{part}"
    if part not in shown_views:
        where = f"stages.{name}.rewards.models ({part})"
    stage = recipe.stages.get(source)
    config = {} if stage is not None else model_config(where, source)
    if not _is_reward_model(name, source, recipe) or (stage is None and _labels(config) != 1):
        described = f"a stage of kind {stage.kind!r}" if stage is not None else _describe(config)
        raise ConfigError(
            f"{where} = {source!r}: this is {described}, and a reward model gives one number per response; name a stage of "
            "kind 'reward_model' that comes before, or a sequence classification model with one label"
        )
    if isinstance(stage, RewardModelStage):
        trained_view: str | None = stage.scored_part
    else:
        trained_view = (config.get("dianoia_reward_model") or {}).get("sees")
    # a part under `rewards.models` is shown what its model was trained on
    shown_view = shown_views.get(part, trained_view)
    if trained_view not in (None, shown_view):
        other = "safety" if part == "helpful" else "helpful"
        raise ConfigError(
            f"{where} = {source!r}: this reward model was trained with sees = {trained_view!r}, and the {part} model is "
            f"shown the {shown_view} (the paper, section 3.1); train it with sees = {shown_view!r}, or name it as {other}"
        )
    _check_reward_model_length(name, where, source, recipe)


def _labels(config: Mapping[str, Any]) -> int:
    """Return the numbers that a classifier gives; transformers does not write down its default, which is 2."""
    return len(config["id2label"]) if "id2label" in config else int(config.get("num_labels", 2))


def _describe(config: Mapping[str, Any]) -> str:
    architecture = (config.get("architectures") or ["model of unknown architecture"])[0]
    labels = f" with {_labels(config)} labels" if "Classif" in architecture else ""
    return f"a {architecture}{labels}"


# Lengths -----------------------------------------------------------------------------------------


def check_lengths(name: str, recipe: Recipe) -> None:
    """Raise ConfigError if sequences exceed the model's positions, which would stop the stage halfway."""
    stage = recipe.stages[name]
    if isinstance(stage, SFTStage):
        _check_training_length(name, stage, recipe)
        return
    if isinstance(stage, RLStage):
        key, longest = "sampling.max_tokens (or longer)", stage.sampling.largest_max_tokens
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


def _check_training_length(name: str, stage: SFTStage, recipe: Recipe) -> None:
    positions = _positions(f"stages.{name}", name, recipe)
    if positions is not None and stage.max_length > positions:
        raise ConfigError(
            f"stages.{name}.max_length = {stage.max_length}: the model {stage.start!r} has {positions} positions "
            f"for prompt and response together; lower it to {positions} or less, or give the model more with "
            f"positions = {stage.max_length}"
        )


def _check_reward_model_length(name: str, where: str, source: str, recipe: Recipe) -> None:
    stage = recipe.stages[name]
    assert isinstance(stage, RLStage), "only these name reward models"
    longest = stage.sampling.largest_max_tokens
    positions = _positions(f"stages.{name}", source, recipe)
    if positions is not None and longest >= positions:
        raise ConfigError(
            f"stages.{name}.sampling.max_tokens (or longer) = {longest}: the reward model "
            f"{where.removeprefix(f'stages.{name}.')} = {source!r} has {positions} positions for prompt and response "
            "together; lower it, or name a model with more"
        )


def _positions(where: str, source: str, recipe: Recipe) -> int | None:
    """Return the positions of a model, followed back through the stages; None if its configuration has none."""
    stage = recipe.stages.get(source)
    if stage is None:
        limit: int | None = text_config(model_config(where, source)).get("max_position_embeddings")
        return limit
    if isinstance(stage, PretrainStage):
        return stage.model.max_positions
    # A stage that trains has exactly one start.
    inherited = _positions(where, sources(stage)[-1], recipe)
    # Fine-tuning may give a model more positions, never fewer.
    raised = stage.positions if isinstance(stage, SFTStage) else None
    return max(inherited, raised) if inherited is not None and raised is not None else inherited


# Folders -----------------------------------------------------------------------------------------


def _check_folders(name: str, recipe: Recipe, planned: bool) -> None:
    """Raise ModelError for a model folder that is damaged, incomplete or of another kind than the stage needs."""
    stage = recipe.stages[name]
    # A reward model may start from another reward model or from a language model.
    start_head: Head = "any" if isinstance(stage, RewardModelStage) else "vocabulary"
    heads: dict[str, Head] = dict.fromkeys(sources(stage), start_head)
    heads |= dict.fromkeys(reward_models(stage).values(), "score")
    for source, head in heads.items():
        folder = Path(source).expanduser()
        if source in recipe.stages or source in SHIPPED or not folder.is_dir():
            continue
        try:
            if not isinstance(stage, PretrainStage):  # pretraining takes only the tokenizer
                _check_model(folder, head, planned)
            _check_tokenizer(folder)
        except ModelError as error:
            raise ModelError(f"stages.{name}: {error}") from None
        except OSError as error:
            raise ModelError(
                f"stages.{name}: {error.filename or folder}: it cannot be read ({error.strerror or error}); check "
                "its permissions"
            ) from None


def _check_model(folder: Path, head: Head, planned: bool) -> None:
    config = read_config(folder)
    if not has_architecture(config["model_type"]):
        raise ModelError(unknown_architecture_message(str(folder), config))
    check_files(folder)
    tensors = tensors_of(folder)
    check_tensors(folder, config, tensors, head)
    size = sum(tensor.end - tensor.begin for tensor in tensors.values())
    # Reading tens of GB would make a dry run take minutes.
    if size <= _MAX_PLAN_BYTES or not planned:
        check_finite(tensors)
    check_tokenizer_files(folder)
    _check_vocabulary(folder, text_config(config))


def _check_tokenizer(folder: Path) -> None:
    check_tokenizer_files(folder)
    check_files(folder)
    tokenizer_size(folder)


def _check_vocabulary(folder: Path, config: Config) -> None:
    size, rows = tokenizer_size(folder), config.get("vocab_size")
    if size is not None and isinstance(rows, int) and size > rows:
        raise ModelError(vocabulary_message(str(folder), rows, size))


def _check_targets(name: str, recipe: Recipe) -> None:
    """Raise ConfigError for a lora target that names no layer of a model whose layers are known; others find out when loaded."""
    stage = recipe.stages[name]
    if not isinstance(stage, RLStage | SFTStage | RewardModelStage) or stage.lora is None:
        return
    source = _first_model(stage.start, recipe)
    if source is None:
        return
    try:
        shapes = expected_shapes(text_config(model_config(f"stages.{name}", source))) or {}
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return  # `check_tensors` says so of a folder
    layers = [
        tensor.removesuffix(".weight")
        for tensor, shape in shapes.items()
        if len(shape) == 2 and ".layers." in tensor
    ]
    if layers and (unmatched := stage.lora.unmatched(layers)):
        raise ConfigError(f"stages.{name}.{unmatched_message(unmatched, layers)}")


def _first_model(source: str, recipe: Recipe) -> str | None:
    """Return the model outside the recipe that a source comes from; None if the recipe pretrains it."""
    while (stage := recipe.stages.get(source)) is not None:
        if not isinstance(stage, RLStage | SFTStage | RewardModelStage):
            return None
        source = stage.start
    return source


@cache
def has_architecture(model_type: str) -> bool:
    """Return True if the installed transformers lists a model type.

    Its source files are searched for the name, because importing transformers would import torch.
    """
    spec = importlib.util.find_spec("transformers")
    assert spec is not None and spec.origin is not None, "a dependency"
    folder = Path(spec.origin).parent / "models" / "auto"
    names = ("auto_mappings.py", "configuration_auto.py")
    texts = [
        (folder / name).read_text(encoding="utf-8") for name in names if (folder / name).is_file()
    ]
    # Without these files (another version of transformers) nothing can be said, and the run will find out.
    return not texts or any(f'"{model_type}"' in text for text in texts)
