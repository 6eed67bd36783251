"""The disk space of a plan, by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.base import disk_space
from dianoia.base.errors import MachineFault
from dianoia.recipe import load_recipe
from dianoia.recipe.plan.disk import check_disk, run_parts, stage_needs
from dianoia.recipe.plan.model_sizes import size_of
from dianoia.recipe.plan.run_plan import plan_run
from dianoia.recipe.resume.stage_status import Action, StageTask

Write = Callable[..., Path]
# 2 layers of 2 x 16 x 8 x 6 + 3 x 16 x 32, and 500 x 16 of embeddings
PARAMETERS = 2 * 3_072 + 8_000
OPTIONS = ["base.vocabulary=500", "zero.checkpoint_every=1", "zero.progress.rollouts_every=2"]


def tasks(*running: str) -> list[StageTask]:
    return [
        StageTask(name, Action.RUN if name in running else Action.SKIP, "runs")
        for name in ("base", "zero", "evaluation")
    ]


def test_the_parts_of_a_run_by_hand(write: Write) -> None:
    """Two checkpoints; rollouts 1 and 3 of 32 samples of 24 x 0.4 tokens, and of the evaluation 6 problems x 2 checkpoints
    x 2 samples of 30 x 0.4, four bytes per token; of rl two states of weights, averages and reference."""
    recipe = load_recipe(write(), OPTIONS)
    parts = run_parts(recipe, tasks("base", "zero", "evaluation"))
    assert parts["checkpoints"] == 2 * 4 * PARAMETERS and parts["data sets"] == 0
    assert parts["rollouts"] == pytest.approx(4 * 0.4 * (2 * 32 * 24 + 24 * 30))
    # One of the two states gives way to the checkpoint, so that much of it is counted there.
    assert parts["states"] == 2 * 16 * PARAMETERS - 4 * PARAMETERS
    # At the same time, the states of pretraining too: two of weights and averages.
    combined = run_parts(recipe, tasks("base", "zero", "evaluation"), jobs=2)
    assert combined["states"] - parts["states"] == 2 * 12 * PARAMETERS - 4 * PARAMETERS


def test_only_what_runs_counts(write: Write) -> None:
    recipe = load_recipe(write(), OPTIONS)
    parts = run_parts(recipe, tasks("evaluation"))
    assert parts["checkpoints"] == parts["states"] == 0 < parts["rollouts"]
    assert sum(run_parts(recipe, tasks()).values()) == 0


def test_a_stage_that_saves_once_never_has_two_states(write: Write) -> None:
    recipe = load_recipe(write(), [*OPTIONS, "zero.checkpoint_every=3"])
    needs = stage_needs(recipe.stages["zero"], size_of("zero", recipe))
    assert needs.states == 1 and needs.state == 16 * PARAMETERS
    assert needs.temporary == pytest.approx(needs.state)


def test_the_plan_has_what_a_run_would_be_refused_for(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(write(), OPTIONS)
    running = tasks("base", "zero", "evaluation")
    plan = plan_run(recipe, running, tmp_path)
    assert plan.disk is not None and plan.disk.parts == run_parts(recipe, running)
    needed = plan.disk.needed + 9 * disk_space.SMALL_FILES_BYTES
    usage = type("Usage", (), {"free": needed - 1})
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(MachineFault, match="the work of 3 stages, states included, needs"):
        check_disk(recipe, running, tmp_path)
    usage.free = needed
    check_disk(recipe, running, tmp_path)
