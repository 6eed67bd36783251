"""Reward models in and out: transformers' sequence classifiers with one label, in ordinary folders.

In: a Hugging Face folder or hub name. Out: the model, on a device, in evaluation mode, and a tokenizer that
pads with the token that the model passes over. A causal language model gets a new head, drawn by seed; a
reward model keeps its own. What a reward model sees is written into its `config.json` (`Outlook`), where
transformers keeps it and everyone else may pass over it.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from dianoia.base.errors import ModelError
from dianoia.models.loading import load_checked, vocabulary_rows
from dianoia.text.template import TEMPLATES
from dianoia.text.visible import Sees

_KEY = "dianoia_reward_model"
_HEADS = ("score.", "lm_head.")
"""Tensors that come and go between a language model and a reward model."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a reward model was trained to see."""

    template: str
    sees: Sees


def start_reward_model(
    source: str | Path, seed: int, device: torch.device | str = "cpu"
) -> PreTrainedModel:
    """A model to train, in float32: any causal language model's backbone with a scalar head.

    The head is drawn by `seed` on the CPU, so that it is the same on every device; a reward model comes
    with its own. Raises ModelError for what cannot be loaded.
    """
    torch.manual_seed(seed)
    # A seq2seq or encoder model would come with a backbone drawn at random, which `load_checked` refuses.
    model, _ = _loaded(source)
    nn.Module.to(model, device)
    return model


def load_reward_model(source: str | Path, device: torch.device | str = "cpu") -> PreTrainedModel:
    """A trained reward model, in float32. Raises ModelError for anything else."""
    model, drawn = _loaded(source)
    if drawn:
        raise ModelError(
            f"The model {str(source)!r} has no scalar head ({', '.join(drawn[:3])} is missing), so its "
            "rewards would be noise; train one with a stage of kind reward_model, or give a sequence "
            "classification model with one label"
        )
    nn.Module.to(model, device)
    return model


def _loaded(source: str | Path) -> tuple[PreTrainedModel, list[str]]:
    """A classifier with one label, and the names of its head's tensors where those were drawn."""
    try:
        return load_checked(
            AutoModelForSequenceClassification,
            source,
            may_lack=_HEADS,
            num_labels=1,
            dtype=torch.float32,
        )
    except ModelError as error:
        raise ModelError(
            f"{error} A reward model is a causal language model to begin with, or a sequence classification model "
            "with exactly one label."
        ) from error


def prepare_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make model and tokenizer pad alike, on the right: with the tokenizer's token, else its end token.

    Raises ModelError where there is neither.
    """
    rows = vocabulary_rows(model)
    if (
        tokenizer.pad_token_id is None or tokenizer.pad_token_id >= rows
    ):  # or one that the model lacks
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise ModelError(
            "The tokenizer names neither a padding nor an end token, and a reward model reads its reward "
            "at the last token that is not padding; set pad_token in tokenizer_config.json"
        )
    tokenizer.padding_side = "right"
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id


def save_reward_model(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, outlook: Outlook
) -> None:
    """An ordinary folder that `AutoModelForSequenceClassification.from_pretrained` reads."""
    setattr(model.config, _KEY, asdict(outlook))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def outlook_of(model: PreTrainedModel) -> Outlook | None:
    """What the model was trained to see; None for a model from elsewhere.

    Raises ModelError for an entry of its configuration that says something else than a `reward_model` stage writes.
    """
    written: dict[str, Any] | None = getattr(model.config, _KEY, None)
    if not written:
        return None
    known = written.keys() == {"template", "sees"} and written["sees"] in get_args(Sees)
    if not known or written["template"] not in TEMPLATES:
        raise ModelError(
            f"The model {model.config.name_or_path!r} says in config.json that it sees {_KEY} = {str(written)[:200]}, which no "
            f"stage of kind reward_model writes; templates are {', '.join(TEMPLATES)}, and sees is one of "
            f"{', '.join(get_args(Sees))}"
        )
    return Outlook(**written)
