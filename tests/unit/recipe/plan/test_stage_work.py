"""The plan of a recipe, by hand: prompts, groups, completions, optimizer steps, tokens, sizes."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from dianoia.base.errors import UserError
from dianoia.bases import SHIPPED, shipped_model
from dianoia.recipe import load_recipe
from dianoia.recipe.plan.model_sizes import size_of
from tests.unit.recipe.conftest import TEXT, planned_work

Write = Callable[..., Path]


def test_the_arithmetic_by_hand(write: Write) -> None:
    plan = planned_work(write())
    assert list(plan) == ["base (pretrain)", "zero (rl)", "evaluation (evaluate)"]
    # 10,000 / 1,024 = 9.8
    assert "10 optimizer steps of 1,024 tokens" in plan["base (pretrain)"]
    # 6 steps / 2 minibatches = 3 rollouts of 8 x 4 = 32; 3 x 32 = 96; 3 x 8 = 24; 32 / 2 = 16;
    # the curve has a point at step 0 and one at step 6: 2 x 64 x 4 = 512; (96 + 512) x 24 = 14,592
    for part in (
        "from base",
        "3 rollouts of 8 prompts x 4 samples = 32 completions",
        "96 completions in 24 groups",
        "6 optimizer steps of 16 completions",
        "512 more completions for the held-out curve",
        "at most 14,592 sampled tokens (24 per completion)",
    ):
        assert part in plan["zero (rl)"], plan["zero (rl)"]
    # 2 x 6 x 2 = 24; 24 x 30 = 720
    for part in (
        "2 checkpoints x 6 problems x 2 samples = 24 completions",
        "at most 720 sampled tokens (30 per completion)",
    ):
        assert part in plan["evaluation (evaluate)"], plan["evaluation (evaluate)"]


def test_the_papers_arithmetic(write: Write) -> None:
    """R1-Zero: 512 questions x 16 samples = 8,192 outputs a rollout, 16 minibatches of 512."""
    options = (
        "zero.problems_per_rollout=512",
        "zero.group_size=16",
        "zero.minibatches=16",
        "zero.steps=10_400",
        "base.model.max_positions=70_000",
        "zero.sampling.max_tokens=32_768",
        "zero.sampling.longer=[{from_step=8_200, max_tokens=65_536}]",
    )
    plan = planned_work(write(), *options)["zero (rl)"]
    assert "650 rollouts of 512 prompts x 16 samples = 8,192 completions" in plan
    assert "5,324,800 completions in 332,800 groups" in plan
    assert "10,400 optimizer steps of 512 completions" in plan
    # 1 + 10,400 / 10 points of 64 x 4 = 266,496 completions for the curve
    tokens = (5_324_800 + 266_496) * 65_536
    assert f"at most {tokens:,} sampled tokens (65,536 per completion)" in plan


def test_at_most_is_an_upper_limit_under_dynamic_sampling(write: Write) -> None:
    options = ("zero.algorithm.dynamic_sampling=true", "zero.algorithm.dynamic_rounds=4")
    (tokens,) = re.findall(
        r"at most ([\d,]+) sampled", planned_work(write(), *options)["zero (rl)"]
    )
    # every one of 3 rollouts may draw its 32 completions once and 4 times more
    assert int(tokens.replace(",", "")) >= 3 * 32 * 5 * 24


def test_parameters_are_those_of_the_model(model: Path, write: Write) -> None:
    recipe = load_recipe(write(), [f"zero.start={model}"])
    real = AutoModelForCausalLM.from_pretrained(model).num_parameters()
    size = size_of("zero", recipe)
    assert size.parameters == pytest.approx(real, rel=0.01)
    assert size.name == str(model)
    assert size.cache_per_token == 2 * 3 * 2 * 32  # keys and values, layers, heads, dimensions
    assert (
        f"from {model} ({real / 1e6:.2f} M parameters)"
        in planned_work(write(), f"zero.start={model}")["zero (rl)"]
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_parameters_of_the_shipped_models(name: str, write: Write) -> None:
    folder = shipped_model(name)
    if folder is None:
        pytest.skip(f"{name} is not there yet")
    size = size_of("zero", load_recipe(write(), [f"zero.start={name}"]))
    real = AutoModelForCausalLM.from_pretrained(folder).num_parameters()
    assert size.parameters == pytest.approx(real, rel=0.01)


def test_a_size_is_followed_back_to_where_it_comes_from(write: Write) -> None:
    recipe = load_recipe(write(), ["base.vocabulary=500"])
    # 2 layers of 2 x 16 x 8 x (4 + 2) + 3 x 16 x 32 = 1,536 + 1,536, and 500 x 16 of embeddings
    expected = 2 * 3072 + 8000
    assert {size_of(name, recipe).parameters for name in recipe.stages} == {expected}
    assert size_of("zero", recipe).name == "base"


def test_a_value_model_is_planned(model: Path, write: Write) -> None:
    start = f"zero.start={model}"
    plain, ppo = (
        planned_work(write(), start, *options)["zero (rl)"]
        for options in ((), ("zero.algorithm.name=ppo",))
    )
    # without the head over the vocabulary, which an untied model has apart
    millions = size_of("zero", load_recipe(write(), [start])).backbone / 1e6
    match = re.search(r"a value model of ([\d.]+) M parameters, (\d+) ([kM]B) with", ppo)
    assert match is not None and "value model" not in plain
    assert float(match[1]) == pytest.approx(millions, abs=0.006)
    # weights, gradients and Adam's two averages, 4 bytes each
    shown = float(match[2]) * {"kB": 1e-3, "MB": 1.0}[match[3]]
    assert shown == pytest.approx(4 * 4 * millions, abs=0.5)


def test_other_architectures_are_planned_or_refused_in_words(write: Write, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=600, n_embd=16, n_layer=1, n_head=2, n_positions=256)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    try:
        assert "zero (rl)" in planned_work(write(), f"zero.start={tmp_path / 'gpt2'}")
    except UserError as error:
        assert "gpt2" in str(error)


@pytest.mark.parametrize(
    ("before", "after", "parts"),
    [
        ('start = "base"', 'start = "./nowhere"', ["stages.zero", "./nowhere", "config.json"]),
        ('"miniature/math"', '"miniature/maths"', ["stages.zero", "miniature/maths"]),
    ],
)
def test_a_plan_checks_the_inputs_first(
    before: str, after: str, parts: list[str], write: Write
) -> None:
    with pytest.raises(UserError) as caught:
        planned_work(write(TEXT.replace(before, after, 1)))
    for part in parts:
        assert part in str(caught.value)
