"""Which files of a recipe travel to the nodes."""

from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.cluster import shipment as module
from dianoia.cluster.shipment import copy_files, shipment
from dianoia.recipe import load_recipe

PROBLEM = '{"id": "a", "problem": "1 + 1", "answer": "2"}\n'


def recipe_with(folder: Path, problems: str) -> Path:
    path = folder / "own.toml"
    path.write_text(
        f"""
name = "own"
[stages.zero]
kind = "rl"
start = "miniature-base-small"
problems = {{ path = "{problems}" }}
steps = 1
sampling.max_tokens = 8
optimizer.learning_rate = 1e-3
[[stages.zero.rewards.functions]]
path = "rewards/length.py:score"
[stages.more]
kind = "rl"
start = "zero"
problems = "miniature/math"
steps = 1
sampling.max_tokens = 8
optimizer.learning_rate = 1e-3
""",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {
        "data/sums.jsonl": PROBLEM,
        "rewards/length.py": "import parts\n\ndef score(completions):\n    return [0] * len(completions)\n",
        "rewards/parts.py": "",
        "rewards/other.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_relative_paths_travel_with_the_recipe(folder: Path, tmp_path: Path) -> None:
    path = recipe_with(folder, "data/sums.jsonl")
    shipped = shipment(load_recipe(path), path)
    # The function travels with what it imports; a model that ships travels with the code.
    names = {"own.toml", "data/sums.jsonl", "rewards/length.py", "rewards/parts.py"}
    assert set(shipped.travelling) == names and shipped.expected == ()
    copy_files(shipped.travelling, tmp_path / "copy")
    assert (tmp_path / "copy/data/sums.jsonl").read_text(encoding="utf-8") == PROBLEM


def test_absolute_paths_have_to_be_seen_by_every_node(folder: Path) -> None:
    path = recipe_with(folder, f"{folder}/data/sums.jsonl")
    shipped = shipment(load_recipe(path), path)
    assert shipped.expected == (folder / "data/sums.jsonl",)
    assert "data/sums.jsonl" not in shipped.travelling


def test_a_path_that_leads_out_of_the_folder_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe_with(folder, "../data/sums.jsonl")
    monkeypatch.chdir(folder / "rewards")
    with pytest.raises(ConfigError, match=r"\.\./data/sums.jsonl leads out of "):
        shipment(load_recipe(path), path)


def test_large_files_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    path = recipe_with(folder, "data/sums.jsonl")
    with pytest.raises(ConfigError, match="own.toml most of all, and at most"):
        shipment(load_recipe(path), path)
