"""The plan of a recipe, by hand: prompts, groups, completions, optimizer steps, tokens, sizes."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from dianoia.base.errors import UserError
from dianoia.bases import SHIPPED, shipped_model
from dianoia.hardware.machine import Machine
from dianoia.recipe import load_recipe
from dianoia.recipe.plan import table as plan
from dianoia.recipe.plan.table import print_plan, size_of
from dianoia.recipe.resume.stage_status import Action, StageTask
from tests.unit.recipe.conftest import TEXT

Write = Callable[..., Path]


def printed(path: Path, *overrides: str) -> dict[str, str]:
    """What the plan says of each stage, on one line."""
    file = io.StringIO()
    print_plan(load_recipe(path, overrides), Console(file=file, width=1000))
    rows = [line for line in file.getvalue().splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]
    assert all(len(row) == 4 and row[3].startswith("about ") for row in cells)
    return {row[0]: " ".join(row[1:3]) for row in cells}


def test_the_arithmetic_by_hand(write: Write) -> None:
    plan = printed(write())
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
        "at most 14,592 sampled tokens (24 a completion)",
    ):
        assert part in plan["zero (rl)"], plan["zero (rl)"]
    # 2 x 6 x 2 = 24; 24 x 30 = 720
    for part in (
        "2 checkpoints x at most 6 problems x 2 samples = 24 completions",
        "at most 720 sampled tokens (30 a completion)",
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
    plan = printed(write(), *options)["zero (rl)"]
    assert "650 rollouts of 512 prompts x 16 samples = 8,192 completions" in plan
    assert "5,324,800 completions in 332,800 groups" in plan
    assert "10,400 optimizer steps of 512 completions" in plan
    # 1 + 10,400 / 10 points of 64 x 4 = 266,496 completions for the curve
    tokens = (5_324_800 + 266_496) * 65_536
    assert f"at most {tokens:,} sampled tokens (65,536 a completion)" in plan


def test_at_most_is_an_upper_limit_under_dynamic_sampling(write: Write) -> None:
    options = ("zero.algorithm.dynamic_sampling=true", "zero.algorithm.dynamic_rounds=4")
    (tokens,) = re.findall(r"at most ([\d,]+) sampled", printed(write(), *options)["zero (rl)"])
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
        in printed(write(), f"zero.start={model}")["zero (rl)"]
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


def whole(path: Path, *overrides: str) -> str:
    """Everything that the plan prints."""
    file = io.StringIO()
    print_plan(load_recipe(path, overrides), Console(file=file, width=10_000))
    return file.getvalue()


def test_memory_is_told_by_its_parts(write: Write) -> None:
    said = whole(write())
    assert "Memory of zero, at its highest while updating: PyTorch itself 450 MB" in said
    assert "Time and memory for this CPU" in said and "WARNING" not in said


def test_what_does_not_fit_is_said_plainly(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Machine("NVIDIA A100", 40e9, 1, 1e13, 1e14, 2e12)
    monkeypatch.setattr(plan, "this_machine", lambda _: small)
    large = [
        f"base.model.{key}={value}"
        for key, value in {"hidden_size": 2048, "layers": 24, "intermediate_size": 8192}.items()
    ]
    said = whole(write(), *large)
    # 24 layers of 2 x 2048 x 8 x 6 + 3 x 2048 x 8192, and 1024 x 2048: 1.22 G parameters x (4 + 8 + 4 + 4 + 4)
    (line,) = [line for line in said.splitlines() if line.startswith("WARNING: zero")]
    assert "more than the 40.0 GB of NVIDIA A100" in line or "close to the 40.0 GB" in line
    assert "zero.recompute = true would bring it to" in line
    assert "zero.algorithm.kl_coefficient = 0.0 would bring it to" in line


def test_what_no_key_can_mend(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Machine("this CPU", 1e8, 1, 1e11, 1e11, None)
    monkeypatch.setattr(plan, "this_machine", lambda _: tiny)
    said = whole(write())
    assert "take a smaller model, shorter texts or a larger machine" in said


def test_a_value_model_is_planned(model: Path, write: Write) -> None:
    start = f"zero.start={model}"
    plain, ppo = (
        printed(write(), start, *more)["zero (rl)"] for more in ((), ("zero.algorithm.name=ppo",))
    )
    # without the head over the vocabulary, which an untied model has apart
    millions = size_of("zero", load_recipe(write(), [start])).backbone / 1e6
    found = re.search(r"a value model of ([\d.]+) M parameters, (\d+) ([kM]B) with", ppo)
    assert found is not None and "value model" not in plain
    assert float(found[1]) == pytest.approx(millions, abs=0.006)
    # weights, gradients and Adam's two averages, 4 bytes each
    shown = float(found[2]) * {"kB": 1e-3, "MB": 1.0}[found[3]]
    assert shown == pytest.approx(4 * 4 * millions, abs=0.5)


def test_other_architectures_are_planned_or_refused_in_words(write: Write, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=600, n_embd=16, n_layer=1, n_head=2, n_positions=256)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    try:
        assert "zero (rl)" in printed(write(), f"zero.start={tmp_path / 'gpt2'}")
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
        printed(write(TEXT.replace(before, after, 1)))
    for part in parts:
        assert part in str(caught.value)


def test_the_plan_says_what_happens(write: Write, tmp_path: Path) -> None:
    said = {
        "base": StageTask("base", Action.SKIP, "done, skipped"),
        "zero": StageTask(
            "zero", Action.RERUN, "runs again: its configuration changed (longer: [] -> [{}])"
        ),
        "evaluation": StageTask("evaluation", Action.LEAVE, "left alone"),
    }
    file, place = io.StringIO(), tmp_path / "a-directory-with-a-long-name"
    print_plan(load_recipe(write()), Console(file=file, width=90), list(said.values()), place)
    text = file.getvalue()
    cells = [
        [c.strip() for c in r.strip("│").split("│")] for r in text.splitlines() if r[:1] == "│"
    ]
    begins = {row[0].split()[0]: row for row in cells if row[0]}
    assert begins["base"][1:] == ["done, skipped", "", ""], "nothing runs, so nothing is spent"
    assert begins["zero"][3].startswith("about ") and begins["evaluation"][3] == ""
    whole = " ".join(row[1] for row in cells)
    assert "(longer: [] -> [{}]) from base" in whole
    assert f"kept in {place / 'stages' / '.old'}." in " ".join(text.split())
    with_out = io.StringIO()
    print_plan(load_recipe(write()), Console(file=with_out, width=90), [said["base"]], place)
    assert ".old" not in with_out.getvalue()


def test_the_plan_says_how_many_run_side_by_side(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(jobs: int, memory: float) -> str:
        here = Machine("this CPU", memory, 1, 1e9, 1e9, None)
        monkeypatch.setattr(plan, "this_machine", lambda _: here)
        file = io.StringIO()
        recipe = load_recipe(write(), ["threads=3"])
        print_plan(recipe, Console(file=file, width=1000), jobs=jobs)
        return file.getvalue()

    assert "side by side" not in told(1, 64e9)
    assert "Up to 2 stages run side by side, each with 3 threads; those that need" in told(2, 64e9)
    assert "WARNING" not in told(2, 64e9)
    assert "together, and this CPU has 800 MB; give a smaller --jobs." in told(2, 0.8e9)
