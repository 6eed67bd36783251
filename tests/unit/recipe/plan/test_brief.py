"""The plan as a person sees it at 80 columns: a line a stage, where each really starts, and no time that is a guess of a
guess."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dianoia.recipe.load import load_recipe
from dianoia.recipe.plan.table import print_plan
from dianoia.recipe.resume.stage_status import Action, StageTask

Write = Callable[..., Path]
ROOT = Path(__file__).parents[4]


def plan(path: Path, width: int = 80, todos: list[StageTask] | None = None) -> list[str]:
    file, place = StringIO(), path.parent / "run"
    recipe = load_recipe(path)
    every = todos or [StageTask(name, Action.RUN, "runs") for name in recipe.stages]
    print_plan(recipe, Console(file=file, width=width), every, place, details=False)
    return file.getvalue().splitlines()


def test_the_whole_of_r1_fits_on_a_screen() -> None:
    path = ROOT / "recipes/miniature-r1.toml"
    lines, stages = plan(path), load_recipe(path).stages
    assert len(lines) <= len(stages) + 10
    rows = lines[2 : 2 + len(stages)]
    assert [row.split()[0] for row in rows] == list(stages), "a line a stage, names whole"
    assert all(len(row) <= 80 for row in rows)


def test_stages_start_where_the_recipe_says() -> None:
    rows = {row.split()[0]: row for row in plan(ROOT / "recipes/miniature-r1.toml", 120) if row}
    for stage, start in {
        "dev2": "dev1",
        "r1": "dev3",
        "cold-start": "zero",
        "helpful": "dev3",
    }.items():
        assert f" from {start}" in rows[stage]
    assert "from dev1 and dev3" in rows["pairs"] and "from miniature-base:" in rows["zero"]


def test_a_time_that_nobody_can_know_is_said_to_be_unknown() -> None:
    lines = plan(ROOT / "recipes/miniature-r1.toml")
    rows = {row.split()[0]: row for row in lines if row}
    for stage in ("helpful", "safety", "dev1", "dev3"):
        assert rows[stage].endswith("unknown")
    assert rows["zero"].split()[-3] == "about"
    unknown = next(line for line in lines if line.startswith("Not known before earlier stages"))
    assert "helpful" in unknown and "zero" not in unknown and "at most" not in unknown


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_names_times_and_memory_are_never_cut(width: int, write: Write) -> None:
    lines = plan(write(), width)
    for stage, row in zip(("base", "zero", "evaluation"), lines[2:5], strict=True):
        assert row.startswith(f"{stage} ") and "MB" in row
        assert row.split()[-3] == "about"


def test_what_happens_to_each_stage_and_why(write: Write) -> None:
    todos = [
        StageTask("base", Action.SKIP, "done, skipped"),
        StageTask("zero", Action.RERUN, "runs again: its configuration changed (steps: 4 -> 8)"),
        StageTask("evaluation", Action.RESUME, "resumes after 1 finished part"),
    ]
    lines = plan(write(), 80, todos)
    assert [row.split("  ")[1].strip() or row for row in lines[2:5]]
    assert "done, skipped" in lines[2] and "runs again" in lines[3] and "resumes" in lines[4]
    assert any(
        line == "zero runs again: its configuration changed (steps: 4 -> 8)" for line in lines
    )


def test_the_disk_is_part_of_the_plan(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(line.startswith("On the disk: at most about") for line in plan(write()))
    monkeypatch.setattr("dianoia.recipe.plan.table.free_bytes", lambda _: 1000.0)
    assert any(
        line.startswith("WARNING: On the disk") and "1 kB are free" in line
        for line in plan(write())
    )


def test_a_number_out_of_range_is_a_warning(write: Write) -> None:
    path = write()
    path.write_text(path.read_text().replace("learning_rate = 1e-2", "learning_rate = 0.2"))
    assert any("learning_rate = 0.2: that is above 0.05" in line for line in plan(path))
