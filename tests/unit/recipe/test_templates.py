"""A stage that names no template asks as its model was trained, and the plan says so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import ConfigError, ModelError
from dianoia.recipe import load_recipe
from dianoia.recipe.graph import Recipe
from dianoia.recipe.resume.fingerprint import fingerprint
from dianoia.recipe.templates import inherit_templates
from dianoia.storage.run_directory import RunDirectory
from dianoia.text.template import TEMPLATE_RECORD, TEMPLATES, template_of
from tests.unit.recipe.conftest import plan_text

RECIPE = """
name = "inherits"

[templates.mine]
prompt = "Q: {question}"

[stages.first]
kind = "sft"
start = "BASE"
datasets = [{ path = "data.jsonl", weight = 1 }]
template = "mine"
max_length = 64
evaluation_share = 0
tokens_per_step = 64
optimizer = { learning_rate = 1e-4 }

[stages.second]
kind = "rl"
start = "START"
problems = "miniature/math"
steps = 1
sampling = { max_tokens = 8 }
optimizer = { learning_rate = 1e-4 }

[stages.third]
kind = "sample"
start = "second"
problems = "miniature/math"
prompts = 2
sampling = { max_tokens = 8 }

[stages.evaluation]
kind = "evaluate"
checkpoints = ["CHECKPOINTS"]
problems = "miniature/math"
max_tokens = 8
"""


def checkpoint(source: Path, target: Path, record: object) -> str:
    """Copy a model with a template in its `config.json`."""
    shutil.copytree(source, target)
    file = target / "config.json"
    config: dict[str, Any] = json.loads(file.read_text())
    file.write_text(json.dumps(config | {TEMPLATE_RECORD: record}))
    return target.as_posix()


@pytest.fixture
def load(model: Path, tmp_path: Path) -> Callable[..., Recipe]:
    """Load the recipe with a start of the second stage, and other checkpoints to evaluate."""

    def make(start: str = "first", *checkpoints: str, table: str = "") -> Recipe:
        names = '", "'.join(checkpoints or ["second"])
        text = RECIPE.replace("START", start).replace("CHECKPOINTS", names)
        (tmp_path / "r.toml").write_text(text.replace("BASE", model.as_posix()) + table)
        return inherit_templates(load_recipe(tmp_path / "r.toml"))

    return make


def named(recipe: Recipe) -> dict[str, object]:
    return {name: getattr(stage, "template", None) for name, stage in recipe.stages.items()}


def test_the_template_of_an_earlier_stage_is_passed_on(load: Callable[..., Recipe]) -> None:
    recipe = load()
    assert set(named(recipe).values()) == {"mine"}
    assert recipe.inherited_templates == {
        "second": "template mine, from first",
        "third": "template mine, from second",
        "evaluation": "template mine, from second",
    }
    third = recipe.stages["third"]
    assert third.kind == "sample" and third.written_in == "mine"


def test_a_base_model_gets_the_default_without_a_word(
    load: Callable[..., Recipe], model: Path
) -> None:
    recipe = load(model.as_posix(), "miniature-base")
    assert named(recipe) == {"first": "mine"} | dict.fromkeys(
        ["second", "third", "evaluation"], "r1-zero"
    )
    assert set(recipe.inherited_templates) == {"third"}, "of the stage before it"


def test_a_checkpoint_says_its_template_and_the_plan_names_it(
    load: Callable[..., Recipe], model: Path, tmp_path: Path
) -> None:
    folder = checkpoint(model, tmp_path / "c", "r1-prefilled")
    recipe = load(folder)
    assert named(recipe)["second"] == named(recipe)["evaluation"] == "r1-prefilled"
    (tmp_path / "data.jsonl").write_text('{"prompt": "1+1?", "completion": "2"}\n' * 40)
    text = "\n".join(plan_text(load_with_data(recipe, tmp_path)).split())
    assert f"template\nr1-prefilled,\nfrom\nthe\ncheckpoint\n{folder}" in text


def load_with_data(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with its data set in the folder."""
    first = recipe.stages["first"]
    assert first.kind == "sft"
    dataset = first.datasets[0].model_copy(update={"path": str(folder / "data.jsonl")})
    stages = {**recipe.stages, "first": first.model_copy(update={"datasets": [dataset]})}
    return recipe.with_templates(stages, recipe.templates, recipe.inherited_templates)


def test_checkpoints_of_one_evaluation_keep_their_own_templates(
    load: Callable[..., Recipe], model: Path, tmp_path: Path
) -> None:
    item = checkpoint(model, tmp_path / "one", "r1")
    two = checkpoint(model, tmp_path / "two", "r1")
    recipe = load("first", "miniature-base", item, two, "second")
    assert named(recipe)["evaluation"] == {
        "miniature-base": "r1-zero", item: "r1", two: "r1", "second": "mine",
    }  # fmt: skip
    sentence = recipe.inherited_templates["evaluation"]
    assert sentence == (
        f"template r1, from the checkpoint {item}, the checkpoint {two}; mine, from second"
    )


def test_a_table_names_a_template_per_checkpoint(load: Callable[..., Recipe]) -> None:
    recipe = load("first", "first", "second", table='template = { first = "plain" }')
    assert named(recipe)["evaluation"] == {"first": "plain", "second": "mine"}
    with pytest.raises(ConfigError, match=r"template\.third: checkpoints does not name it"):
        load("first", "first", table='template = { third = "plain" }')


@pytest.mark.parametrize("prompt", ["{question} Think.", "Q: {question}"])
def test_a_template_of_another_recipe_comes_with_its_checkpoint(
    load: Callable[..., Recipe], model: Path, tmp_path: Path, prompt: str
) -> None:
    """Under its own name, unless this recipe has another of that name."""
    folder = checkpoint(model, tmp_path / "c", {"name": "mine", "prompt": prompt})
    recipe = load(folder)
    name = recipe.stages["second"].template
    assert name == ("mine" if prompt == "Q: {question}" else f"mine of {folder}")
    assert template_of(name, recipe.templates).render("1+1?") == prompt.replace(
        "{question}", "1+1?"
    )
    assert template_of("mine", recipe.templates).render("1+1?") == "Q: 1+1?"


def test_the_fingerprint_holds_the_template_that_is_used(
    load: Callable[..., Recipe], model: Path, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    folder = checkpoint(model, tmp_path / "c", "r1")
    before = fingerprint("second", load(folder), run).configuration
    assert before["template"] == "r1"
    shutil.rmtree(folder)
    checkpoint(model, tmp_path / "c", {"name": "x", "prompt": "{question}!"})
    after = fingerprint("second", load(folder), run).configuration
    assert after["template"] == "x" and after["templates"]["x"]["prompt"] == "{question}!"


def test_a_damaged_record_is_refused(
    load: Callable[..., Recipe], model: Path, tmp_path: Path
) -> None:
    folder = checkpoint(model, tmp_path / "c", {"name": "x"})
    with pytest.raises(ModelError, match="which no stage writes, so its prompts would be wrong"):
        load(folder)


def test_every_builtin_template_is_inherited_by_its_name(
    load: Callable[..., Recipe], model: Path, tmp_path: Path
) -> None:
    for name in TEMPLATES:
        assert named(load(checkpoint(model, tmp_path / name, name)))["second"] == name
