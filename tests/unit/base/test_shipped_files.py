"""Shipped files: a local one of the same path wins, and both have one name in the records of a run."""

from pathlib import Path

import pytest

from dianoia.base.shipped_files import local_or_shipped, portable_name, shipped_root

REWARDS = "examples/own_reward/rewards.py"


def test_a_path_means_the_local_file_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = local_or_shipped(REWARDS)
    assert shipped == shipped_root() / REWARDS and shipped.is_file()
    assert portable_name(shipped) == REWARDS
    local = tmp_path / REWARDS
    local.parent.mkdir(parents=True)
    local.write_text("", encoding="utf-8")
    assert local_or_shipped(REWARDS) == Path(REWARDS)
    assert portable_name(local_or_shipped(REWARDS)) == REWARDS


@pytest.mark.parametrize(
    "path",
    [
        "rewards.py",
        "examples",
        "examples/none.py",
        "tests/conftest.py",
        "recipes/../pyproject.toml",
    ],
)
def test_any_other_path_stays(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_or_shipped(path) == Path(path)
    assert portable_name(tmp_path / path) == str(tmp_path / path)
