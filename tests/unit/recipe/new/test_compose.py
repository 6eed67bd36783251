"""A recipe for each goal: it loads, it is checked, it fits the machine, and it says why."""

import re
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.config import EvaluateStage, RLStage, SFTStage
from dianoia.recipe.load import load_recipe
from dianoia.recipe.new import NewRecipe, Request, compose
from dianoia.recipe.plan.memory import TIGHT


def loaded(new: NewRecipe, folder: Path) -> NewRecipe:
    """Assert that the text is the recipe, each number with a reason, and return it."""
    file = folder / "new.toml"
    file.write_text(new.text, encoding="utf-8")
    assert load_recipe(file).name == new.name == new.recipe.name
    bare = [
        line
        for line in new.text.splitlines()
        if re.match(r"\w+ = [\d\[]", line) and "#" not in line
        and not line.startswith(("seed", "checkpoints", "datasets"))
    ]  # fmt: skip
    assert not bare
    return new


def test_zero_on_a_base(folder: Path) -> None:
    new = loaded(compose(Request("zero", "miniature-base-small", "sums.jsonl")), folder)
    assert new.name == "miniature-base-small-zero" and not new.savings
    zero, evaluation = new.recipe.stages["zero"], new.recipe.stages["evaluation"]
    assert isinstance(zero, RLStage) and isinstance(evaluation, EvaluateStage)
    assert zero.template == "r1-zero" and zero.rewards.format == 1
    assert evaluation.checkpoints == ["miniature-base-small", "zero"]
    assert evaluation.max_tokens == zero.sampling.max_tokens


def test_lora_on_an_instruct_model_for_a_gpu(folder: Path) -> None:
    request = Request("lora", "Qwen/Qwen2.5-0.5B-Instruct", "sums.jsonl", gpu="4090")
    new = loaded(compose(request), folder)
    zero = new.recipe.stages["zero"]
    assert isinstance(zero, RLStage) and zero.lora is not None
    assert zero.template == "boxed" and zero.rewards.format == 0
    assert "boxed{}" in new.recipe.templates["boxed"].system
    assert new.plan.machine == "one RTX 4090" and new.plan.largest <= TIGHT * 24e9


def test_what_does_not_fit_is_made_smaller_and_says_so(folder: Path) -> None:
    request = Request("lora", "Qwen/Qwen2.5-1.5B", "sums.jsonl", gpu="4090")
    new = loaded(compose(request), folder)
    assert new.savings and new.plan.largest <= TIGHT * 24e9
    assert "# to fit one RTX 4090: with this" in new.text
    assert not any("kl_coefficient" in saving for saving in new.savings), "the last resort"


def test_what_cannot_fit_is_refused_with_ways_out(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(Request("zero", "Qwen/Qwen2.5-7B", "sums.jsonl", gpu="H100"))
    message = str(caught.value)
    for part in ("--model Qwen/Qwen2.5-7B", "one H100 has 80.0 GB", "the goal lora", "--for B200"):
        assert part in message


def test_r1_is_the_papers_graph(folder: Path) -> None:
    new = loaded(compose(Request("r1", "miniature-base-small", "sums.jsonl")), folder)
    starts = {name: getattr(stage, "start", None) for name, stage in new.recipe.stages.items()}
    base = "miniature-base-small"
    assert starts == {
        "zero": base, "cold": "zero", "dev1": base, "dev2": "dev1", "reasoning": "dev2",
        "dev3": base, "r1": "dev3", "evaluation": None,
    }  # fmt: skip
    r1 = new.recipe.stages["r1"]
    assert isinstance(r1, RLStage) and r1.rewards.language == 1
    assert (new.recipe.claims.base, new.recipe.claims.r1) == (base, "r1")


def test_distilling_a_model_and_a_file(folder: Path) -> None:
    request = Request("distill", "miniature-base-small", "sums.jsonl", teacher="miniature-base")
    new = loaded(compose(request), folder)
    assert list(new.recipe.stages) == ["samples", "student", "evaluation"]
    (folder / "teacher.jsonl").write_text(
        '{"prompt": "1+1?", "completion": "<think> a </think> \\\\boxed{2}"}\n' * 3
        + '{"prompt": "1+2?", "completion": "<think> b </think> \\\\boxed{3}"}\n'
    )
    request = Request("distill", "miniature-base-small", "sums.jsonl", teacher="teacher.jsonl")
    new = loaded(compose(request), folder)
    student = new.recipe.stages["student"]
    assert isinstance(student, SFTStage) and student.datasets[0].path == "teacher.jsonl"
    evaluation = new.recipe.stages["evaluation"]
    assert isinstance(evaluation, EvaluateStage)
    assert evaluation.template == {"miniature-base-small": "r1-zero", "student": "r1"}
    assert student.template == "r1" and student.evaluation_share == 0, "of four samples"


def test_a_reward_function_a_test_set_and_a_name(folder: Path) -> None:
    (folder / "mine.py").write_text(
        "def short(completions, **_):\n    return [0.0] * len(completions)\n"
    )
    request = Request(
        "zero", "miniature-base-small", "sums.jsonl", reward="mine.py:short", test="sums.jsonl", name="mine",
    )  # fmt: skip
    new = loaded(compose(request), folder)
    zero, evaluation = new.recipe.stages["zero"], new.recipe.stages["evaluation"]
    assert isinstance(zero, RLStage) and zero.rewards.functions[0].path == "mine.py:short"
    assert (
        isinstance(evaluation, EvaluateStage) and evaluation.whole_file and evaluation.limit == 400
    )
    assert new.name == "mine"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("zero", "miniature-base-small", "sums.jsonl", reward="mine.py:long"), "mine.py"),
        (Request("zero", "miniature-base-small", "sums.jsonl", template="r2"), "--template r2: there is no such"),
        (Request("r1", "miniature-base-small", "sums.jsonl", template="plain"), "--template plain has no tags"),
        (Request("zero", "miniature-base-small", "sums.jsonl", name="Not A Name"), "name"),
    ],
)  # fmt: skip
def test_what_a_dry_run_refuses_is_not_written(
    request_: Request, message: str, folder: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(request_)
    assert message in str(caught.value) and "/tmp" not in str(caught.value)
