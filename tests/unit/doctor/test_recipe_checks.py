"""What a recipe needs: all of it said, what is missing as broken."""

from dataclasses import replace
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.doctor import recipe_checks
from dianoia.doctor.finding import Finding, Status
from dianoia.doctor.recipe_checks import _way_out, check_recipe
from dianoia.recipe.load import load_recipe
from dianoia.recipe.plan.run_plan import MemoryPlan, plan_run
from dianoia.recipe.plan.savings import Saving
from dianoia.recipe.shipped import recipe_path


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def by_topic(recipe: str) -> dict[str, Finding]:
    return {row.topic: row for row in check_recipe(recipe)}


def test_the_miniature_needs_nothing_that_is_not_here() -> None:
    rows = by_topic("miniature-zero")
    assert {row.status for row in rows.values()} == {Status.OK}
    assert rows["recipe"].value.startswith("miniature-zero: 2 stages.")
    assert rows["inputs"].value == "all models and files are here"
    assert "on this CPU" in rows["time"].value and "runs/miniature-zero" in rows["disk"].value


def test_a_recipe_for_a_gpu_with_data_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(check_recipe("qwen-zero"))
    missing = [row for row in rows if row.topic == "inputs"]
    assert missing and all(row.status is Status.BROKEN for row in missing)
    assert any("data/train.jsonl: there is no such file" in row.value for row in missing)
    (memory,) = (row for row in rows if row.topic == "memory")
    assert memory.status is Status.BROKEN and "zero needs about" in memory.value
    assert "a machine with one" in memory.advice


@pytest.mark.parametrize(
    ("room", "advice"),
    [
        (100e9, "--set zero.recompute=true"),  # one key alone
        (40e9, "--set zero.recompute=true --set zero.sampling.slots=16"),  # both together
        (20e9, "a smaller model, or a larger machine"),
    ],
)
def test_keys_that_make_a_stage_fit_are_named(room: float, advice: str) -> None:
    savings = (Saving("recompute = true", 60e9), Saving("sampling.slots = 16", 70e9))
    memory = MemoryPlan("updating", 200e9, {}, savings, least=35e9)
    plan = replace(plan_run(load_recipe("miniature-zero")), machine_memory=room)
    assert _way_out("zero", memory, plan) == advice


def test_inputs_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text('{"prompt": "2+3?"}\n', encoding="utf-8")
    text = (
        'name = "mine"\n[stages.zero]\nkind = "rl"\nstart = "miniature-base-small"\n'
        'problems = "problems.jsonl"\nsteps = 1\nsampling.max_tokens = 8\n'
        "optimizer.learning_rate = 1e-4\n"
    )
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    rows = by_topic("mine.toml")
    assert (
        rows["inputs"].status is Status.BROKEN and "problems.jsonl, row 1" in rows["inputs"].value
    )
    assert rows["inputs"].advice == "mend it, then: dianoia run mine.toml --dry-run"


def test_trackers_whose_packages_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = recipe_path("miniature-zero").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(f'{text}\n[track]\nto = ["tensorboard", "wandb"]\n')
    absent = {"tensorboard": [], "wandb": ["wandb is not installed"]}
    monkeypatch.setattr(recipe_checks, "missing_of", absent.__getitem__)
    there, missing = (row for row in check_recipe("mine.toml") if row.topic == "tracker")
    assert (there.status, there.value) == (Status.OK, "tensorboard is installed")
    assert missing.status is Status.WARNING
    assert missing.advice == "pip install 'dianoia-r1[wandb]'"


def test_a_recipe_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match="no recipe of this name"):
        list(check_recipe("miniature-two"))
