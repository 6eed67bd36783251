"""What a recipe needs and is not here yet: files of problems and data, models that the hub has. No torch.

A plan goes without them and lists them; a run is refused. In: a recipe. Out: names, and sentences.
"""

from pathlib import Path

from dianoia.recipe.hub import KNOWN, out_of_reach
from dianoia.recipe.model import Recipe, Stage, datasets, others, reward_models, sources
from dianoia.tasks.tables import ENDINGS


def absent(stage: Stage, recipe: Recipe) -> list[str]:
    """Files that the stage reads and that are not there. A name without a file's ending is no file."""
    return [
        name
        for name in [*datasets(stage), *others(stage)]
        if name not in recipe.stages
        and Path(name).suffix.lower() in ENDINGS
        and not Path(name).expanduser().exists()
    ]


def still_missing(recipe: Recipe) -> list[str]:
    """A sentence for each thing without which a run of the recipe would be refused."""
    files: dict[str, list[str]] = {}
    models: dict[str, str] = {}
    for name, stage in recipe.stages.items():
        for file in absent(stage, recipe):
            files.setdefault(file, []).append(name)
        for source in [*sources(stage), *reward_models(stage).values()]:
            reason = None if source in recipe.stages else out_of_reach(source)
            if reason is not None:
                models[source] = reason
    return [
        *(
            f"{file}: no such file here; {', '.join(names)} would read it. Its columns, and public sets "
            "to make it of: docs/recipes.md, real models"
            for file, names in files.items()
        ),
        *(_about(source, reason) for source, reason in models.items()),
    ]


def _about(source: str, reason: str) -> str:
    shape = "the shape that ships with Dianoia" if source in KNOWN else "its cached configuration"
    return f"{source}: not on this machine, and the hub cannot give it ({reason}); this plan reckons with {shape}"
