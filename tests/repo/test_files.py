"""Laws about files: short modules, a small repository."""

import subprocess
from pathlib import Path

import pytest

MOST_LINES = 600
MOST_BYTES = 500_000


@pytest.fixture(scope="module")
def repository_files(root: Path) -> list[Path]:
    """Return the files in the repository, and those that `git add .` would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout, so that nobody knows which files are kept")
    return [root / name for name in listing.stdout.split("\0") if name and (root / name).is_file()]


def test_no_module_is_longer_than_600_lines(root: Path) -> None:
    lengths = {
        str(path.relative_to(root)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sorted((root / "dianoia").rglob("*.py"))
    }
    assert lengths
    long = {name: length for name, length in lengths.items() if length > MOST_LINES}
    assert not long, f"split these along what they are about: {long}"


def test_no_file_is_larger_than_500_kb(root: Path, repository_files: list[Path]) -> None:
    models = root / "dianoia" / "bases"
    large = {
        str(path.relative_to(root)): path.stat().st_size
        for path in repository_files
        if not path.is_relative_to(models) and path.stat().st_size > MOST_BYTES
    }
    assert not large, f"only the shipped models may be this large: {large}"
