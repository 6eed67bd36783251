"""What a person types as MODEL; nothing is loaded."""

import json
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError, ModelError
from dianoia.bases import shipped_model
from dianoia.inference.checkpoints import checkpoints_of, find_checkpoint, main_checkpoint

STAGES = {
    "zero": {"kind": "rl", "start": "miniature-base", "template": "r1-zero"},
    "data": {"kind": "sample", "start": "zero", "template": "r1-zero"},
    "dev3": {"kind": "sft", "start": "miniature-base", "template": "own"},
    "helpful": {"kind": "reward_model", "start": "miniature-base"},
    "small": {"kind": "rl", "start": "Some/Where-1B", "template": "plain"},
    "later": {"kind": "rl", "start": "dev3", "template": "own"},
    "evaluation": {
        "kind": "evaluate",
        "checkpoints": ["miniature-base", "zero", "./gone"],
        "template": {"miniature-base": "r1", "zero": "r1-zero"},
    },
}
RECIPE = {
    "name": "all",
    "stages": STAGES,
    "claims": {"base": "miniature-base", "zero": "zero", "dev3": "dev3", "grpo": "zero"},
    "templates": {"own": {"prompt": "Q: {question}\nA:"}},
}
WRITTEN = ("zero", "dev3", "helpful", "small")
"""Stages that have a checkpoint; `later` has begun only."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "all"
    for name in STAGES:
        stage = folder / "stages" / name
        stage.mkdir(parents=True)
        (stage / "begun.json").write_text("{}")
        if name in WRITTEN:
            (stage / "checkpoint").mkdir()
            (stage / "checkpoint" / "config.json").write_text("{}")
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    return folder


def test_a_run_has_its_bases_first_and_then_its_finished_stages_in_order(run: Path) -> None:
    checkpoints = checkpoints_of(run)
    assert [item.name for item in checkpoints] == ["miniature-base", "Where-1B", "zero", "dev3", "small"]  # fmt: skip
    assert [item.stage for item in checkpoints] == [None, None, "zero", "dev3", "small"]
    assert checkpoints[0].source == str(shipped_model("miniature-base"))
    assert checkpoints[1].source == "Some/Where-1B"
    assert checkpoints[2].source == str(run / "stages" / "zero" / "checkpoint")


def test_aliases_are_the_parts_of_the_paper_and_base(run: Path) -> None:
    aliases = {item.name: item.aliases for item in checkpoints_of(run)}
    assert aliases["miniature-base"] == ("base",)
    assert aliases["zero"] == ("grpo",)
    assert aliases["dev3"] == aliases["Where-1B"] == ()


def test_a_base_is_asked_under_the_template_of_its_first_stage(run: Path) -> None:
    templates = {item.name: item.template for item in checkpoints_of(run)}
    assert templates["miniature-base"] is not None and templates["Where-1B"] is not None
    assert templates["miniature-base"].name == "r1-zero"
    assert templates["Where-1B"].name == "plain"
    assert templates["zero"] is None, "its own config.json says"
    assert list(checkpoints_of(run)[0].templates) == ["own"]


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("RUN:zero", "zero"),
        ("RUN:grpo", "zero"),
        ("RUN:base", "miniature-base"),
        ("RUN:Where-1B", "Where-1B"),
        ("RUN/stages/zero", "zero"),
        ("RUN/stages/zero/checkpoint", "zero"),
        ("RUN/stages/zero/", "zero"),
        ("RUN", "dev3"),
        ("miniature-base-small", "miniature-base-small"),
        ("Qwen/Qwen3-0.6B", "Qwen3-0.6B"),
    ],
)
def test_forms_of_a_model(run: Path, typed: str, name: str) -> None:
    assert find_checkpoint(typed.replace("RUN", str(run))).name == name


def test_paths_relative_to_the_working_directory(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent.parent)
    assert find_checkpoint("runs/all:zero").source == str(Path("runs/all/stages/zero/checkpoint"))
    assert find_checkpoint(Path("runs/all")).name == "dev3"
    monkeypatch.chdir(run / "stages")
    assert find_checkpoint("zero").stage == "zero"


def test_the_last_checkpoint_counts_where_no_stage_plays_a_part(run: Path) -> None:
    recipe = {**RECIPE, "claims": {}, "stages": {"a": STAGES["zero"], "small": STAGES["small"]}}
    (run / "recipe.json").write_text(json.dumps(recipe))
    assert main_checkpoint(run).name == "small"


@pytest.mark.parametrize(
    ("typed", "error", "words"),
    [
        ("RUN:zeor", ConfigError, "did you mean 'zero'"),
        ("RUN:later", ConfigError, "it has miniature-base, Where-1B, zero, dev3, small"),
        ("RUN/stages/later", ModelError, "has written no checkpoint"),
        ("RUN/stages/helpful", ModelError, "is a reward model"),
        ("PARENT", ModelError, "it holds the runs"),
        ("RUN/stages", ModelError, "neither a model"),
        ("miniature-bse", ModelError, "did you mean 'miniature-base'"),
        ("runs/miniature-r1", ModelError, "there is no such model"),
        ("/no/such/folder", ModelError, "there is no such model"),
    ],
)
def test_refusals_say_what_there_is(
    run: Path, typed: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        find_checkpoint(typed.replace("RUN", str(run)).replace("PARENT", str(run.parent)))


def test_a_run_without_a_checkpoint(run: Path) -> None:
    recipe = {**RECIPE, "stages": {"later": {"kind": "rl", "start": "miniature-base"}}}
    (run / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(ConfigError, match=r"no stage of this run .*:base"):
        find_checkpoint(run)
    assert find_checkpoint(f"{run}:base").name == "miniature-base"


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run directory"):
        checkpoints_of(tmp_path)
