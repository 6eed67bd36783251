"""A run that several tests read."""

from pathlib import Path

import pytest

from dianoia.cli import main
from tests.conftest import TINY_ZERO


@pytest.fixture(scope="session")
def whole_zero(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Path, Path]:
    """The recipe of `tiny_zero` and its run, never stopped; for reading only."""
    folder = tmp_path_factory.mktemp("whole-zero")
    recipe = folder / "zero.toml"
    recipe.write_text(TINY_ZERO.replace("{base}", tiny_base.as_posix()), encoding="utf-8")
    assert main(["run", str(recipe), "--out", str(folder / "run")]) == 0
    return recipe, folder / "run"
