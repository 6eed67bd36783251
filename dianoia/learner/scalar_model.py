"""Reward models in and out: transformers' sequence classifiers with one label, in ordinary folders.

In: a Hugging Face folder or hub name. Out: the model, on a device, in evaluation mode, and a tokenizer that
pads with the token that the model passes over. A causal language model gets a new head, drawn by seed; a
reward model keeps its own. What a reward model sees is written into its `config.json` (`Outlook`), where
transformers keeps it and everyone else may pass over it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as reports

from dianoia.base.errors import ModelError
from dianoia.text.seen import Sees

_KEY = "dianoia_reward_model"


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
    model, missing = _loaded(source)
    # A seq2seq or encoder model would come with a backbone drawn at random, too.
    if any(name.startswith(f"{model.base_model_prefix}.") for name in missing):
        raise ModelError(
            f"The model {str(source)!r} lacks weights of its backbone ({', '.join(missing[:3])}), so a "
            "reward model would start from noise; give a causal language model or a reward model"
        )
    nn.Module.eval(nn.Module.to(model, device))
    return model


def load_reward_model(source: str | Path, device: torch.device | str = "cpu") -> PreTrainedModel:
    """A trained reward model, in float32. Raises ModelError for anything else."""
    model, missing = _loaded(source)
    if missing:
        raise ModelError(
            f"The model {str(source)!r} has no scalar head ({', '.join(missing[:3])} is missing), so its "
            "rewards would be noise; train one with a stage of kind reward_model, or give a sequence "
            "classification model with one label"
        )
    nn.Module.eval(nn.Module.to(model, device))
    return model


def _loaded(source: str | Path) -> tuple[PreTrainedModel, list[str]]:
    """The model and the names of weights that its folder does not have."""
    try:
        with _quiet():
            model, info = AutoModelForSequenceClassification.from_pretrained(
                str(source), num_labels=1, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"The model {str(source)!r} cannot be loaded as a reward model: {reason} A reward model is a "
            "causal language model, or a sequence classification model with exactly one label."
        ) from error
    return cast(PreTrainedModel, model), sorted(info["missing_keys"])


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers reports every head that it draws; here it is meant to, or refused."""
    before = reports.get_verbosity()
    reports.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        reports.set_verbosity(before)


def prepare_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make model and tokenizer pad alike, on the right: with the tokenizer's token, else its end token.

    Raises ModelError where there is neither.
    """
    if tokenizer.pad_token_id is None:
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
    """What the model was trained to see; None for a model from elsewhere."""
    written: dict[str, Any] | None = getattr(model.config, _KEY, None)
    return Outlook(**written) if written else None
