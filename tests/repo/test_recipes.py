"""Every recipe of the repository can be run as written."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from dianoia.config import DataSettings, EvaluateStage, RewardModelStage, RLStage, SFTStage
from dianoia.models.hub_config import KNOWN
from dianoia.recipe import Recipe, load_recipe
from dianoia.recipe.check.inputs import check_inputs
from dianoia.recipe.graph import sources
from dianoia.recipe.plan.run_plan import plan_run
from dianoia.text.template import template_of


def test_every_recipe_loads(root: Path) -> None:
    paths = sorted((root / "recipes").rglob("*.*"))
    assert paths
    for path in paths:
        assert load_recipe(path, overrides=[]).stages, path


def test_a_recipe_is_named_after_its_file(root: Path) -> None:
    for path in sorted((root / "recipes").rglob("*.toml")):
        assert load_recipe(path, overrides=[]).name == path.stem


# Recipes for real models: what they say is the paper's is the paper's --------------------------------


@pytest.fixture(scope="module")
def recipes(root: Path) -> dict[str, Recipe]:
    """Every recipe for a model from the hub, by name."""
    results = {p.stem: load_recipe(p) for p in (root / "recipes").glob("*.toml")}
    return {name: match for name, match in results.items() if not name.startswith("miniature")}


RATES = {
    "distill-qwen-1.5b": ("Qwen/Qwen2.5-Math-1.5B", 1e-4),
    "distill-qwen-7b": ("Qwen/Qwen2.5-Math-7B", 8e-5),
    "distill-qwen-14b": ("Qwen/Qwen2.5-14B", 7e-5),
    "distill-qwen-32b": ("Qwen/Qwen2.5-32B", 6e-5),
    "distill-llama-8b": ("meta-llama/Llama-3.1-8B", 5e-5),
    "distill-llama-70b": ("meta-llama/Llama-3.3-70B-Instruct", 2e-5),
}
"""The paper's students, their bases and learning rates (B.4.3)."""


@pytest.mark.parametrize("name", RATES)
def test_a_student_learns_at_the_papers_rate(name: str, recipes: Mapping[str, Recipe]) -> None:
    stage = recipes[name].stages["student"]
    assert isinstance(stage, SFTStage)
    assert (stage.start, stage.optimizer.learning_rate) == RATES[name]
    assert (stage.optimizer.schedule, stage.optimizer.floor) == ("cosine", 0.1)
    assert stage.epochs in (2, 3) and stage.max_length == 32_768
    assert stage.tokens_per_step == 64 * 32_768


def test_the_students_differ_in_nothing_else(recipes: Mapping[str, Recipe]) -> None:
    tables = []
    for name in RATES:
        table = recipes[name].stages["student"].model_dump()
        table["optimizer"].pop("learning_rate")
        tables.append({k: v for k, v in table.items() if k not in ("start", "positions")})
    assert all(table == tables[0] for table in tables)


def test_reinforcement_has_the_papers_settings(recipes: Mapping[str, Recipe]) -> None:
    stages = [
        stage
        for name in ("qwen-zero", "qwen-r1")
        for stage in recipes[name].stages.values()
        if isinstance(stage, RLStage)
    ]
    assert len(stages) == 4
    for stage in stages:
        assert (stage.group_size, stage.rollout_size, stage.minibatches) == (16, 8192, 16)
        assert (stage.algorithm.clip_low, stage.algorithm.clip_high) == (10, 10)
        assert stage.algorithm.kl_coefficient == 0.001 and stage.algorithm.reference_every == 400
        assert (stage.rewards.accuracy, stage.rewards.format) == (1, 1)


def test_r1_is_the_papers_graph(recipes: Mapping[str, Recipe]) -> None:
    stages = recipes["qwen-r1"].stages
    base = "Qwen/Qwen2.5-1.5B"
    started = {n: getattr(s, "start", None) for n, s in stages.items() if hasattr(s, "start")}
    assert started == {
        "zero": base, "cold": "zero", "dev1": base, "dev2": "dev1", "reasoning": "dev2",
        "dev3": base, "helpful": "dev3", "safety": "dev3", "r1": "dev3",
    }  # fmt: skip
    r1 = stages["r1"]
    assert isinstance(r1, RLStage) and r1.preferences is not None
    assert r1.sampling.temperature == 0.7 and r1.rewards.language == 1
    assert r1.steps - r1.preferences.from_step == 400
    assert (r1.preferences.helpful, r1.preferences.safety) == ("helpful", "safety")
    for name in ("helpful", "safety"):
        model = stages[name]
        assert isinstance(model, RewardModelStage)
        assert (model.optimizer.learning_rate, model.samples_per_step, model.epochs) == (
            6e-6,
            256,
            1,
        )
    for name in ("dev1", "dev3"):
        tuned = stages[name]
        assert isinstance(tuned, SFTStage) and tuned.optimizer.learning_rate == 5e-5
        assert tuned.optimizer.schedule == "cosine" and tuned.optimizer.floor == 0.1


def test_every_model_that_a_recipe_names_can_be_planned_offline(
    recipes: Mapping[str, Recipe],
) -> None:
    names = {
        source
        for recipe in recipes.values()
        for stage in recipe.stages.values()
        for source in sources(stage)
        if source not in recipe.stages
    }
    assert names and names <= set(KNOWN)


# Recipes for instruct models: one card of 24 GB is enough ---------------------------------------------

INSTRUCT = ("qwen-instruct-gsm8k", "qwen-instruct-gsm8k-lora")


@pytest.mark.parametrize("name", INSTRUCT)
def test_an_instruct_model_fits_a_card_of_24_gb(name: str, recipes: Mapping[str, Recipe]) -> None:
    check_inputs(recipes[name], planned=True)
    plan = plan_run(recipes[name], gpu="RTX 4090")
    assert plan.largest <= 0.9 * 24e9 and plan.suggested_gpu is None
    assert all(stage.memory and stage.memory.least is None for stage in plan.stages)
    assert not plan.unusual, "numbers that hardly any run wants"


@pytest.mark.parametrize("name", INSTRUCT)
def test_an_instruct_model_is_measured_before_and_after_as_it_is_trained(
    name: str, recipes: Mapping[str, Recipe]
) -> None:
    recipe = recipes[name]
    zero, evaluation = recipe.stages["zero"], recipe.stages["evaluation"]
    assert isinstance(zero, RLStage) and isinstance(evaluation, EvaluateStage)
    assert evaluation.checkpoints == [zero.start, "zero"] and evaluation.whole_file
    assert evaluation.template == zero.template
    assert template_of(zero.template, recipe.templates).chat
    assert evaluation.max_tokens == zero.sampling.max_tokens
    # The test set is a split that training never sees.
    train, test = zero.problems, evaluation.problems
    assert isinstance(train, DataSettings) and isinstance(test, DataSettings)
    assert (train.path, train.split, test.split) == (test.path, None, "test")
    assert train.decontaminate


def test_an_adapter_differs_in_what_its_recipe_explains(recipes: Mapping[str, Recipe]) -> None:
    full, adapted = (recipes[name].stages["zero"] for name in INSTRUCT)
    assert isinstance(full, RLStage) and isinstance(adapted, RLStage)
    assert adapted.lora is not None and full.lora is None
    # Ten times the rate, and larger micro-batches in the memory that averages and reference leave.
    assert adapted.optimizer.learning_rate == pytest.approx(10 * full.optimizer.learning_rate)
    as_full = {
        "lora": None,
        "tokens_per_micro_batch": full.tokens_per_micro_batch,
        "optimizer": full.optimizer,
    }
    assert adapted.model_copy(update=as_full) == full
    assert recipes[INSTRUCT[0]].stages["evaluation"] == recipes[INSTRUCT[1]].stages["evaluation"]
    memory = [plan_run(recipes[name], gpu="RTX 4090").stages[0].memory for name in INSTRUCT]
    assert memory[0] and memory[1] and memory[1].bytes < 0.7 * memory[0].bytes
