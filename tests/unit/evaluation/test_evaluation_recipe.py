"""The recipe of an evaluation is one that loads, asks as the protocol says, and keeps what was measured apart."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.config import EvaluateStage
from dianoia.evaluation.evaluation_recipe import (
    Options,
    Subject,
    default_folder,
    find_subjects,
    make_evaluation,
)
from dianoia.evaluation.targets import Target, find_targets
from dianoia.recipe import load_recipe
from dianoia.recipe.graph import Recipe
from dianoia.text.template import TEMPLATES, Tags, Template

OWN = Template(
    "mine",
    'Q "{question}"\nA: <t>',
    Tags("<t>", "</t>", "<a>", "</a>"),
    True,
    later="{question} <t>",
)


@pytest.fixture(scope="module")
def base() -> Subject:
    return find_subjects(["miniature-base-small"])[0]


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    folder = tmp_path_factory.mktemp("files")
    files = [folder / "aime.jsonl", folder / 'quoted "é".jsonl']
    for file in files:
        file.write_text(json.dumps({"problem": "What is 2 + 3?", "answer": "5"}), encoding="utf-8")
    return find_targets([f"aime24={files[0]}", str(files[1])])


def loaded(text: str, tmp_path: Path) -> Recipe:
    (tmp_path / "evaluate.toml").write_text(text, encoding="utf-8")
    return load_recipe(tmp_path / "evaluate.toml")


def test_the_recipe_loads_and_has_the_protocol(
    base: Subject, targets: list[Target], tmp_path: Path
) -> None:
    summary = replace(base, typed="other", template=TEMPLATES["r1"])
    evaluation = make_evaluation([base, summary], targets, Options(seed=7, slots=3))
    recipe = loaded(evaluation.recipe, tmp_path)
    assert recipe.seed == 7 and [m.stage for m in evaluation.measurements] == list(recipe.stages)
    stages = list(recipe.stages.values())
    first, second, plain, _ = stages
    assert all(isinstance(stage, EvaluateStage) for stage in stages)
    assert isinstance(first, EvaluateStage) and isinstance(second, EvaluateStage)
    assert isinstance(plain, EvaluateStage)
    assert (first.samples, first.pass_at, first.whole_file) == (64, [2, 4, 8, 16, 32], True)
    assert (plain.samples, plain.pass_at, plain.slots) == (16, [2, 4, 8], 3)
    # `r1-zero` says itself how to answer; a summary is asked for in the paper's words.
    assert (first.template, first.wording) == ("r1-zero", "{question}")
    assert second.template == "r1" and second.wording.endswith("within \\boxed{}.")
    # 1,024 positions less the prompt, which the table marks.
    assert 900 < first.max_tokens < 1024 and evaluation.measurements[0].lowered
    # The wording is a part of the prompt.
    assert second.max_tokens != first.max_tokens
    assert evaluation.notes == ("aime24: these are 1 problems, and the published set has 30",)


def test_templates_of_ones_own_come_along(
    base: Subject, targets: list[Target], tmp_path: Path
) -> None:
    mine = replace(base, typed="first", template=OWN)
    other = replace(base, typed="second", template=replace(OWN, prompt="{question} <t>"))
    recipe = loaded(make_evaluation([mine, other], targets[:1], Options()).recipe, tmp_path)
    names = [s.template for s in recipe.stages.values() if isinstance(s, EvaluateStage)]
    assert names == ["mine", "mine of second"]
    assert recipe.templates["mine"].prompt == OWN.prompt
    assert recipe.templates["mine of second"].prompt == "{question} <t>"


def test_options_replace_the_protocol(base: Subject, targets: list[Target], tmp_path: Path) -> None:
    options = Options(samples=3, temperature=1.0, top_p=0.5, max_tokens=20)
    (stage,) = loaded(
        make_evaluation([base], targets[:1], options).recipe, tmp_path
    ).stages.values()
    assert isinstance(stage, EvaluateStage)
    assert (stage.samples, stage.temperature, stage.top_p, stage.max_tokens) == (3, 1.0, 0.5, 20)
    greedy = make_evaluation([base], targets[:1], Options(temperature=0))
    assert greedy.measurements[0].samples == 1
    with pytest.raises(ConfigError, match=r"--max-tokens 1024: .* has 1,024 positions"):
        make_evaluation([base], targets[:1], Options(max_tokens=1024))


def test_folders_are_named_by_models_and_targets(base: Subject, targets: list[Target]) -> None:
    folder = default_folder([base], targets)
    assert folder == default_folder([base], targets)
    assert folder.name == "evaluate-miniature-base-small-on-aime24-quoted"
    many = default_folder([base] * 9, targets)
    assert len(many.name) < 100 and many != default_folder([base] * 10, targets)
