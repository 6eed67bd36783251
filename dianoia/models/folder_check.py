"""Looks through a Hugging Face model folder before anything is loaded: is it whole, and is it what it says? No torch.

In: a folder. Out: nothing, or a `ModelError` of one line that names the file and, where it is about weights, the
tensors. Read are the JSON files, with bounds, and the headers of the safetensors files: a download that broke off, a
Git LFS pointer and a tensor that is missing or has another shape all show there. Pickled weights are refused: a pickle
can run code, and expand without bound. `models.tensor_names` says what tensors a configuration asks for.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from dianoia.base.bounded_json import UnreadableJSON, parse_json
from dianoia.base.errors import ModelError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZERS = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("tokenizer.model",),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
    ("vocab.txt",),
)
"""Files that make a tokenizer, each set by itself."""
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
_JSON_SIZES = {
    "tokenizer.json": 2**26,
    INDEX: 2**26,
    "vocab.json": 2**26,
    "added_tokens.json": 2**24,
}
_JSON_FILES = (
    *(CONFIG, "generation_config.json", "tokenizer_config.json", "special_tokens_map.json"),
    *_JSON_SIZES,
)
_WITH_VALUES = ("generation_config.json", "tokenizer_config.json")
_MAX_JSON = 2**22
"""Bytes of any other JSON file."""
_MAX_TEMPLATE = 2**20
_MAX_HEADER = 2**25
"""Bytes: of a few hundred thousand tensors."""
_POINTER = b"version https://git-lfs"
_WIDTHS = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes of a number by its type; types of less than a byte are not looked into."""
_CHUNK = 2**24
_NAMED = 3

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the header of its file describes it."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """Byte of the file at which it begins."""
    end: int


def named(names: list[str]) -> str:
    """The first few of some names, and how many there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


# Files -------------------------------------------------------------------------------------------


def read_config(folder: Path) -> Config:
    """The `config.json` of a folder. Raises ModelError for one that is missing, damaged or no object."""
    config = read_object(folder / CONFIG)
    if not isinstance(config.get("model_type"), str):
        raise ModelError(
            f"{folder / CONFIG}: it names no model_type, so nobody can tell what kind of model this is; fetch the "
            "file again, or give another folder"
        )
    _check_values(folder / CONFIG, config)
    if isinstance(config.get("text_config"), dict):
        _check_values(folder / CONFIG, config["text_config"])
    return config


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**53


def _is_end(value: Any) -> bool:
    ids = value if isinstance(value, list) else [value]
    return all(type(token) is int and token >= 0 for token in ids)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(
        ("max_position_embeddings", "n_positions", "vocab_size", "hidden_size", "num_hidden_layers",
         "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size", "num_labels"),
        (_is_size, "a whole number above 0"),
    ),
    "eos_token_id": (_is_end, "an id, or a list of ids"),
    "architectures": (_is_names, "a list of names"),
    **dict.fromkeys(("text_config", "id2label", "dianoia_reward_model"), (_is_table, "an object")),
    "model_max_length": (lambda value: type(value) in (int, float) and value > 0, "a number above 0"),
}  # fmt: skip
"""What values are checked, by key; others are left to transformers."""


def _check_values(file: Path, entries: Config) -> None:
    """Raise ModelError for an entry of another kind than every reader takes it for."""
    for key, value in entries.items():
        right, kind = _VALUES.get(key, (None, ""))
        if isinstance(value, float) and value != value:
            right, kind = _never, "a number"
        if value is not None and right is not None and not right(value):
            raise ModelError(
                f"{file}: {key} = {str(value)[:80]!r} is not {kind}; correct it, or fetch the file again"
            )


def _never(_: Any) -> bool:
    return False


def unknown_architecture(where: str, config: Config) -> str:
    """What to say of a model of a type that transformers does not have."""
    code = (
        " The folder brings code for it along, and such code is never run."
        if "auto_map" in config
        else ""
    )
    return (
        f"The model {where!r} cannot be loaded: transformers as it is installed has no architecture "
        f"{config['model_type']!r}.{code} Give a model of an architecture that transformers has, or install a newer "
        "transformers"
    )


def vocabulary_too_small(source: str, rows: int, size: int) -> str:
    """What to say of a tokenizer that gives ids which its model does not have."""
    return (
        f"{source}: its tokenizer has ids up to {size - 1} and its model a vocabulary of {rows}, so the two do not "
        "belong together; fetch the folder again, or enlarge the model (resize_token_embeddings)"
    )


def check_files(folder: Path) -> None:
    """Raise ModelError for a JSON file of the folder that is damaged, or a chat template of absurd size."""
    for name in _JSON_FILES:
        if (folder / name).is_file():
            entries = read_object(folder / name)
            if name in _WITH_VALUES:
                _check_values(folder / name, entries)
    for file in (folder / "chat_template.jinja", *folder.glob("additional_chat_templates/*")):
        if file.is_file() and file.stat().st_size > _MAX_TEMPLATE:
            raise ModelError(
                f"{file}: a chat template of {file.stat().st_size:,} bytes, more than {_MAX_TEMPLATE:,}; remove it "
                "or give another folder"
            )


def check_tokenizer_files(folder: Path) -> None:
    """Raise ModelError for a folder that lacks the files of a tokenizer."""
    if not (folder / "tokenizer_config.json").is_file():
        raise _missing(folder, "tokenizer_config.json", "tokenizer")
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZERS):
        raise _missing(folder, "tokenizer.json", "tokenizer")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder. Raises ModelError for a missing one, and for pickled weights."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        pickles = sorted(path.name for kind in _PICKLES for path in folder.glob(kind))
        if pickles:
            raise ModelError(
                f"{folder / pickles[0]}: the weights are pickled, and a pickle can run code and has no bounds, so it "
                "is never opened; save them as safetensors (model.save_pretrained), or give a folder that has them"
            )
        raise _missing(folder, WEIGHTS, "weights")
    shards = _shards(folder)
    gone = [name for name in shards if not (folder / name).is_file()]
    if gone:
        raise ModelError(
            f"{folder / gone[0]}: this file of weights is missing ({len(gone)} of {len(shards)} that {INDEX} names); "
            f"fetch the folder again (hf download){_broken_off(folder)}"
        )
    return [folder / name for name in shards]


def _shards(folder: Path) -> dict[str, list[str]]:
    """The files that the index names, each with its tensors."""
    listed = read_object(folder / INDEX).get("weight_map")
    entries = listed.items() if isinstance(listed, dict) else ()
    shards: dict[str, list[str]] = {}
    for tensor, name in entries:
        if not isinstance(name, str) or Path(name).name != name:
            raise ModelError(
                f"{folder / INDEX}: the tensor {tensor!r} is said to be in {name!r}, which is no file of this "
                "folder; fetch the file again"
            )
        shards.setdefault(name, []).append(tensor)
    if not shards:
        raise ModelError(f"{folder / INDEX}: it names no file of weights; fetch the file again")
    return shards


def _missing(folder: Path, name: str, what: str) -> ModelError:
    return ModelError(
        f"{folder / name}: {name} is missing, so the folder holds no {what}{_broken_off(folder)}. Check the path, "
        "or give a whole Hugging Face folder, with config.json, model.safetensors, tokenizer.json and "
        "tokenizer_config.json"
    )


def _broken_off(folder: Path) -> str:
    left = sorted(path.relative_to(folder) for path in folder.rglob("*.incomplete"))
    return f" (a download broke off and left {left[0]})" if left else ""


def read_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file of a bounded size. Raises ModelError."""
    most = _JSON_SIZES.get(file.name, _MAX_JSON)
    try:
        size = file.stat().st_size
        if size > most:
            raise ModelError(
                f"{file}: {size:,} bytes, more than the {most:,} that such a file may have; fetch it again"
            )
        data = file.read_bytes()
    except FileNotFoundError:
        raise _missing(file.parent, file.name, file.stem) from None
    except OSError as error:
        raise ModelError(f"{file}: it cannot be read ({error.strerror or error})") from None
    if data.startswith(_POINTER):
        raise _pointer(file)
    try:
        value = parse_json(data)
    except UnreadableJSON as error:
        why = "it is empty" if not data.strip() else f"it is not JSON that can be read ({error})"
        raise ModelError(f"{file}: {why}; fetch it again, or write it again") from None
    if not isinstance(value, dict):
        raise ModelError(
            f"{file}: it holds a {type(value).__name__}, not a JSON object; fetch it again, or write it again"
        )
    return value


def _pointer(file: Path) -> ModelError:
    return ModelError(
        f"{file}: this is a pointer of Git LFS and not the file itself; fetch the files with git lfs pull, or with "
        "hf download"
    )


# Tensors -----------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _header(file: Path, size: int, changed: int) -> dict[str, Tensor]:
    """The tensors that a safetensors file of this size and time of change says that it has."""
    with file.open("rb") as opened:
        start = opened.read(len(_POINTER))
        if start == _POINTER:
            raise _pointer(file)
        length = int.from_bytes(start[:8], "little")
        if len(start) < 8 or not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise _truncated(file, size, "its header is not whole")
        opened.seek(8)
        text = opened.read(length)
    try:
        entries = parse_json(text)
    except UnreadableJSON as error:
        raise _truncated(file, size, f"its header is not JSON ({error})") from None
    if not isinstance(entries, dict):
        raise _truncated(file, size, "its header is no JSON object")
    entries.pop("__metadata__", None)
    return {name: _tensor(file, size, 8 + length, name, entry) for name, entry in entries.items()}


def _tensor(file: Path, size: int, base: int, name: str, entry: Any) -> Tensor:
    try:
        dtype, shape = str(entry["dtype"]), tuple(entry["shape"])
        begin, end = (base + int(offset) for offset in entry["data_offsets"])
        width = _WIDTHS.get(dtype)
        right = width is None or prod(shape) * width == end - begin
        right = right and all(type(length) is int and length >= 0 for length in shape)
    except (LookupError, TypeError, ValueError, OverflowError):
        raise _truncated(file, size, f"the header's entry of {name!r} cannot be read") from None
    if not right or not base <= begin <= end:
        raise _truncated(file, size, f"the header's entry of {name!r} contradicts itself")
    if end > size:
        raise _truncated(file, size, f"the tensor {name!r} would end at byte {end:,}")
    return Tensor(file, dtype, shape, begin, end)


def _truncated(file: Path, size: int, why: str) -> ModelError:
    return ModelError(
        f"{file}: the file of weights is damaged or was not fetched to its end: it has {size:,} bytes, and {why}; "
        f"fetch it again{_broken_off(file.parent)}"
    )


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a folder by name, from the headers of its files.

    Raises ModelError for files that are missing, damaged, or lack a tensor that the index says they have.
    """
    files = weight_files(folder)
    tensors: dict[str, Tensor] = {}
    for file in files:
        about = file.stat()
        tensors |= _header(file, about.st_size, about.st_mtime_ns)
    if files[0].name != WEIGHTS:
        for name, said in _shards(folder).items():
            gone = [tensor for tensor in said if tensor not in tensors]
            if gone:
                raise ModelError(
                    f"{folder / name}: it lacks the tensors {named(gone)}, which {INDEX} says it has; fetch it again"
                )
    if not tensors:
        raise ModelError(f"{files[0]}: it holds no tensor; fetch it again, or give another folder")
    return tensors


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise ModelError, with the tensors' names, for weights that hold NaN or infinity."""
    for file in dict.fromkeys(tensor.file for tensor in tensors.values()):
        about = file.stat()
        broken = _broken(file, about.st_size, about.st_mtime_ns)
        if broken:
            raise ModelError(not_finite(str(file), broken))


@lru_cache(maxsize=256)
def _broken(file: Path, size: int, changed: int) -> list[str]:
    """Tensors of a file that are not all finite; a file is read once, however many stages name it."""
    tensors = _header(file, size, changed)
    return [name for name, tensor in tensors.items() if not all(_finite_parts(tensor))]


def not_finite(where: str, names: list[str]) -> str:
    """What to say of weights that are no numbers."""
    return (
        f"{where}: the weights hold NaN or infinity, so the model could only give NaN; in the tensors {named(names)}. "
        "Fetch the file again, or give the checkpoint before it"
    )


def _finite_parts(tensor: Tensor) -> Iterator[bool]:
    """Whether each stretch of a tensor holds nothing but finite numbers."""
    kinds: dict[str, Any] = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
    if tensor.dtype not in kinds:
        return
    kind = np.dtype(kinds[tensor.dtype])
    with tensor.file.open("rb") as file:
        file.seek(tensor.begin)
        left = tensor.end - tensor.begin
        while left:
            data = file.read(min(_CHUNK, left))
            if not data:
                yield False  # the file has become shorter
                return
            left -= len(data)
            numbers = np.frombuffer(data, kind, len(data) // kind.itemsize)
            if tensor.dtype == "BF16":  # all bits of the exponent are set
                yield not bool(((numbers & 0x7F80) == 0x7F80).any())
            else:
                yield bool(np.isfinite(numbers).all())
