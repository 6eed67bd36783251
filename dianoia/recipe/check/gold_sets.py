"""What `dianoia tasks check` grades: built-in sets, files, hub names, or the problems of a recipe. No torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from dianoia.base.errors import ConfigError, nearest
from dianoia.config import (
    EvaluateStage,
    FileSettings,
    PreferencesStage,
    RLStage,
    SampleStage,
)
from dianoia.recipe.load import load_recipe
from dianoia.tasks.catalog import is_built_in
from dianoia.tasks.data.locations import DataMissing
from dianoia.tasks.gold_check import Graded, check_files, check_set
from dianoia.tasks.plugins import PROBLEM_SETS

Named = tuple[str, Iterator[Graded]]


def golds(
    names: Sequence[str], mapping: str | None = None, split: str | None = None
) -> Iterator[Named]:
    """(name, its rows, graded while they are asked for) of each set; without names of every built-in set.

    `mapping` and `split` are for files, folders and hub names.

    Raises ConfigError, ProblemFileError for what is not there or cannot be opened.
    """
    for name in names or PROBLEM_SETS:
        if is_built_in(name):
            yield name, check_set(name)
        elif Path(name).suffix.lower() == ".toml":
            yield from _of_recipe(name)
        else:
            yield name, _files(FileSettings(path=name, mapping=mapping, split=split))


def _files(data: FileSettings) -> Iterator[Graded]:
    try:
        return check_files(data)
    except DataMissing as error:
        near = nearest(data.path, PROBLEM_SETS)
        raise ConfigError(
            f"{data.path}: neither a built-in set{near} nor data that can be read: {error}"
        ) from error


def _of_recipe(path: str) -> Iterator[Named]:
    """The problems with gold answers that its stages read, each set once."""
    sets: dict[str, str | FileSettings] = {}
    for stage in load_recipe(path).stages.values():
        if isinstance(stage, RLStage | EvaluateStage | SampleStage | PreferencesStage):
            table = stage.problems
            key = table if isinstance(table, str) else table.model_dump_json()
            sets[key] = table
    for problems in sets.values():
        if isinstance(problems, FileSettings):
            yield str(problems), _files(problems)
        else:
            yield from golds([problems])
