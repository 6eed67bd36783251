"""Finds recipes by file or by name: `mine.toml`, `miniature-zero`. No torch.

In: what a user has typed. Out: the path of a TOML file. Not here: reading it (`recipe.load`).
"""

import tomllib
from functools import cache
from pathlib import Path

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.shipped_files import local_or_shipped, shipped_root


@cache
def shipped_recipes() -> dict[str, Path]:
    """Return the file of each recipe that ships, by its name: those of `recipes/`, then those of the examples."""
    root = shipped_root()
    # A recipe in recipes/ is named after its file (a test of the repository holds it to that).
    recipes = {path.stem: path for path in sorted((root / "recipes").glob("*.toml"))}
    for path in sorted((root / "examples").glob("*/*.toml")):
        # Examples are named in the file: own_reward/recipe.toml is the recipe own-reward.
        recipes.setdefault(tomllib.loads(path.read_text(encoding="utf-8"))["name"], path)
    return recipes


def recipe_path(recipe: str | Path) -> Path:
    """Return the file of a recipe: a path, or the name of a recipe that ships, with or without `.toml`.

    A local file of that name wins, and so does NAME.toml in the working directory over a shipped NAME. A path that is
    no recipe's name comes back as it is, whether it exists or not.

    Raises:
        ConfigError: a bare name that no file and no recipe has; the message has the near names.
    """
    path = local_or_shipped(recipe)
    # Links that lead nowhere, pipes and devices come back too: the reader says what they are.
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        return path
    if len(path.parts) != 1:
        return path
    toml_path, name = path.with_name(f"{path.name}.toml"), path.name.removesuffix(".toml")
    if not path.suffix and toml_path.is_file():
        return toml_path
    if name in shipped_recipes():
        return shipped_recipes()[name]
    if path.exists() or path.suffix == ".toml":
        return path
    raise ConfigError(
        f"{recipe}: there is no file of this name in {Path.cwd()}, and no recipe of this name ships with Dianoia"
        f"{nearest(name, shipped_recipes())}; give a TOML file, or one of {', '.join(shipped_recipes())}"
    )
