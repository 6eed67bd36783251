"""Load and save reward models: transformers' sequence classifiers with one label, in ordinary folders.

In: a Hugging Face folder or hub name. Out: the model, on a device, in evaluation mode, and a tokenizer that pads with the
token that the model passes over. A causal language model gets a new head, drawn by seed; a reward model keeps its own.
Which part of a response a reward model scores is written into its `config.json` (`Outlook`), where transformers keeps it
and other programs may ignore it.
"""

from dataclasses import dataclass
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
from dianoia.learner.checkpoint_folder import drop_chat_template, finish_config, save_tokenizer
from dianoia.models.loading import load_checked, vocabulary_rows
from dianoia.text.template import TEMPLATE_RECORD, TEMPLATES, Template, recorded_template
from dianoia.text.visible import Sees

_KEY = "dianoia_reward_model"
_HEADS = ("score.", "lm_head.")
"""Prefixes of tensors that only a reward model has, or only a language model."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The prompt template of a reward model, and the part of a response that it scores."""

    template: Template
    sees: Sees

    def record(self) -> dict[str, Any]:
        """Return the outlook as `config.json` holds it."""
        return {"template": self.template.record(), "sees": self.sees}


def start_reward_model(
    source: str | Path, seed: int, device: torch.device | str = "cpu"
) -> PreTrainedModel:
    """Return a model to train, in float32: any causal language model's backbone with a scalar head.

    The head is drawn by `seed` on the CPU, so that it is the same on every device; a reward model comes with its own.
    Raises ModelError for a model that cannot be loaded.
    """
    torch.manual_seed(seed)
    # A seq2seq or encoder model would come with a backbone drawn at random, which `load_checked` refuses.
    model, _ = _loaded(source)
    nn.Module.to(model, device)
    return model


def load_reward_model(source: str | Path, device: torch.device | str = "cpu") -> PreTrainedModel:
    """Load a trained reward model, in float32. Raises ModelError for anything else."""
    model, missing = _loaded(source)
    if missing:
        raise ModelError(
            f"The model {str(source)!r} has no scalar head ({', '.join(missing[:3])} is missing), so its "
            "rewards would be noise; train one with a stage of kind reward_model, or give a sequence "
            "classification model with one label"
        )
    nn.Module.to(model, device)
    return model


def _loaded(source: str | Path) -> tuple[PreTrainedModel, list[str]]:
    """Load a classifier with one label; returns it and the names of its head's tensors where those were drawn."""
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
    """Make model and tokenizer pad in the same way, on the right: with the padding token, else the end token.

    Raises ModelError where the tokenizer has neither.
    """
    rows = vocabulary_rows(model)
    # A padding token beyond the model's vocabulary counts as none.
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= rows:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise ModelError(
            "The tokenizer names neither a padding nor an end token, and a reward model reads its reward "
            "at the last token that is not padding; set pad_token in tokenizer_config.json"
        )
    # On the right, so that causal attention never reads padding before a text.
    tokenizer.padding_side = "right"
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id


def save_reward_model(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, outlook: Outlook
) -> None:
    """Write an ordinary folder that `AutoModelForSequenceClassification.from_pretrained` reads."""
    model.save_pretrained(folder)
    # transformers reads unknown entries of a configuration as attributes. The template is that of rewards, not of answers.
    finish_config(folder, {_KEY: outlook.record(), TEMPLATE_RECORD: None})
    save_tokenizer(folder, tokenizer)
    # That of the model it began with would render answers for a reader, and not for this scorer.
    if not outlook.template.chat:
        drop_chat_template(folder)


def outlook_of(model: PreTrainedModel) -> Outlook | None:
    """Return the outlook in the model's configuration; None for a model from elsewhere.

    Raises ModelError for an entry that no `reward_model` stage writes.
    """
    written: dict[str, Any] | None = getattr(model.config, _KEY, None)
    if not written:
        return None
    # A folder may come from anywhere, and rewards under a wrong template would be noise.
    is_valid = written.keys() == {"template", "sees"} and written["sees"] in get_args(Sees)
    template = recorded_template(written["template"]) if is_valid else None
    if template is None:
        raise ModelError(
            f"The model {model.config.name_or_path!r} says in config.json that it sees {_KEY} = {str(written)[:200]}, which no "
            f"stage of kind reward_model writes; templates are {', '.join(TEMPLATES)} or a table, and sees is one of "
            f"{', '.join(get_args(Sees))}"
        )
    return Outlook(template, written["sees"])
