"""What a recipe needs and is not here yet: files of problems and data, models that the hub has. No torch.

A plan goes without them and lists them; a run is refused. In: a recipe. Out: names, and sentences.
"""

from pathlib import Path

from dianoia.base.errors import ConfigError
from dianoia.config import path_of
from dianoia.models.hub_config import KNOWN, out_of_reach
from dianoia.recipe.graph import (
    Recipe,
    Stage,
    datasets,
    other_inputs,
    problem_sets,
    reward_models,
    sources,
)
from dianoia.tasks.catalog import files_behind
from dianoia.tasks.data.locations import DataMissing, is_hub_name
from dianoia.tasks.table_files import ENDINGS


def absent(stage: Stage, recipe: Recipe) -> list[str]:
    """Files that the stage reads and that are not there, and hub names that cannot be fetched.

    A name without a file's ending is no file.
    """
    files = [
        name
        for name in [*datasets(stage), *other_inputs(stage)]
        if name not in recipe.stages
        and Path(name).suffix.lower() in ENDINGS
        and not Path(name).expanduser().exists()
    ]
    return list(dict.fromkeys([*files, *_unfetched(stage)]))


def _unfetched(stage: Stage) -> dict[str, str]:
    """Why each hub name of problems cannot be had."""
    found: dict[str, str] = {}
    for problems in problem_sets(stage):
        path = path_of(problems)
        if is_hub_name(path) and Path(path).suffix.lower() not in ENDINGS:
            try:
                files_behind(problems)
            except DataMissing as error:
                found[path] = str(error)
            except ConfigError:
                pass  # the check of the stage's data says what is wrong with it
    return found


def still_missing(recipe: Recipe) -> list[str]:
    """A sentence for each thing without which a run of the recipe would be refused."""
    files: dict[str, list[str]] = {}
    fetched: dict[str, str] = {}
    models: dict[str, str] = {}
    for name, stage in recipe.stages.items():
        for file in absent(stage, recipe):
            files.setdefault(file, []).append(name)
        fetched |= _unfetched(stage)
        for source in [*sources(stage), *reward_models(stage).values()]:
            reason = None if source in recipe.stages else out_of_reach(source)
            if reason is not None:
                models[source] = reason
    return [
        *(
            f"{file}: no such file here; {', '.join(names)} would read it. Its columns, and public sets "
            "to make it of: docs/data.md"
            for file, names in files.items()
            if file not in fetched
        ),
        *fetched.values(),
        *(_about(source, reason) for source, reason in models.items()),
    ]


def _about(source: str, reason: str) -> str:
    shape = "the shape that ships with Dianoia" if source in KNOWN else "its cached configuration"
    return f"{source}: not on this machine, and the hub cannot give it ({reason}); this plan reckons with {shape}"
