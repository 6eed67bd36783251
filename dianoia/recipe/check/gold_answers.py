"""Problem sets that `dianoia tasks check` grades: built-in sets, files, hub names, and the problems of recipes. No torch."""

from collections.abc import Iterator, Mapping, Sequence
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
from dianoia.recipe.shipped import shipped_recipes
from dianoia.tasks.catalog import is_built_in
from dianoia.tasks.data.locations import DataMissing
from dianoia.tasks.gold_check import Graded, check_files, check_set
from dianoia.tasks.plugins import PROBLEM_SETS

GradedSet = tuple[str, Iterator[Graded]]
"""Name of a problem set, and its rows, which are graded while they are read."""


def graded_sets(
    names: Sequence[str],
    mapping: str | None = None,
    split: str | None = None,
    tables: Mapping[str, FileSettings] | None = None,
) -> Iterator[GradedSet]:
    """Yield each set with the grades of its gold answers; without names, every built-in set.

    `mapping` and `split` apply to files, folders and hub names; `tables` says where further names are, such as benchmarks.

    Raises:
        ConfigError, ProblemFileError: a set does not exist or cannot be opened.
    """
    for name in names or PROBLEM_SETS:
        if tables is not None and name in tables:
            yield name, _graded_files(tables[name])
        elif is_built_in(name):
            yield name, check_set(name)
        # A recipe stands for the problems of its stages.
        elif Path(name).suffix.lower() == ".toml" or (
            name in shipped_recipes() and not Path(name).exists()
        ):
            yield from _recipe_sets(name)
        else:
            yield name, _graded_files(FileSettings(path=name, mapping=mapping, split=split))


def _graded_files(data: FileSettings) -> Iterator[Graded]:
    try:
        return check_files(data)
    except DataMissing as error:
        hint = nearest(data.path, PROBLEM_SETS)
        raise ConfigError(
            f"{data.path}: this is not a built-in set{hint}. It cannot be read as data either: {error}"
        ) from error


def _recipe_sets(path: str) -> Iterator[GradedSet]:
    """Yield each problem set with gold answers that the stages of a recipe read, once."""
    sets: dict[str, str | FileSettings] = {}
    for stage in load_recipe(path).stages.values():
        if isinstance(stage, RLStage | EvaluateStage | SampleStage | PreferencesStage):
            table = stage.problems
            # Stages often read the same set, with the same columns and split.
            key = table if isinstance(table, str) else table.model_dump_json()
            sets[key] = table
    for problems in sets.values():
        if isinstance(problems, FileSettings):
            yield str(problems), _graded_files(problems)
        else:
            yield from graded_sets([problems])
