"""A run that several tests read, and a small disk."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dianoia.cli import main
from tests.conftest import TINY_ZERO, Make
from tests.smoke.disks import mount


@pytest.fixture(scope="session")
def whole_zero(copy_of: Callable[[str, Make], Path], tiny_base: Path) -> tuple[Path, Path]:
    """The recipe of `tiny_zero` and its run, never stopped; for reading only."""

    def make(folder: Path) -> None:
        recipe = folder / "zero.toml"
        recipe.write_text(TINY_ZERO.replace("{base}", tiny_base.as_posix()), encoding="utf-8")
        assert main(["run", str(recipe), "--out", str(folder / "run")]) == 0

    folder = copy_of("whole-zero", make)
    return folder / "zero.toml", folder / "run"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting needs root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
