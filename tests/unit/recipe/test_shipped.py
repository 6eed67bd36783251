"""Recipes by name: local files win, near names are listed, and shipped files are found from any folder."""

import os
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.recipe import load_recipe
from dianoia.recipe.shipped import recipe_path, shipped_recipes

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_recipes_and_examples_of_the_repository_are_found_by_name(folder: Path) -> None:
    files = [*(ROOT / "recipes").glob("*.toml"), *(ROOT / "examples").glob("*/*.toml")]
    assert len(files) >= 14
    assert sorted(shipped_recipes().values()) == sorted(files)
    assert {name: load_recipe(name).name for name in shipped_recipes()} == {
        name: name for name in shipped_recipes()
    }


@pytest.mark.parametrize(
    "typed", ["miniature-zero", "miniature-zero.toml", "recipes/miniature-zero.toml"]
)
def test_a_name_and_a_path_of_the_repository_work_in_an_empty_folder(
    typed: str, folder: Path
) -> None:
    assert recipe_path(typed) == ROOT / "recipes/miniature-zero.toml"
    assert recipe_path(Path(typed)) == recipe_path(typed)


@pytest.mark.parametrize(
    ("local", "typed"),
    [
        ("miniature-zero", "miniature-zero"),
        ("miniature-zero.toml", "miniature-zero"),
        ("miniature-zero.toml", "miniature-zero.toml"),
        ("recipes/miniature-zero.toml", "recipes/miniature-zero.toml"),
        ("mine.toml", "mine"),
    ],
)
def test_a_local_file_wins(local: str, typed: str, folder: Path) -> None:
    (folder / local).parent.mkdir(exist_ok=True)
    (folder / local).write_text("", encoding="utf-8")
    assert recipe_path(typed) == Path(local)


def test_a_folder_of_that_name_does_not_win(folder: Path) -> None:
    (folder / "miniature-zero").mkdir()  # such as a run directory
    assert recipe_path("miniature-zero") == ROOT / "recipes/miniature-zero.toml"
    (folder / "mine").mkdir()
    with pytest.raises(ConfigError, match="this is a folder"):
        load_recipe("mine")


def test_an_unknown_name_lists_near_ones_and_all(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("miniature-zer")
    message = str(caught.value)
    assert message.startswith(f"miniature-zer: there is no file of this name in {folder}")
    assert "(did you mean 'miniature-zero'?)" in message and "own-reward" in message
    with pytest.raises(
        ConfigError, match=r"minature-r1\.toml: there is no such recipe.*miniature-r1"
    ):
        load_recipe("minature-r1.toml")
    with pytest.raises(ConfigError, match="recipes/none.toml: there is no such recipe"):
        load_recipe("recipes/none.toml")


def test_what_is_no_file_keeps_its_own_message(folder: Path) -> None:
    (folder / "miniature-r1").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="a link to nowhere"):
        load_recipe("miniature-r1")
    os.mkfifo(folder / "qwen-r1")
    with pytest.raises(ConfigError, match="a pipe or a device"):
        load_recipe("qwen-r1")
