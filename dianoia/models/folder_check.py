"""Checks a Hugging Face model folder before anything is loaded: is it complete and consistent? Needs no torch.

In: a folder. Out: nothing, or a `ModelError` of one line that names the file and, for weights, the tensors. The
check reads the JSON files, within bounds, and the headers of the safetensors files. They show an interrupted
download, a Git LFS pointer, and a tensor that is missing or has another shape. Pickled weights are refused: a
pickle can run code, and expand without bound. Not here: which tensors a configuration needs
(`models.tensor_names`).
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
"""Sets of files, each of which is enough for a tokenizer."""
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
"""Largest size of any other JSON file, in bytes."""
_MAX_TEMPLATE = 2**20
_MAX_HEADER = 2**25
"""Largest header of a safetensors file, in bytes: a few hundred thousand tensors."""
_LFS_POINTER = b"version https://git-lfs"
_DTYPE_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes per number by dtype; the sizes of dtypes below a byte are not checked."""
_CHUNK_BYTES = 2**24
_MAX_NAMES = 3

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """The description of a tensor in the header of its file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """Offset in the file, in bytes."""
    end: int
    """Offset after its last byte."""


def listed(names: list[str]) -> str:
    """Return the first few names, and the number of the others."""
    others = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + others


def read_config(folder: Path) -> Config:
    """Return the `config.json` of a folder. Raises ModelError if it is missing, damaged or no object."""
    config = read_object(folder / CONFIG)
    if not isinstance(config.get("model_type"), str):
        raise ModelError(
            f"{folder / CONFIG}: it has no model_type, so the architecture is unknown; fetch the file again, or give "
            "another folder"
        )
    _check_values(folder / CONFIG, config)
    # Multimodal models keep the sizes of their language model in a table of its own.
    if isinstance(config.get("text_config"), dict):
        _check_values(folder / CONFIG, config["text_config"])
    return config


def _is_size(value: Any) -> bool:
    # `type`, as True is an int too.
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
"""Test and description of the values that are checked, by key; transformers checks the others."""


def _check_values(file: Path, entries: Config) -> None:
    """Raise ModelError for an entry whose value every reader would reject or misread."""
    for key, value in entries.items():
        is_valid, description = _VALUES.get(key, (None, ""))
        wrong = value is not None and is_valid is not None and not is_valid(value)
        # NaN passes type checks, and no reader expects it.
        if isinstance(value, float) and value != value:
            wrong, description = True, "a number"
        if wrong:
            raise ModelError(
                f"{file}: {key} = {str(value)[:80]!r} is not {description}; correct it, or fetch the file again"
            )


def unknown_architecture_message(where: str, config: Config) -> str:
    """Return the message for a model of a type that transformers does not have."""
    code = ""
    if "auto_map" in config:
        code = " The folder contains code for it, and such code is never run."
    return (
        f"The model {where!r} cannot be loaded: the installed transformers has no architecture "
        f"{config['model_type']!r}.{code} Give a model of an architecture that transformers has, or install a newer "
        "transformers"
    )


def vocabulary_message(source: str, rows: int, size: int) -> str:
    """Return the message for a tokenizer with ids that its model does not have."""
    return (
        f"{source}: its tokenizer has ids up to {size - 1}, but its model has a vocabulary of {rows}, so the two do "
        "not belong together; fetch the folder again, or enlarge the model (resize_token_embeddings)"
    )


def check_files(folder: Path) -> None:
    """Raise ModelError for a damaged JSON file, or a chat template that is too large."""
    for name in _JSON_FILES:
        if (folder / name).is_file():
            entries = read_object(folder / name)
            if name in _WITH_VALUES:
                _check_values(folder / name, entries)
    for file in (folder / "chat_template.jinja", *folder.glob("additional_chat_templates/*")):
        if file.is_file() and file.stat().st_size > _MAX_TEMPLATE:
            raise ModelError(
                f"{file}: a chat template of {file.stat().st_size:,} bytes; the limit is {_MAX_TEMPLATE:,}. Remove it, "
                "or give another folder"
            )


def has_chat_template(folder: Path) -> bool:
    """Return True if the tokenizer of a model folder comes with a chat template, in a file of its own or in its settings."""
    file = folder / "tokenizer_config.json"
    if (folder / "chat_template.jinja").is_file() or not file.is_file():
        return file.is_file()
    return bool(read_object(file).get("chat_template"))


def check_tokenizer_files(folder: Path) -> None:
    """Raise ModelError for a folder without the files of a tokenizer."""
    if not (folder / "tokenizer_config.json").is_file():
        raise _missing(folder, "tokenizer_config.json", "tokenizer")
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZERS):
        raise _missing(folder, "tokenizer.json", "tokenizer")


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder. Raises ModelError if one is missing, and for pickled weights."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    # Without an index there is one file, or there are only pickles.
    if not (folder / INDEX).is_file():
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        if pickles:
            raise ModelError(
                f"{folder / pickles[0]}: the weights are pickled. A pickle can run code and expand without bound, so it "
                "is never opened; save the weights as safetensors (model.save_pretrained), or give a folder with them"
            )
        raise _missing(folder, WEIGHTS, "weights")
    shards = _shards(folder)
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{folder / missing[0]}: this weight file is missing ({len(missing)} of the {len(shards)} in {INDEX}); "
            f"fetch the folder again (hf download){_partial_download(folder)}"
        )
    return [folder / name for name in shards]


def _shards(folder: Path) -> dict[str, list[str]]:
    """Return the files in the index, each with its tensors."""
    weight_map = read_object(folder / INDEX).get("weight_map")
    entries = weight_map.items() if isinstance(weight_map, dict) else ()
    shards: dict[str, list[str]] = {}
    for tensor, name in entries:
        # A path such as `../other` must not lead out of the folder.
        if not isinstance(name, str) or Path(name).name != name:
            raise ModelError(
                f"{folder / INDEX}: it places the tensor {tensor!r} in {name!r}, which is no file of this folder; "
                "fetch the file again"
            )
        shards.setdefault(name, []).append(tensor)
    if not shards:
        raise ModelError(f"{folder / INDEX}: it lists no weight file; fetch the file again")
    return shards


def _missing(folder: Path, name: str, content: str) -> ModelError:
    return ModelError(
        f"{folder / name}: {name} is missing, so the folder holds no {content}{_partial_download(folder)}. Check the path, "
        "or give a whole Hugging Face folder, with config.json, model.safetensors, tokenizer.json and "
        "tokenizer_config.json"
    )


def _partial_download(folder: Path) -> str:
    """Return a remark about an interrupted download; empty if there is no sign of one."""
    partial = sorted(path.relative_to(folder) for path in folder.rglob("*.incomplete"))
    return f" (a download was interrupted and left {partial[0]})" if partial else ""


def read_object(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file of bounded size. Raises ModelError."""
    limit = _JSON_SIZES.get(file.name, _MAX_JSON)
    try:
        # The size is checked before the file is read.
        size = file.stat().st_size
        if size > limit:
            raise ModelError(
                f"{file}: it has {size:,} bytes; the limit for such a file is {limit:,}. Fetch it again"
            )
        data = file.read_bytes()
    except FileNotFoundError:
        raise _missing(file.parent, file.name, file.stem) from None
    except OSError as error:
        raise ModelError(f"{file}: it cannot be read ({error.strerror or error})") from None
    if data.startswith(_LFS_POINTER):
        raise _lfs_pointer(file)
    try:
        value = parse_json(data)
    except UnreadableJSON as error:
        reason = f"it is not valid JSON ({error})" if data.strip() else "it is empty"
        raise ModelError(f"{file}: {reason}; fetch it again, or write it again") from None
    if not isinstance(value, dict):
        raise ModelError(
            f"{file}: it holds a {type(value).__name__}, not a JSON object; fetch it again, or write it again"
        )
    return value


def _lfs_pointer(file: Path) -> ModelError:
    return ModelError(
        f"{file}: this is a Git LFS pointer, not the file itself; fetch the files with git lfs pull or "
        "hf download"
    )


@lru_cache(maxsize=16)
def _header(file: Path, size: int, changed: int) -> dict[str, Tensor]:
    """Return the tensors in the header of a safetensors file.

    `size` and `changed` (time of change) are a part of the cache key: a file that was replaced is read again.
    """
    with file.open("rb") as opened:
        start = opened.read(len(_LFS_POINTER))
        # Git LFS leaves a text file of a few lines if the real one was not fetched.
        if start == _LFS_POINTER:
            raise _lfs_pointer(file)
        # A safetensors file is: length of the header (8 bytes), header (JSON), tensors.
        length = int.from_bytes(start[:8], "little")
        if len(start) < 8 or not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise _damaged(file, size, "its header is incomplete")
        opened.seek(8)
        text = opened.read(length)
    try:
        entries = parse_json(text)
    except UnreadableJSON as error:
        raise _damaged(file, size, f"its header is not JSON ({error})") from None
    if not isinstance(entries, dict):
        raise _damaged(file, size, "its header is no JSON object")
    # The only entry that describes no tensor.
    entries.pop("__metadata__", None)
    return {name: _tensor(file, size, 8 + length, name, entry) for name, entry in entries.items()}


def _tensor(file: Path, size: int, base: int, name: str, entry: Any) -> Tensor:
    try:
        dtype, shape = str(entry["dtype"]), tuple(entry["shape"])
        begin, end = (base + int(offset) for offset in entry["data_offsets"])
        width = _DTYPE_BYTES.get(dtype)
        # `prod` raises TypeError for a shape of anything but numbers, which is caught below.
        consistent = width is None or prod(shape) * width == end - begin
        consistent = consistent and all(type(length) is int and length >= 0 for length in shape)
    except (LookupError, TypeError, ValueError, OverflowError):
        raise _damaged(file, size, f"the header's entry of {name!r} cannot be read") from None
    # A tensor without numbers begins where it ends.
    if not consistent or not base <= begin <= end:
        raise _damaged(file, size, f"the header's entry of {name!r} contradicts itself")
    if end > size:
        raise _damaged(file, size, f"the tensor {name!r} would end at byte {end:,}")
    return Tensor(file, dtype, shape, begin, end)


def _damaged(file: Path, size: int, reason: str) -> ModelError:
    return ModelError(
        f"{file}: the weight file is damaged or incomplete: it has {size:,} bytes, and {reason}; "
        f"fetch it again{_partial_download(file.parent)}"
    )


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """Return every tensor of a folder by name, from the headers of its files.

    Raises ModelError for files that are missing, damaged, or lack a tensor that is in the index.
    """
    files = weight_files(folder)
    tensors: dict[str, Tensor] = {}
    for file in files:
        status = file.stat()
        tensors |= _header(file, status.st_size, status.st_mtime_ns)
    if files[0].name != WEIGHTS:
        for name, indexed in _shards(folder).items():
            missing = [tensor for tensor in indexed if tensor not in tensors]
            if missing:
                raise ModelError(
                    f"{folder / name}: it lacks the tensors {listed(missing)}, which are in {INDEX}; fetch it again"
                )
    if not tensors:
        raise ModelError(f"{files[0]}: it holds no tensor; fetch it again, or give another folder")
    return tensors


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise ModelError, with the tensors' names, for weights that contain NaN or infinity."""
    # Each file once, in order.
    for file in dict.fromkeys(tensor.file for tensor in tensors.values()):
        status = file.stat()
        names = _non_finite(file, status.st_size, status.st_mtime_ns)
        if names:
            raise ModelError(non_finite_message(str(file), names))


@lru_cache(maxsize=256)
def _non_finite(file: Path, size: int, changed: int) -> list[str]:
    """Return the tensors of a file that are not all finite. A file is read once, even if several stages use it."""
    tensors = _header(file, size, changed)
    return [name for name, tensor in tensors.items() if not all(_finite_chunks(tensor))]


def non_finite_message(where: str, names: list[str]) -> str:
    """Return the message for weights that are not finite."""
    return (
        f"{where}: the weights contain NaN or infinity, so the model could only return NaN. Tensors: {listed(names)}. "
        "Fetch the file again, or give an earlier checkpoint"
    )


def _finite_chunks(tensor: Tensor) -> Iterator[bool]:
    """Yield for each chunk of a tensor whether all its numbers are finite. Integer tensors yield nothing."""
    # NumPy has no bfloat16: its bits are read as unsigned integers.
    dtypes: dict[str, Any] = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
    if tensor.dtype not in dtypes:
        return
    dtype = np.dtype(dtypes[tensor.dtype])
    with tensor.file.open("rb") as file:
        file.seek(tensor.begin)
        remaining = tensor.end - tensor.begin
        while remaining:
            data = file.read(min(_CHUNK_BYTES, remaining))
            if not data:
                yield False  # the file was truncated meanwhile
                return
            remaining -= len(data)
            numbers = np.frombuffer(data, dtype, len(data) // dtype.itemsize)
            if tensor.dtype == "BF16":
                # NaN and infinity have all bits of the exponent set.
                yield not bool(((numbers & 0x7F80) == 0x7F80).any())
            else:
                yield bool(np.isfinite(numbers).all())
