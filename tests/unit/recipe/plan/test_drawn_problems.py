"""Counts of problems are those that stages draw; prompts are measured with the tokenizer of the model."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest
from tokenizers import Tokenizer

from dianoia.bases import model_folder
from dianoia.config import EvaluateStage, PreferencesStage, RLStage, SampleStage
from dianoia.recipe import Recipe, load_recipe
from dianoia.recipe.plan.drawn_problems import problem_count, prompt_tokens
from dianoia.recipe.plan.memory import PROMPT_TOKENS
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.problem_ranges import problem_range
from dianoia.text.template import TEMPLATES

Write = Callable[..., Path]
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def r1() -> Recipe:
    return load_recipe(ROOT / "recipes/miniature-r1.toml")


@pytest.mark.parametrize("name", ["cold-start-general", "labels"])
def test_repeated_problems_are_counted_once(r1: Recipe, name: str) -> None:
    stage = r1.stages[name]
    assert isinstance(stage, SampleStage | PreferencesStage)
    drawn = problem_range(problem_source(stage.problems), stage.first, stage.prompts)
    assert problem_count(stage, r1) == len(drawn) < stage.prompts


def test_a_held_out_side_has_an_end(write: Write, tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    rows = [{"question": f"{n}?", "answer": str(n)} for n in range(30)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = [f"evaluation.problems={file}", "evaluation.whole_file=true", "evaluation.limit=50"]
    recipe = load_recipe(write(), options)
    stage = recipe.stages["evaluation"]
    assert isinstance(stage, EvaluateStage) and problem_count(stage, recipe) == 30
    gone = load_recipe(write(), [f"evaluation.problems={tmp_path / 'gone.jsonl'}", *options[2:]])
    missing = gone.stages["evaluation"]
    assert isinstance(missing, EvaluateStage) and problem_count(missing, gone) is None
    assert prompt_tokens(missing, gone) == PROMPT_TOKENS


def test_too_many_problems_are_not_drawn(r1: Recipe) -> None:
    stage = r1.stages["cold-start"].model_copy(update={"prompts": 600_000})
    assert isinstance(stage, SampleStage) and problem_count(stage, r1) is None


def test_prompts_are_measured_by_the_tokenizer_of_the_first_model(r1: Recipe) -> None:
    """dev2 starts from dev1, which starts from the shipped base: its tokenizer counts, under the template r1."""
    stage = r1.stages["dev2"]
    assert isinstance(stage, RLStage)
    tokenizer = Tokenizer.from_file(str(model_folder("miniature-base") / "tokenizer.json"))
    problems = problem_source(stage.problems).draw(0, 0, 512)[::8]
    prompts = [TEMPLATES["r1"].render(problem.question) for problem in problems]
    lengths = [len(e.ids) for e in tokenizer.encode_batch(prompts, add_special_tokens=False)]
    assert prompt_tokens(stage, r1) == pytest.approx(mean(lengths))
    assert 10 < mean(lengths) < PROMPT_TOKENS
