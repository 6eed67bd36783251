"""Inputs of a recipe that are not on this machine: problem and data files, and models of the hub. No torch.

In: a recipe. Out: their names, and a sentence on each. A plan goes without them and lists them; a run is refused.
"""

from pathlib import Path

from dianoia.base.errors import ConfigError
from dianoia.config import path_of
from dianoia.models.hub_config import KNOWN, unavailable_reason
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
from dianoia.tasks.file_formats import ending_of


def missing_files(stage: Stage, recipe: Recipe) -> list[str]:
    """Return the files that the stage reads and that do not exist, and the hub names that cannot be fetched.

    A name without the ending of a data file is not a file.
    """
    files = [
        name
        for name in [*datasets(stage), *other_inputs(stage)]
        if name not in recipe.stages
        and ending_of(Path(name))
        and not Path(name).expanduser().exists()
    ]
    # A name may be listed twice, as problems of a stage and as tests of its table.
    return list(dict.fromkeys([*files, *_unreachable_sets(stage)]))


def _unreachable_sets(stage: Stage) -> dict[str, str]:
    """Return the hub names of problem sets that cannot be fetched, each with the reason."""
    reasons: dict[str, str] = {}
    for problems in problem_sets(stage):
        path = path_of(problems)
        # `owner/name` is a hub name unless it ends like a file.
        if is_hub_name(path) and not ending_of(Path(path)):
            try:
                files_behind(problems)
            except DataMissing as error:
                reasons[path] = str(error)
            except ConfigError:
                pass  # another fault, which the check of the stage's data reports
    return reasons


def missing_inputs(recipe: Recipe) -> list[str]:
    """Return a sentence on each missing input for which a run of the recipe would be refused."""
    readers: dict[str, list[str]] = {}
    unreachable: dict[str, str] = {}
    models: dict[str, str] = {}
    for name, stage in recipe.stages.items():
        # One sentence per file, with every stage that reads it.
        for file in missing_files(stage, recipe):
            readers.setdefault(file, []).append(name)
        unreachable |= _unreachable_sets(stage)
        for source in [*sources(stage), *reward_models(stage).values()]:
            # Asks the hub only for models that are not on this machine.
            reason = None if source in recipe.stages else unavailable_reason(source)
            if reason is not None:
                models[source] = reason
    return [
        *(
            f"{file}: there is no such file; {', '.join(names)} would read it. docs/data.md has its columns and public "
            "sets to make it from"
            for file, names in readers.items()
            if file not in unreachable
        ),
        *unreachable.values(),
        *(_missing_model(source, reason) for source, reason in models.items()),
    ]


def _missing_model(source: str, reason: str) -> str:
    shape = "the shape that ships with Dianoia" if source in KNOWN else "its cached configuration"
    return f"{source}: not on this machine and not available from the hub ({reason}); this plan uses {shape}"
