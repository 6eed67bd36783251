"""The comparison of a plan with a run: a made-up run directory, whose seconds are known."""

import json
from pathlib import Path

import pytest

from benchmarks.plan import compare
from dianoia.recipe import load_recipe
from dianoia.recipe.plan.run_plan import plan_run
from dianoia.storage.run_directory import RunDirectory

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    recipe = load_recipe(ROOT / "recipes/miniature-zero.toml")
    run = RunDirectory(tmp_path)
    run.recipe.write_text(json.dumps(recipe.model_dump(mode="json") | {"format_version": 1}))
    run.about.write_text(json.dumps({"jobs": 1}))
    # zero from 12:00:00 to 12:01:40, the evaluation from 12:02:00 to 12:02:10: 130 s in all
    for name, began, seconds in (("zero", "12:00:00", 100.0), ("evaluation", "12:02:00", 10.0)):
        stage = run.stage(name)
        stage.path.mkdir(parents=True)
        stage.begun.write_text(json.dumps({"began": f"2026-11-30T{began}+00:00"}))
        stage.manifest.write_text(json.dumps({"seconds": seconds}))
    return run


def test_each_stage_and_the_whole_run_are_compared(run: RunDirectory) -> None:
    rows = {line[:24].strip(): line[24:].split() for line in compare(run).splitlines()}
    assert list(rows) == ["stage", "zero", "evaluation", "1 at a time"]
    planned = {s.name: s.seconds or 0.0 for s in plan_run(load_recipe(ROOT / "recipes/miniature-zero.toml")).stages}  # fmt: skip
    for name, taken in (("zero", 100.0), ("evaluation", 10.0)):
        plan, real, ratio, *mark = rows[name]
        # The machine's rate is measured once per process.
        assert float(plan) == pytest.approx(planned[name], rel=0.01)
        assert float(real) == taken
        assert float(ratio) == pytest.approx(planned[name] / taken, abs=0.01)
        assert mark == ([] if 0.5 <= planned[name] / taken <= 2 else ["*"])
    assert float(rows["1 at a time"][1]) == 130.0


def test_a_run_that_is_not_finished_has_no_total(run: RunDirectory) -> None:
    run.stage("evaluation").manifest.unlink()
    lines = compare(run).splitlines()
    assert len(lines) == 2 and lines[1].startswith("zero")
