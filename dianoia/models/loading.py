"""Loads models and tokenizers of transformers, without random weights, damaged weights or foreign code.

In: a folder or hub name, and a class of transformers where it is no causal language model. Out: the model or tokenizer, or `ModelError` with the names
of the tensors at fault. Code in a folder or repository is never run, and transformers' question whether it may is
never asked. Pickled weights are not opened. Vocabulary rows without a token of the tokenizer are cut off: they are
padding, and sampling one gives no text.
"""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from dianoia.base.errors import ModelError
from dianoia.models.folder_check import (
    check_files,
    check_tokenizer_files,
    listed,
    non_finite_message,
    read_config,
    tensors_of,
    unknown_architecture_message,
    vocabulary_message,
)
from dianoia.models.tensor_names import Head, check_tensors
from dianoia.models.tokenizer_probe import tokenizer_size

log = logging.getLogger(__name__)

_PADDING_ROWS = 8
"""Our own models pad their vocabulary by fewer rows than this; there is no warning about so few."""
_CODE = ("trust_remote_code", "custom code", "auto_map")
"""Words of transformers' messages about code in a folder."""


def folder_of(source: str | Path) -> Path | None:
    """Return the folder that a source refers to; None for a hub name."""
    path = Path(source)
    looks_local = path.is_absolute() or str(source).startswith((".", "~"))
    # A text that is no path syntax may still be the name of a folder here, which comes before the hub.
    is_local = isinstance(source, Path) or looks_local or path.exists()
    return path if is_local else None


def load_model(
    source: str | Path,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> PreTrainedModel:
    """Load a causal language model of a folder or hub name in evaluation mode (no dropout), on `device`.

    Rows of its vocabulary that its tokenizer has no tokens for are cut off. Raises ModelError, with what to do about it,
    for anything that cannot be found or read, and for damaged weights.
    """
    model, _ = load_checked(AutoModelForCausalLM, source, dtype=dtype)
    try:
        tokenizer = load_tokenizer(source)
    except ModelError:
        pass  # a model without a tokenizer: there is nothing to compare its vocabulary with
    else:
        _fit_vocabulary(model, tokenizer, source)
    nn.Module.to(model, device)  # through nn.Module, whose `to` is typed
    return model


def load_model_and_tokenizer(
    source: str | Path,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model as `load_model` does, and its tokenizer. Raises ModelError, also where there is no tokenizer."""
    model, _ = load_checked(AutoModelForCausalLM, source, dtype=dtype)
    tokenizer = load_tokenizer(source)
    _fit_vocabulary(model, tokenizer, source)
    nn.Module.to(model, device)
    return model, tokenizer


def load_checked(
    model_class: Any,
    source: str | Path,
    *,
    may_lack: Collection[str] = (),
    **options: Any,
) -> tuple[PreTrainedModel, list[str]]:
    """Load a model of a class such as `AutoModelForCausalLM`, in evaluation mode (no dropout), on the CPU.

    Args:
        may_lack: prefixes of tensors that may be missing, and are then initialized at random, or be superfluous,
            such as a head.

    Returns:
        The model, and the names of the tensors that were initialized at random.

    Raises:
        ModelError: the folder or name cannot be found or read; tensors are missing, superfluous or of another
            shape; weights are not finite.
    """
    folder = folder_of(source)
    if folder is not None:
        _check_folder(folder, "any" if may_lack else "vocabulary")
    try:
        with _quiet():
            model, info = model_class.from_pretrained(
                str(source),
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # `_check_loaded` refuses them, with their names
                output_loading_info=True,
                **options,
            )
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything in transformers
        raise _unreadable("model", source, error) from error
    _check_loaded(source, info, may_lack)
    model = cast(PreTrainedModel, model)
    non_finite = [name for name, tensor in model.state_dict().items() if not _is_finite(tensor)]
    if non_finite:
        raise ModelError(non_finite_message(str(source), non_finite))
    # from_pretrained() does so already, unless the class overrides it.
    nn.Module.eval(model)
    return model, sorted(info["missing_keys"])


def _check_folder(folder: Path, head: Head) -> None:
    """Check everything that can be checked without loading."""
    config = read_config(folder)
    if config["model_type"] not in CONFIG_MAPPING:
        raise ModelError(unknown_architecture_message(str(folder), config))
    check_files(folder)
    check_tensors(folder, config, tensors_of(folder), head)


def _check_loaded(source: str | Path, info: dict[str, Any], may_lack: Collection[str]) -> None:
    """Raise ModelError for tensors that transformers has initialized at random, ignored or found in another shape."""

    def faults(key: str) -> list[str]:
        # An entry is a name, or a tuple that begins with it.
        names = (name if isinstance(name, str) else name[0] for name in info.get(key) or ())
        return sorted(name for name in names if not name.startswith(tuple(may_lack) or ("\0",)))

    missing, superfluous, misshapen = map(
        faults, ("missing_keys", "unexpected_keys", "mismatched_keys")
    )
    for names, fault in (
        (missing, "lack the tensors {}, which would be initialized at random"),
        (misshapen, "hold the tensors {} in another shape than config.json gives"),
        (superfluous, "hold the tensors {}, which no model with this config has"),
    ):
        if names:
            raise ModelError(
                f"The model {str(source)!r} cannot be used: its weights {fault.format(listed(names))}; the files are "
                "damaged or belong to another config.json, so fetch them again"
            )


def _is_finite(tensor: torch.Tensor) -> bool:
    # The sum is quick and needs no memory. It may overflow for large finite numbers; only then all are tested.
    return (
        not tensor.is_floating_point()
        or bool(torch.isfinite(tensor.sum()))
        or bool(torch.isfinite(tensor).all())
    )


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder or hub name. Raises ModelError."""
    folder = folder_of(source)
    if folder is not None:
        check_tokenizer_files(folder)
        check_files(folder)
        tokenizer_size(folder)
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(source), trust_remote_code=False)
    except MemoryError:
        raise
    except Exception as error:  # as for a model
        raise _unreadable("tokenizer", source, error) from error
    return cast(PreTrainedTokenizerBase, tokenizer)


def _unreadable(part: str, source: str | Path, error: Exception) -> ModelError:
    """Return the error for a model or tokenizer that transformers cannot load."""
    text = str(error).strip()
    # transformers has no exception of its own for this.
    if any(word in text for word in _CODE):
        return ModelError(
            f"The {part} {str(source)!r} cannot be loaded: it needs code of its own, which is never run; give a "
            "model of an architecture that transformers has itself"
        )
    reason = (text or type(error).__name__).splitlines()[0][:300]
    return ModelError(
        f"The {part} {str(source)!r} cannot be loaded: {reason} Check the spelling and the "
        "network, download it first (hf download), or give a folder that holds it."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' reports on random weights, which are refused here or intended."""
    previous = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(previous)


def _fit_vocabulary(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, source: str | Path
) -> None:
    """Cut off the vocabulary rows after the last token of the tokenizer from the same `source`.

    Raises ModelError for a tokenizer with ids that the model does not have.
    """
    rows = vocabulary_rows(model)
    ids = {text: int(token) for text, token in tokenizer.get_vocab().items()}
    # The model may lack special tokens that fine-tuning or transformers has added, such as one for padding.
    special = set(tokenizer.all_special_tokens)
    needed = max((token for text, token in ids.items() if text not in special), default=-1) + 1
    size = max(ids.values(), default=-1) + 1
    if needed > rows:
        raise ModelError(vocabulary_message(str(source), rows, needed))
    if size >= rows or not size:
        return
    # A few spare rows are usual; many may mean that the tokenizer belongs to another model.
    if rows - size >= _PADDING_ROWS:
        log.warning(
            "%s: the vocabulary has %d rows and the tokenizer %d tokens; the rows beyond are cut off.",
            source,
            rows,
            size,
        )
    model.resize_token_embeddings(size, mean_resizing=False)
    # Ids of rows that are gone must not be used to pad or to stop.
    for settings in (model.config, model.config.get_text_config(), model.generation_config):
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            _drop_ids(settings, name, size)


def _drop_ids(settings: Any, name: str, size: int) -> None:
    """Remove ids of rows that were cut off, `size` and above, from an entry of one id or several."""
    value = getattr(settings, name, None)
    if isinstance(value, int) and value >= size:
        setattr(settings, name, None)
    elif isinstance(value, list):
        setattr(settings, name, [token for token in value if token < size] or None)


def vocabulary_rows(model: PreTrainedModel) -> int:
    """Return the number of ids that a model has an embedding for."""
    return int(cast(Any, model.get_input_embeddings()).weight.shape[0])


def extend_positions(model: PreTrainedModel, positions: int) -> None:
    """Let the model read up to `positions` tokens, in its configuration and so in its checkpoint; never fewer than before.

    RoPE frequencies stay as they are: positions beyond the old limit have to be learnt. Raises ModelError for positions that
    are learnt vectors, or scaled by the old limit.
    """
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "none") != "default":
        raise ModelError(
            f"positions = {positions}: a model of type {config.model_type!r} with positions of the kind "
            f"{rope.get('rope_type', 'learnt')!r} cannot be given more; remove positions and set max_length "
            f"to at most {config.max_position_embeddings}"
        )
    # Never fewer: a checkpoint must not lose positions that it was trained with.
    config.max_position_embeddings = max(positions, config.max_position_embeddings)
