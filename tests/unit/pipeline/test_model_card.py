"""A model card says what a checkpoint is, with its evaluation, in a form that the hub reads."""

import os
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from dianoia.base.files import write_json
from dianoia.pipeline.model_card import CARD, model_card, write_cards
from dianoia.recipe import load_recipe
from dianoia.recipe.graph import Recipe
from dianoia.recipe.templates import inherit_templates
from dianoia.storage.run_directory import RunDirectory

RECIPE = """
name = "card"
description = "Sums."
seed = 7

[stages.zero]
kind = "rl"
start = "BASE"
problems = "miniature/math"
template = "r1-zero"
steps = 3
sampling = { max_tokens = 8, temperature = 0.9 }
optimizer = { learning_rate = 1e-4 }
algorithm = { name = "dr_grpo" }

[stages.further]
kind = "sft"
start = "zero"
datasets = [{ path = "a`b.jsonl", weight = 1 }]
max_length = 64
tokens_per_step = 64
optimizer = { learning_rate = 1e-4 }

[stages.evaluation]
kind = "evaluate"
checkpoints = ["BASE", "zero"]
problems = "miniature/math"
samples = 4
max_tokens = 8

[stages.again]
kind = "evaluate"
checkpoints = ["zero"]
problems = "miniature/math"
template = "plain"
max_tokens = 8
"""
ESTIMATE = {"value": 0.5, "low": 0.41234, "high": 0.6, "n": 64}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "run")
    for name in ("zero", "further"):
        run.stage(name).checkpoint.mkdir(parents=True)
    about = {"dianoia": "0.1.0", "python": "3.12.1", "libraries": {"torch": "2.9.0"}}
    write_json(run.about, about, checked=True)
    return run


def recipe(tmp_path: Path, base: str = "miniature-base") -> Recipe:
    file = tmp_path / "card.toml"
    file.write_text(RECIPE.replace("BASE", base))
    return inherit_templates(load_recipe(file))


def results(**states: str) -> dict[str, Any]:
    """Return the content of results.json with the estimates of the stages that are done."""
    evaluations = {}
    if states.get("evaluation") == "done":
        evaluations["zero"] = {"math": {"pass@1": ESTIMATE}}
    if states.get("again") == "done":
        evaluations["zero under plain"] = {"math": {"pass@1": ESTIMATE | {"value": 0.25}}}
    return {"states": states, "evaluations": evaluations, "reward_models": {}}


def test_a_card_says_what_the_model_is(tmp_path: Path, run: RunDirectory) -> None:
    card = model_card("zero", recipe(tmp_path), run, results(zero="done"))
    data = ModelCard(card).data.to_dict()
    assert data == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["dianoia", "reasoning", "dr-grpo", "rl"],
        "license": "apache-2.0",
    }
    for text in (
        "# card: zero",
        "reinforcement learning (dr_grpo) from `miniature-base`. Sums.",
        "template `r1-zero`, which is its chat template",
        "vllm serve . --reasoning-parser deepseek_r1",
        "Not evaluated.",
        "seed 7",
        "sampling.temperature = 0.9",
        "Dianoia 0.1.0, Python 3.12.1, torch 2.9.0",
    ):
        assert text in card, text


def test_the_evaluation_stands_in_the_card_when_it_is_done(
    tmp_path: Path, run: RunDirectory
) -> None:
    loaded, file = recipe(tmp_path), run.stage("zero").checkpoint / CARD
    write_cards(loaded, run, results(zero="done", evaluation="interrupted"))
    assert "Not evaluated." in file.read_text()
    assert not (run.stage("further").checkpoint / CARD).exists(), "it is not done"
    write_cards(loaded, run, results(zero="done", evaluation="done", again="done"))
    text = file.read_text()
    assert "| math | pass@1 | 0.5 | 0.4123 to 0.6 | 64 |" in text
    assert "| math under plain | pass@1 | 0.25 | 0.4123 to 0.6 | 64 |" in text
    assert "4 samples per problem at temperature 0.6, top-p 0.95" in text
    # An evaluation that is out of date no longer counts.
    write_cards(loaded, run, results(zero="done", evaluation="changed", again="done"))
    assert "| math | pass@1 | 0.5" not in file.read_text()


def test_a_card_of_the_users_own_stays(tmp_path: Path, run: RunDirectory) -> None:
    loaded, file = recipe(tmp_path), run.stage("zero").checkpoint / CARD
    file.write_text("# Mine\n")
    write_cards(loaded, run, results(zero="done"))
    assert file.read_text() == "# Mine\n"


def test_a_card_that_is_up_to_date_is_not_written_again(tmp_path: Path, run: RunDirectory) -> None:
    loaded, file = recipe(tmp_path), run.stage("zero").checkpoint / CARD
    write_cards(loaded, run, results(zero="done"))
    os.utime(file, (1, 1))
    write_cards(loaded, run, results(zero="done"))
    assert file.stat().st_mtime == 1


def test_base_and_license_are_those_at_the_beginning_of_the_chain(
    tmp_path: Path, run: RunDirectory
) -> None:
    card = model_card("further", recipe(tmp_path, "Qwen/Qwen2.5-0.5B"), run, results())
    assert ModelCard(card).data.base_model == "Qwen/Qwen2.5-0.5B"
    assert "fine-tuning from `zero`, which began with `Qwen/Qwen2.5-0.5B`." in card
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Base\n")
    data = ModelCard(model_card("zero", recipe(tmp_path, str(folder)), run, results())).data
    assert data.license == "mit" and data.base_model is None, "a folder is no model of the hub"
    (folder / "README.md").write_text("---\nlicense: [\n---\n")
    data = ModelCard(model_card("zero", recipe(tmp_path, str(folder)), run, results())).data
    assert data.license is None


def test_a_setting_does_not_end_its_block(tmp_path: Path, run: RunDirectory) -> None:
    card = model_card("further", recipe(tmp_path), run, results())
    block = card.partition("## Training")[2].partition("```")[2].partition("```")[0]
    assert "a'b.jsonl" in block and "template = 'r1-zero'" in block
