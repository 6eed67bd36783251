"""Sampling in recipes: what is refused, and its plan by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError, UserError
from dianoia.config import EndpointSettings, SampleStage
from dianoia.recipe import load_recipe
from dianoia.recipe.check.inputs import check_inputs
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.problem_ranges import problem_range
from tests.unit.recipe.conftest import TEXT, planned_work

Write = Callable[..., Path]
COLD = """
[stages.cold]
kind = "sample"
start = "zero"
problems = "miniature/math"
prompts = 10
samples = 4
most_per_problem = 3
[stages.cold.sampling]
max_tokens = 100
"""
MODEL = 'url = "http://localhost:1/v1", model = "big"'


@pytest.fixture
def cold(write: Write) -> Path:
    return write(TEXT + COLD)


def test_the_plan_by_hand(cold: Path) -> None:
    plan = planned_work(cold)["cold (sample)"]
    # 10 x 4 = 40; at most 3 of 4 a problem: 30; 40 x 100 = 4,000
    assert "10 problems x 4 samples = 40 completions, of which at most 30 are kept" in plan
    assert "at most 4,000 sampled tokens (100 per completion)" in plan and "requests" not in plan


def test_the_plan_counts_requests(cold: Path) -> None:
    options = (f"cold.judge={{{MODEL}}}", f"cold.rewriter={{{MODEL}}}")
    plan = planned_work(cold, *options, "cold.most_per_problem=9")["cold (sample)"]
    assert "at most 40 requests to big to grade; at most 40 requests to big to rewrite" in plan


def test_an_endpoint_is_a_table(cold: Path) -> None:
    stage = load_recipe(cold, [f"cold.rewriter={{{MODEL}}}"]).stages["cold"]
    assert isinstance(stage, SampleStage) and isinstance(stage.rewriter, EndpointSettings)
    assert stage.rewriter.model == "big" and stage.judge is None


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("cold.rewriter=miniatur", ["cold.rewriter = 'miniatur'", "did you mean 'miniature'"]),
        ("cold.rewriter=3", ["cold.rewriter=3", "valid string"]),
        (f"cold.rewriter={{{MODEL}, modle=1}}", ["rewriter.modle", "did you mean 'model'"]),
        (f"cold.rewriter={{{MODEL}, retries=-1}}", ["stages.cold.rewriter.retries", "-1"]),
        ('cold.judge={url="localhost", model="m"}', ["url = 'localhost'", "http://localhost:8000/v1"]),
        ('cold.judge={url="http://me:pw@host/v1", model="m"}', ["password", "key_env"]),
        (f'cold.judge={{{MODEL}, key_env="sk-1"}}', ["cold.judge.key_env", "pattern"]),
        (f'cold.judge={{{MODEL}, key_env="NOT_SET_1"}}', ["stages.cold.judge.key_env", "export it"]),
        ("cold.final=summary", ['rewriter = "none"', "nothing writes a summary"]),
        ("cold.keep.shortest=9", ["longest = 8 is below shortest = 9"]),
        ("cold.keep.langauge=0.5", ["cold.keep.langauge=0.5", "did you mean 'language'"]),
        ("cold.keep.repetition=2.0", ["cold.keep.repetition=2.0", "less than or equal to 1"]),
        ("cold.sampling.longer=[{from_step=1, max_tokens=9}]", ["takes none", "max_tokens"]),
        ("cold.sampling.max_tokens=2000", ["stages.cold.sampling.max_tokens = 2000", "1024 positions"]),
        ("cold.template=r1zero", ["stages.cold.template", "r1-zero"]),
        ("cold.completion_template=r2", ["stages.cold.completion_template = 'r2'", "r1-prefilled"]),
        ("cold.problems=none.jsonl", ["stages.cold.problems", "'none.jsonl'"]),
        ("cold.start=evaluation", ["stages.cold: 'evaluation' is a stage", "no model"]),
        ("evaluation.checkpoints=[\"cold\"]", ["stages.evaluation uses stages.cold, which comes after"]),
    ],
)  # fmt: skip
def test_what_cannot_run(override: str, parts: list[str], cold: Path) -> None:
    options = ["cold.keep.longest=8"] if "keep.shortest" in override else []
    with pytest.raises(UserError) as caught:
        check_inputs(load_recipe(cold, [*options, override]))
    for part in parts:
        assert part in str(caught.value)


def test_data_are_no_model(write: Write) -> None:
    options = '[stages.after]\nkind="evaluate"\ncheckpoints=["cold"]\nproblems="miniature/math"\nmax_tokens=9\n'
    with pytest.raises(ConfigError, match=r"stages.after: 'cold' is .* writes no model") as caught:
        check_inputs(load_recipe(write(TEXT + COLD + options)))
    assert str(caught.value).count("'cold'") == 1


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    """Problems that no rule can grade, among others."""
    rows = [{"id": f"n{n}", "question": f"{n}+1?", "answer": str(n + 1)} for n in range(40)]
    rows += [
        {"id": f"f{n}", "question": f"Who was king {n}?", "answer": "Otto", "verifier": "reference"}
        for n in range(20)
    ]
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_problems_that_no_rule_can_grade_need_a_judge(cold: Path, facts: Path) -> None:
    options = [f"cold.problems={facts}", "cold.prompts=60"]
    with pytest.raises(ConfigError, match="verifier 'reference'.*add a judge"):
        check_inputs(load_recipe(cold, options))
    check_inputs(load_recipe(cold, [*options, f"cold.judge={{{MODEL}}}"]))
    check_inputs(load_recipe(cold, [*options, "cold.keep.correct=false"]))


def test_the_miniatures_rewriter_is_for_the_miniature(cold: Path, facts: Path) -> None:
    options = [f"cold.problems={facts}", "cold.keep.correct=false", "cold.rewriter=miniature"]
    with pytest.raises(ConfigError, match=r"rewriter = 'miniature' with problems = .*facts.jsonl"):
        check_inputs(load_recipe(cold, options))
    check_inputs(load_recipe(cold, ["cold.rewriter=miniature"]))


def test_a_range_names_every_problem_once(facts: Path) -> None:
    source = problem_source(str(facts))
    epoch = problem_range(source, 0, 1000)
    names = [problem.id for problem in epoch]
    assert len(names) == len(set(names)) < 60
    assert [problem.id for problem in problem_range(source, 3, 4)] == names[3:7]


def test_ranges_of_the_miniature_are_apart() -> None:
    source = problem_source("miniature/math")
    near, far = problem_range(source, 0, 60), problem_range(source, 60, 60)
    assert problem_range(source, 10, 5) == near[10:15]
    assert not {problem.question for problem in near} & {problem.question for problem in far}
