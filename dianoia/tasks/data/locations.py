"""Where the rows of a set of problems are: files on this machine, whatever they were named by.

In: a `[data]` table. Out: files in order, or `DataMissing`. A folder is what `datasets` wrote with
`save_to_disk` (one split or several) or holds files of one kind. A hub name goes through Hugging Face's
`datasets`, an optional extra, which keeps a copy as Arrow files; nothing is executed of what it fetches.
Left out: what the rows mean; slices of a split.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from dianoia.base.bounded_json import UnreadableJSON, parse_json
from dianoia.base.errors import ConfigError, nearest
from dianoia.config import FileSettings
from dianoia.tasks.data.mappings import HUB
from dianoia.tasks.table_files import ENDINGS

TRAIN = "train"


class DataMissing(ConfigError):
    """The data are not on this machine and cannot be fetched: a plan goes without them, a run does not."""


def files_of(data: FileSettings) -> tuple[Path, ...]:
    """The files that hold the rows, in order.

    Raises:
        DataMissing: they are not here and cannot be fetched.
        ConfigError: the path is no data set, or has no such split.
    """
    path = Path(data.path).expanduser()
    if path.is_file():
        return (path,)
    if path.is_dir():
        return tuple(_in_folder(path, data))
    if path.suffix.lower() in ENDINGS or not is_hub_name(data.path):
        raise DataMissing(f"path = {data.path!r}: there is no such file or folder; check the path")
    usual = HUB[data.path].hub[data.path] if data.path in HUB else {}
    config, split = data.config or usual.get("config"), data.split or usual.get("split") or TRAIN
    return _from_hub(data.path, config, split)


def is_hub_name(path: str) -> bool:
    """Whether a path that is not there could be a name of the hub."""
    return path.count("/") == 1 and not path.startswith((".", "/", "~"))


# Folders -----------------------------------------------------------------------------------------


def _in_folder(folder: Path, data: FileSettings) -> Sequence[Path]:
    if (folder / "dataset_dict.json").is_file():
        splits = _names(folder / "dataset_dict.json", "splits")
        return _saved(folder / _split(folder, data.split, splits))
    if (folder / "state.json").is_file():
        _only_split(folder, data.split)
        return _saved(folder)
    return _loose(folder, data.split)


def _saved(folder: Path) -> list[Path]:
    """The files of what `save_to_disk` wrote."""
    named = _names(folder / "state.json", "_data_files", "filename")
    missing = [name for name in named if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"path = {str(folder)!r}: the data set lacks its file {missing[0]!r}; copy the folder whole, or save "
            "it again"
        )
    return [folder / name for name in named]


def _names(file: Path, key: str, inner: str | None = None) -> list[str]:
    """The names that a file of `save_to_disk` lists under a key; raises ConfigError for one that is damaged."""
    try:
        listed = parse_json(file.read_bytes())[key]
        names = [entry if inner is None else entry[inner] for entry in listed]
    except (UnreadableJSON, OSError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{file}: this is not what datasets' save_to_disk writes ({error}); save the data set again"
        ) from None
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{file}: {key} holds something else than names; save the data set again")
    return names


def _split(folder: Path, wanted: str | None, splits: Sequence[str]) -> str:
    chosen = wanted or (splits[0] if len(splits) == 1 else TRAIN)
    if chosen not in splits:
        asked = "" if wanted is None else f"split = {wanted!r}: "
        raise ConfigError(
            f"{asked}{folder} has the splits {', '.join(splits)}{nearest(wanted or '', splits)}; name one"
        )
    return chosen


def _only_split(folder: Path, wanted: str | None) -> None:
    """A set that was saved by itself may have been a split or not; its own word is not kept."""
    if wanted is not None:
        raise ConfigError(
            f"split = {wanted!r}: {folder} holds a single set without splits; remove the key"
        )


def _loose(folder: Path, wanted: str | None) -> list[Path]:
    """Files of one kind in a folder or in its `data`; their names begin with their split, as on the hub."""
    found = [
        p for place in (folder, folder / "data") for p in sorted(place.glob("*")) if _is_data(p)
    ]
    kinds = sorted({path.suffix.lower() for path in found})
    if len(kinds) != 1:
        held = f"files of several kinds ({', '.join(kinds)})" if kinds else "no file of problems"
        raise ConfigError(
            f"path = {str(folder)!r}: the folder holds {held}; name a file, or a folder with files of one of "
            f"{', '.join(ENDINGS)}"
        )
    splits = list(dict.fromkeys(path.stem.split("-")[0].split(".")[0] for path in found))
    if wanted is None and TRAIN not in splits:
        return found
    split = _split(folder, wanted, splits)
    return [path for path in found if path.stem.split("-")[0].split(".")[0] == split]


def _is_data(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()


# The hub -----------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def _from_hub(name: str, config: str | None, split: str) -> tuple[Path, ...]:
    """The Arrow files that `datasets` keeps of a split; fetched once a machine, asked for once a process."""
    where = f"path = {name!r}: no such file or folder, and as a hub name"
    try:
        import datasets  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise DataMissing(
            f"{where} it needs Hugging Face's datasets: pip install 'dianoia[data]'"
        ) from None
    if not split.isidentifier():
        raise ConfigError(f"split = {split!r}: name a whole split, such as train")
    try:
        found = datasets.load_dataset(name, config, split=split)
    except ValueError as error:  # no such configuration or split
        raise ConfigError(f"{where} it was refused: {error}") from error
    except (OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataMissing(f"{where} it cannot be fetched ({error})") from error
    return tuple(Path(entry["filename"]) for entry in found.cache_files)
