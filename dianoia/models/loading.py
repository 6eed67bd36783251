"""Loads models and tokenizers of transformers so that nothing of them is drawn at random, damaged or executed.

In: a class of transformers, and a folder or hub name. Out: the model or tokenizer, or `ModelError` with the names of the
tensors at fault. Code that a folder or a repository brings along is never run, and nobody is asked whether it may be;
pickled weights are not opened. Rows of a vocabulary that no token of the tokenizer has are cut off: they are padding,
and what is sampled from them is no text.
"""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as reports

from dianoia.base.errors import ModelError
from dianoia.models.folder_check import (
    check_files,
    check_tokenizer_files,
    named,
    not_finite,
    read_config,
    tensors_of,
    unknown_architecture,
    vocabulary_too_small,
)
from dianoia.models.tensor_names import Head, check_tensors
from dianoia.models.tokenizer_probe import tokenizer_size

log = logging.getLogger(__name__)

_ROUNDING = 8
"""Rows by which our own models are rounded up: so few of them are no news."""
_BEFORE: WeakKeyDictionary[PreTrainedTokenizerBase, list[int]] = WeakKeyDictionary()
"""What each tokenizer puts before a text."""
_CODE = ("trust_remote_code", "custom code", "auto_map")
"""Words of transformers' messages about code that a folder brings along."""


def folder_of(source: str | Path) -> Path | None:
    """The folder that a source is meant as; None for a hub name."""
    path = Path(source)
    looks_local = path.is_absolute() or str(source).startswith((".", "~"))
    local = isinstance(source, Path) or looks_local or path.exists()
    return path if local else None


def loaded(
    kind: Any,
    source: str | Path,
    *,
    what: str = "model",
    may_lack: Collection[str] = (),
    **options: Any,
) -> tuple[PreTrainedModel, list[str]]:
    """A model of a class such as `AutoModelForCausalLM`, in evaluation mode (no dropout), on the CPU.

    `may_lack`: prefixes of tensors that may be drawn at random, or be left over, such as a head; names of those that
    were drawn come back too. Raises ModelError for a folder or name that cannot be found or read, tensors that are
    missing, left over or of another shape, and weights that are not finite.
    """
    folder = folder_of(source)
    if folder is not None:
        _check_folder(folder, "any" if may_lack else "vocabulary")
    try:
        with _quiet():
            model, info = kind.from_pretrained(
                str(source),
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # refused below, with their names
                output_loading_info=True,
                **options,
            )
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes of transformers
        raise unreadable("model", source, error) from error
    _check_loaded(source, info, may_lack)
    model = cast(PreTrainedModel, model)
    broken = [name for name, tensor in model.state_dict().items() if not _finite(tensor)]
    if broken:
        raise ModelError(not_finite(str(source), broken))
    nn.Module.eval(model)
    return model, sorted(info["missing_keys"])


def _check_folder(folder: Path, head: Head) -> None:
    """Everything that can be said without loading, in the words of `models.folder_check`."""
    config = read_config(folder)
    if config["model_type"] not in CONFIG_MAPPING:
        raise ModelError(unknown_architecture(str(folder), config))
    check_files(folder)
    check_tensors(folder, config, tensors_of(folder), head)


def _check_loaded(source: str | Path, info: dict[str, Any], may_lack: Collection[str]) -> None:
    """Raise ModelError for what transformers has drawn at random, left over or found in another shape."""

    def of_note(key: str) -> list[str]:
        names = (name if isinstance(name, str) else name[0] for name in info.get(key) or ())
        return sorted(name for name in names if not name.startswith(tuple(may_lack) or ("\0",)))

    missing, spare, other = map(of_note, ("missing_keys", "unexpected_keys", "mismatched_keys"))
    for names, said in (
        (missing, "lack the tensors {}, which would be drawn at random"),
        (other, "hold the tensors {} in another shape than config.json says"),
        (spare, "hold the tensors {}, which no model of this config has"),
    ):
        if names:
            raise ModelError(
                f"The model {str(source)!r} cannot be used: its weights {said.format(named(names))}; the files are "
                "damaged or belong to another config.json, so fetch them again"
            )


def _finite(tensor: torch.Tensor) -> bool:
    return (
        not tensor.is_floating_point()
        or bool(torch.isfinite(tensor.sum()))
        or bool(torch.isfinite(tensor).all())
    )


def read_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or hub name. Raises ModelError."""
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
    except Exception as error:  # as above
        raise unreadable("tokenizer", source, error) from error
    return cast(PreTrainedTokenizerBase, tokenizer)


def unreadable(what: str, source: str | Path, error: Exception) -> ModelError:
    """What to say where transformers gives up."""
    text = str(error).strip()
    if any(word in text for word in _CODE):
        return ModelError(
            f"The {what} {str(source)!r} cannot be loaded: it brings code of its own, which is never run; give a "
            "model of an architecture that transformers has itself"
        )
    reason = (text or type(error).__name__).splitlines()[0][:300]
    return ModelError(
        f"The {what} {str(source)!r} cannot be loaded: {reason} Check the spelling and the "
        "network, download it first (hf download), or give a folder that holds it."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers reports what it draws at random, which is refused here or meant."""
    before = reports.get_verbosity()
    reports.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        reports.set_verbosity(before)


# Vocabulary and prompts -----------------------------------------------------------------------------


def fit_vocabulary(model: PreTrainedModel, source: str | Path) -> None:
    """Cut off the rows of the vocabulary behind the last token of the tokenizer beside the model, if there is one.

    Raises ModelError for a tokenizer with ids that the model does not have.
    """
    try:
        tokenizer = read_tokenizer(source)
    except ModelError:
        return  # a model by itself
    rows, ids = (
        vocabulary_rows(model),
        {text: int(token) for text, token in tokenizer.get_vocab().items()},
    )
    # Special tokens that a fine-tuning or transformers itself has added, such as one to pad with, may be unknown here.
    special = set(tokenizer.all_special_tokens)
    needed = max((token for text, token in ids.items() if text not in special), default=-1) + 1
    size = max(ids.values(), default=-1) + 1
    if needed > rows:
        raise ModelError(vocabulary_too_small(str(source), rows, needed))
    if size >= rows or not size:
        return
    if rows - size >= _ROUNDING:
        log.warning(
            "%s: its vocabulary has %d rows and its tokenizer %d tokens; the rows beyond are left out.",
            source,
            rows,
            size,
        )
    model.resize_token_embeddings(size, mean_resizing=False)
    for settings in (model.config, model.config.get_text_config(), model.generation_config):
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            _drop_ids(settings, name, size)


def _drop_ids(settings: Any, name: str, size: int) -> None:
    """Take ids from `size` on out of an entry that holds one id or several: nothing has them any more."""
    value = getattr(settings, name, None)
    if isinstance(value, int) and value >= size:
        setattr(settings, name, None)
    elif isinstance(value, list):
        setattr(settings, name, [token for token in value if token < size] or None)


def vocabulary_rows(model: PreTrainedModel) -> int:
    """Ids that a model has an embedding for."""
    return int(cast(Any, model.get_input_embeddings()).weight.shape[0])


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> list[list[int]]:
    """Token ids of prompts: what the tokenizer puts before a text, once, and nothing that it puts behind.

    Some tokenizers close every text with their end token; a model that is asked to go on from there writes another
    text.
    """
    if not prompts:
        return []
    bare: list[list[int]] = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    before = _put_before(tokenizer)
    return [ids if before == ids[: len(before)] else [*before, *ids] for ids in bare]


def _put_before(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that a tokenizer puts before every text by itself; what it puts behind is told once."""
    if tokenizer in _BEFORE:
        return _BEFORE[tokenizer]
    inner: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer("a")["input_ids"]
    starts = range(len(whole) - len(inner) + 1)
    first = next((i for i in starts if whole[i : i + len(inner)] == inner), 0)
    behind = whole[first + len(inner) :]
    if behind:
        log.warning(
            "The tokenizer puts %s behind every text; prompts go without it.",
            " ".join(map(str, tokenizer.convert_ids_to_tokens(behind))),
        )
    _BEFORE[tokenizer] = whole[:first]
    return whole[:first]
