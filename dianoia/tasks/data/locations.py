"""Find the files of a set of problems on this machine, by path or hub name.

In: a `[data]` table. Out: files in order, or `DataMissing`. A folder was written by `save_to_disk` of `datasets` (one split
or several), or has files of one format. A hub name is fetched by Hugging Face's `datasets`, an optional extra, which keeps
a copy as Arrow files; no code of the fetched repository is run. Not here: what the rows mean; slices of a split.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from dianoia.base.bounded_json import UnreadableJSON, parse_json
from dianoia.base.errors import ConfigError, nearest
from dianoia.base.extras import pip_install
from dianoia.config import FileSettings
from dianoia.models.hub_config import cache_alone_if_unreachable
from dianoia.tasks.data.mappings import HUB
from dianoia.tasks.file_formats import ENDINGS, ending_of, format_of, stem_of
from dianoia.tasks.plugins import plugin_name, plugin_names

TRAIN = "train"


class DataMissing(ConfigError):
    """The data are not on this machine and cannot be fetched. A plan is made without them, a run is not."""


def files_of(data: FileSettings) -> tuple[Path, ...]:
    """Return the files of a table, in order.

    Raises:
        DataMissing: they are not on this machine and cannot be fetched.
        ConfigError: the path is no data set, or has no such split.
    """
    path = Path(data.path).expanduser()
    # A file or folder comes before a hub name of the same text.
    if path.is_file():
        return (path,)
    if path.is_dir():
        return tuple(_in_folder(path, data))
    if ending_of(path) or not is_hub_name(data.path):
        raise DataMissing(f"path = {data.path!r}: there is no such file or folder; check the path")
    # A set with a ready mapping has a usual configuration and split, which the table may override.
    usual = HUB[data.path].hub[data.path] if data.path in HUB else {}
    config, split = data.config or usual.get("config"), data.split or usual.get("split") or TRAIN
    return _from_hub(data.path, config, split)


def is_hub_name(path: str) -> bool:
    """Return True if a path that does not exist could be a hub name. The names of a plugin's sets are none."""
    if plugin_name(path) in plugin_names():
        return False  # a misspelt built-in set: asking the hub would take seconds and say less
    return path.count("/") == 1 and not path.startswith((".", "/", "~"))


def _in_folder(folder: Path, data: FileSettings) -> Sequence[Path]:
    # `DatasetDict.save_to_disk` writes a folder per split, `Dataset.save_to_disk` a single one.
    if (folder / "dataset_dict.json").is_file():
        splits = _names(folder / "dataset_dict.json", "splits")
        return _saved(folder / _split(folder, data.split, splits))
    if (folder / "state.json").is_file():
        _only_split(folder, data.split)
        return _saved(folder)
    # Any other folder: its files are taken by extension and name.
    return _loose(folder, data.split)


def _saved(folder: Path) -> list[Path]:
    """Return the files of a data set that `save_to_disk` wrote."""
    names = _names(folder / "state.json", "_data_files", "filename")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"path = {str(folder)!r}: the data set lacks its file {missing[0]!r}; copy the folder whole, or save "
            "it again"
        )
    return [folder / name for name in names]


def _names(file: Path, key: str, inner: str | None = None) -> list[str]:
    """Return the names that a file of `save_to_disk` lists under a key; raises ConfigError for a damaged file."""
    try:
        listed = parse_json(file.read_bytes())[key]
        names = [entry if inner is None else entry[inner] for entry in listed]
    except (UnreadableJSON, OSError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{file}: this is not what datasets' save_to_disk writes ({error}); save the data set again"
        ) from None
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{file}: {key} holds other values than names; save the data set again")
    return names


def _split(folder: Path, requested: str | None, splits: Sequence[str]) -> str:
    """Return the requested split, or else the only one, or train; raises ConfigError if it does not exist."""
    split = requested or (splits[0] if len(splits) == 1 else TRAIN)
    if split not in splits:
        key = "" if requested is None else f"split = {requested!r}: "
        raise ConfigError(
            f"{key}{folder} has the splits {', '.join(splits)}{nearest(requested or '', splits)}; name one"
        )
    return split


def _only_split(folder: Path, requested: str | None) -> None:
    """Refuse a split of a set that was saved alone: its files do not say whether it was a split, and of what name."""
    if requested is not None:
        raise ConfigError(
            f"split = {requested!r}: {folder} holds a single set without splits; remove the key"
        )


def _loose(folder: Path, requested: str | None) -> list[Path]:
    """Return the files of one format in a folder or in its `data`; their names begin with their split, as on the hub."""
    files = [
        path
        for parent in (folder, folder / "data")
        for path in sorted(parent.glob("*"))
        if _is_data(path)
    ]
    formats = sorted({format_of(path) for path in files})
    if len(formats) != 1:
        listed = ", ".join(formats)
        content = f"files of several formats ({listed})" if formats else "no file of problems"
        raise ConfigError(
            f"path = {str(folder)!r}: the folder holds {content}; name a file, or a folder with files of one of "
            f"{', '.join(ENDINGS)}"
        )
    # `train-00000-of-00002.parquet` and `train.csv` are both of the split train.
    splits = list(dict.fromkeys(stem_of(path).split("-")[0].split(".")[0] for path in files))
    # Names without a split: all files are one set.
    if requested is None and TRAIN not in splits:
        return files
    split = _split(folder, requested, splits)
    return [path for path in files if stem_of(path).split("-")[0].split(".")[0] == split]


def _is_data(path: Path) -> bool:
    # `dataset_info.json` and the like describe a set.
    described = path.name in ("dataset_info.json", "state.json", "dataset_dict.json")
    is_named = bool(ending_of(path)) and not path.name.startswith(".") and not described
    return is_named and path.is_file()


@lru_cache(maxsize=32)
def _from_hub(name: str, config: str | None, split: str) -> tuple[Path, ...]:
    """Return the Arrow files of a split in the cache of `datasets`; fetched once per machine, looked up once per process."""
    where = f"path = {name!r}: no such file or folder, and as a hub name"
    try:
        import datasets  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise DataMissing(
            f"{where} it needs Hugging Face's datasets: {pip_install('data')}"
        ) from None
    # `datasets` accepts slices such as train[:10%] too, but the files of a slice hold the whole split.
    if not split.isidentifier():
        raise ConfigError(f"split = {split!r}: name a whole split, such as train")
    try:
        with cache_alone_if_unreachable():
            dataset = datasets.load_dataset(name, config, split=split)
    except ValueError as error:  # no such configuration or split
        raise ConfigError(f"{where} it was refused: {error}") from error
    except (OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataMissing(f"{where} it cannot be fetched ({error})") from error
    return tuple(Path(entry["filename"]) for entry in dataset.cache_files)
