"""The model folders that a recipe starts from, looked through before any work. No torch.

In: a stage. Out: nothing, or a refusal that names the table, the file and the tensors. A folder is whole, its weights
are those that its configuration asks for and hold numbers only, its architecture is one that transformers has, and its
tokenizer keeps within bounds and gives no id that the model lacks. A shipped model, an earlier stage and a hub name
are not looked through here: the first two are ours, and a hub's folder is when it is loaded.
"""

import importlib.util
from functools import cache
from pathlib import Path

from dianoia.base.errors import ModelError
from dianoia.bases import SHIPPED
from dianoia.config import PretrainStage, RewardModelStage
from dianoia.models.folder_check import (
    Config,
    check_files,
    check_finite,
    check_tokenizer_files,
    read_config,
    tensors_of,
    unknown_architecture,
    vocabulary_too_small,
)
from dianoia.models.hub_config import text_config
from dianoia.models.tensor_names import Head, check_tensors
from dianoia.models.tokenizer_probe import tokenizer_size
from dianoia.recipe.graph import Recipe, reward_models, sources

_READ_FOR_A_PLAN = 2**31
"""Bytes of weights up to which a plan looks for NaN; a run reads all of them anyway."""


def check_folders(name: str, recipe: Recipe, planned: bool) -> None:
    """Raise ModelError for a folder of a stage that is damaged, incomplete or not what it says."""
    stage = recipe.stages[name]
    head: Head = "any" if isinstance(stage, RewardModelStage) else "vocabulary"
    heads: dict[str, Head] = dict.fromkeys(sources(stage), head)
    heads |= dict.fromkeys(reward_models(stage).values(), "score")
    for source, wanted in heads.items():
        folder = Path(source).expanduser()
        if source in recipe.stages or source in SHIPPED or not folder.is_dir():
            continue
        try:
            if not isinstance(stage, PretrainStage):  # which takes the tokenizer alone
                _check_model(folder, wanted, planned)
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
        raise ModelError(unknown_architecture(str(folder), config))
    check_files(folder)
    tensors = tensors_of(folder)
    check_tensors(folder, config, tensors, head)
    size = sum(tensor.end - tensor.begin for tensor in tensors.values())
    if size <= _READ_FOR_A_PLAN or not planned:
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
        raise ModelError(vocabulary_too_small(str(folder), rows, size))


@cache
def has_architecture(kind: str) -> bool:
    """Whether transformers, as it is installed, names a type of model; importing it would take torch along."""
    spec = importlib.util.find_spec("transformers")
    assert spec is not None and spec.origin is not None, "a dependency"
    folder = Path(spec.origin).parent / "models" / "auto"
    names = ("auto_mappings.py", "configuration_auto.py")
    texts = [
        (folder / name).read_text(encoding="utf-8") for name in names if (folder / name).is_file()
    ]
    return not texts or any(f'"{kind}"' in text for text in texts)
