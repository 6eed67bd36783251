"""The files that a recipe reads: those that travel to the ranks, and those that every node has to see. No Ray.

A path in a recipe is relative to the folder in which the command runs, or absolute. The recipe and what it names by a relative
path travel into the folder in which each rank runs, under the same paths, so that a stage is made from the same as without a
cluster. Absolute paths do not travel: they have to lead to the same file on every node.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dianoia.base.errors import ConfigError
from dianoia.base.shipped_files import portable_name
from dianoia.bases import shipped_model
from dianoia.judge.function_files import is_file, source_files
from dianoia.recipe import Recipe
from dianoia.recipe.graph import functions, problem_sets, reads
from dianoia.tasks.catalog import files_behind

MAX_BYTES = 50_000_000
"""What travels at most. More belongs on storage that the nodes share, where it lies anyway once a run has begun."""


@dataclass(frozen=True, slots=True)
class Shipment:
    """Files of a recipe."""

    travelling: Mapping[str, Path]
    """Files here, by their path from the folder of a rank."""
    expected: tuple[Path, ...]
    """Absolute paths of files and folders that every node has to see."""


def shipment(recipe: Recipe, path: Path) -> Shipment:
    """Return the files of a recipe, whose own file is `path`. Names that are no file here are left to the stages.

    Raises:
        ConfigError: a relative path leads out of this folder, or too much would travel.
    """
    travelling, expected = {path.name: path}, dict[Path, None]()
    for file in dict.fromkeys(_files(recipe)):
        relative = Path(portable_name(file))
        if relative.is_absolute():
            expected[file] = None
        elif ".." in relative.parts:
            raise ConfigError(
                f"{file} leads out of {Path.cwd()}, and only what lies in this folder travels to the nodes of the cluster; give "
                "its absolute path, which every node has to see, or run the command further up"
            )
        else:
            inside = sorted(p for p in file.rglob("*") if p.is_file()) if file.is_dir() else [file]
            travelling |= {(relative / p.relative_to(file)).as_posix(): p for p in inside}
    sizes = {name: file.stat().st_size for name, file in travelling.items()}
    if (total := sum(sizes.values())) > MAX_BYTES:
        largest = max(sizes, key=sizes.__getitem__)
        raise ConfigError(
            f"the files that the recipe names by relative paths have {total / 1e6:,.0f} MB, {largest} most of all, and at most "
            f"{MAX_BYTES / 1e6:,.0f} MB travel to the nodes of the cluster; put them on storage that every node sees, and name "
            "them by absolute paths"
        )
    return Shipment(travelling, tuple(expected))


def copy_files(files: Mapping[str, Path], folder: Path) -> None:
    """Copy files into a folder under their relative paths."""
    for name, file in files.items():
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)


def _files(recipe: Recipe) -> Iterator[Path]:
    """Yield the files and folders that stages read, as the recipe has them, shipped ones by their own path."""
    for stage in recipe.stages.values():
        for name in reads(stage):
            path = Path(name).expanduser()
            # The models that ship travel with the code.
            if name not in recipe.stages and shipped_model(name) is None and path.exists():
                yield path
        for function in functions(stage):
            if is_file(function.path):
                yield from source_files(function.path).values()
        for problems in problem_sets(stage):
            try:
                yield from files_behind(problems)
            except ConfigError:  # the check of the inputs says what is wrong
                continue
