"""Every recipe of the repository can be run as written."""

from pathlib import Path

from dianoia.recipe import load_recipe


def test_every_recipe_loads(root: Path) -> None:
    paths = sorted((root / "recipes").rglob("*.*"))
    assert paths
    for path in paths:
        assert load_recipe(path, overrides=[]).stages, path


def test_a_recipe_is_named_after_its_file(root: Path) -> None:
    for path in sorted((root / "recipes").rglob("*.toml")):
        assert load_recipe(path, overrides=[]).name == path.stem
