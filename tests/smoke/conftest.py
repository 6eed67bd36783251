"""A run that several tests read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.cli import main
from tests.conftest import TINY_ZERO, Make


@pytest.fixture(scope="session")
def whole_zero(copy_of: Callable[[str, Make], Path], tiny_base: Path) -> tuple[Path, Path]:
    """The recipe of `tiny_zero` and its run, never stopped; for reading only."""

    def make(folder: Path) -> None:
        recipe = folder / "zero.toml"
        recipe.write_text(TINY_ZERO.replace("{base}", tiny_base.as_posix()), encoding="utf-8")
        assert main(["run", str(recipe), "--out", str(folder / "run")]) == 0

    folder = copy_of("whole-zero", make)
    return folder / "zero.toml", folder / "run"
