"""The plan as people see it: one line per stage at 80 columns, warnings, and details."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dianoia.hardware.machine import Machine
from dianoia.recipe.load import load_recipe
from dianoia.recipe.plan.layout import Layout
from dianoia.recipe.plan.plan_text import print_plan
from dianoia.recipe.plan.run_plan import plan_run
from dianoia.recipe.resume.stage_status import Action, StageTask
from tests.unit.recipe.conftest import plan_text

Write = Callable[..., Path]
ROOT = Path(__file__).parents[4]
THIS_MACHINE = "dianoia.recipe.plan.run_plan.this_machine"


def plan(path: Path, width: int = 80, tasks: list[StageTask] | None = None) -> list[str]:
    """Return the lines of the short plan."""
    recipe = load_recipe(path)
    tasks = tasks or [StageTask(name, Action.RUN, "runs") for name in recipe.stages]
    text = plan_text(recipe, tasks, path.parent / "run", width=width, details=False)
    return text.splitlines()


def test_the_whole_of_r1_fits_on_a_screen() -> None:
    path = ROOT / "recipes/miniature-r1.toml"
    lines, stages = plan(path), load_recipe(path).stages
    assert len(lines) <= len(stages) + 10
    rows = lines[2 : 2 + len(stages)]
    assert [row.split()[0] for row in rows] == list(stages), "one line per stage, whole names"
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


def test_a_time_that_depends_on_data_to_come_is_called_a_guess() -> None:
    lines = plan(ROOT / "recipes/miniature-r1.toml")
    rows = {row.split()[0]: row for row in lines if row}
    for stage in ("helpful", "safety", "dev1", "dev3", "zero"):
        assert rows[stage].split()[-3] == "about"
    guess = next(line for line in lines if line.startswith("The time of "))
    assert guess.endswith("is a guess: it depends on how much data earlier stages write.")
    assert "helpful" in guess and "zero" not in guess


def test_the_time_of_the_whole_run_follows_the_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With two jobs: at least half of the sum, at least the longest chain, less than the sum."""
    monkeypatch.setattr(THIS_MACHINE, lambda _: Machine("this CPU", 25e9, 1, 8e10, 8e10, None))
    recipe = load_recipe(ROOT / "recipes/miniature-r1.toml")
    alone, two, many = (plan_run(recipe, jobs=jobs).total_seconds for jobs in (1, 2, 22))
    seconds = {stage.name: stage.seconds or 0.0 for stage in plan_run(recipe).stages}
    chain = ("zero", "cold-start-general", "dev1", "dev2", "reasoning-data", "dev3", "r1", "evaluation-r1")  # fmt: skip
    # Between dev3 and r1 the two reward models are trained side by side.
    branches = (("pairs", "helpful"), ("labels", "safety"))
    longest = sum(seconds[name] for name in chain) + max(
        sum(seconds[name] for name in branch) for branch in branches
    )
    assert alone == pytest.approx(sum(seconds.values()))
    assert many == pytest.approx(longest)
    assert alone is not None and two is not None
    assert max(alone / 2, longest) <= two < alone
    text = plan_text(recipe, jobs=2, details=False)
    assert "with 2 stages at a time, about " in text and "one after the other." in text


def test_no_total_without_all_times(write: Write) -> None:
    """A file that is not here has a time per unit of it only."""
    path = write()
    text = path.read_text(encoding="utf-8")
    later = """
[stages.taught]
kind = "sft"
start = "zero"
template = "r1-zero"
max_length = 64
tokens_per_step = 512
optimizer = { learning_rate = 1e-3 }
[[stages.taught.datasets]]
path = "nowhere.jsonl"
"""
    path.write_text(text + later, encoding="utf-8")
    made = plan_run(load_recipe(path))
    assert made.total_seconds is None and made.stages[-1].unit
    lines = plan(path)
    assert any("Known times add up to about" in line for line in lines)
    assert next(line for line in lines if line.startswith("taught")).endswith("unknown")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_names_times_and_memory_are_never_cut(width: int, write: Write) -> None:
    lines = plan(write(), width)
    for stage, row in zip(("base", "zero", "evaluation"), lines[2:5], strict=True):
        assert row.startswith(f"{stage} ") and "MB" in row
        assert row.split()[-3] == "about"


def test_what_happens_to_each_stage_and_why(write: Write) -> None:
    tasks = [
        StageTask("base", Action.SKIP, "done, skipped"),
        StageTask("zero", Action.RERUN, "runs again: its configuration changed (steps: 4 -> 8)"),
        StageTask("evaluation", Action.RESUME, "resumes after 1 finished part"),
    ]
    lines = plan(write(), 80, tasks)
    assert [row.split("  ")[1].strip() or row for row in lines[2:5]]
    assert "done, skipped" in lines[2] and "runs again" in lines[3] and "resumes" in lines[4]
    assert any(
        line == "zero runs again: its configuration changed (steps: 4 -> 8)" for line in lines
    )


def test_the_disk_is_part_of_the_plan(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(line.startswith("Disk: at most about") for line in plan(write()))
    monkeypatch.setattr("dianoia.recipe.plan.run_plan.free_bytes", lambda _: 1000.0)
    assert any(
        line.startswith("WARNING: Disk") and "1 kB are free" in line for line in plan(write())
    )


def test_a_number_out_of_range_is_a_warning(write: Write) -> None:
    path = write()
    path.write_text(path.read_text().replace("learning_rate = 1e-2", "learning_rate = 0.2"))
    assert any("learning_rate = 0.2: that is above 0.05" in line for line in plan(path))


# Details -------------------------------------------------------------------------------------------


def test_memory_is_listed_by_its_parts(write: Write) -> None:
    text = plan_text(load_recipe(write()))
    assert "Memory of zero, largest while updating: libraries 500 MB" in text
    assert "Time and memory are estimates for this CPU" in text and "WARNING" not in text


def test_a_stage_that_does_not_fit(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Machine("NVIDIA A100", 40e9, 1, 1e13, 1e14, 2e12)
    monkeypatch.setattr(THIS_MACHINE, lambda _: small)
    large = [
        f"base.model.{key}={value}"
        for key, value in {"hidden_size": 2048, "layers": 24, "intermediate_size": 8192}.items()
    ]
    text = plan_text(load_recipe(write(), large))
    # 24 layers of 2 x 2048 x 8 x 6 + 3 x 2048 x 8192, and 1024 x 2048: 1.22 G parameters x (4 + 8 + 4 + 4 + 4)
    (line,) = [line for line in text.splitlines() if line.startswith("WARNING: zero")]
    assert "more than the 40.0 GB of NVIDIA A100" in line or "close to the 40.0 GB" in line
    assert "zero.recompute = true would lower it to" in line
    assert "zero.algorithm.kl_coefficient = 0.0 would lower it to" in line


# Other machines ------------------------------------------------------------------------------------


def test_a_recipe_too_large_for_a_laptop_names_a_gpu_that_holds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laptop = Machine("this CPU", 25e9, 2, 1e11, 1e11, None)
    monkeypatch.setattr(THIS_MACHINE, lambda _: laptop)
    lines = plan(ROOT / "recipes/qwen-zero.toml")
    assert all(row.endswith("does not fit") and len(row) <= 80 for row in lines[2:4])
    assert "days" not in "\n".join(lines)
    (line,) = [line for line in lines if line.startswith("zero, evaluation do not fit")]
    assert line.endswith("--dry-run --for H100")


def test_a_plan_for_another_machine() -> None:
    recipe = load_recipe(ROOT / "recipes/qwen-zero.toml")
    tasks = [StageTask(name, Action.RUN, "runs") for name in recipe.stages]
    text = plan_text(recipe, tasks, Path("run"), width=80, details=False, gpu="H100")
    (line,) = [line for line in text.splitlines() if line.startswith("Time and memory")]
    assert "estimates for one H100 with 80.0 GB of memory, which is not this machine" in line
    assert "The largest stage leaves" in line and "WARNING" not in text
    assert "The whole run: about" in line
    (disk,) = [line for line in text.splitlines() if line.startswith("Disk: at most about")]
    assert "free" not in disk, "the disk of another machine is not known"
    rows = text.splitlines()[2:4]
    assert all(len(row) <= 80 and "about" in row for row in rows)


def test_a_card_that_is_too_small_names_keys_and_the_next_larger_card() -> None:
    text = plan_text(load_recipe(ROOT / "recipes/qwen-zero.toml"), gpu="A100-40GB")
    assert "more than the 40.0 GB of one A100-40GB" in text
    assert "zero.algorithm.kl_coefficient = 0.0 would lower it" in text
    assert "zero does not fit one A100-40GB" in text and "--for H100" in text


def test_a_month_on_a_cpu_is_said_in_words(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Machine("this CPU", 25e9, 1, 10.0, 10.0, None)
    monkeypatch.setattr(THIS_MACHINE, lambda _: slow)
    lines = plan(write(), 120)
    (line,) = [line for line in lines if "more than a month on this CPU" in line]
    assert "base, zero, evaluation take" in line and line.endswith("--for 'RTX 4090'")
    assert any(row.startswith("base ") and row.endswith("over a year") for row in lines)


def test_on_a_gpu_that_is_slow_but_large_enough_no_other_one_is_named(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Machine("NVIDIA T4", 16e9, 1, 10.0, 10.0, 10.0)
    monkeypatch.setattr(THIS_MACHINE, lambda _: slow)
    (line,) = [line for line in plan(write()) if "more than a month" in line]
    assert line.endswith("on NVIDIA T4.")


def test_a_stage_that_no_key_makes_fit(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Machine("this CPU", 1e8, 1, 1e11, 1e11, None)
    monkeypatch.setattr(THIS_MACHINE, lambda _: tiny)
    text = plan_text(load_recipe(write()))
    assert "Use a smaller model, shorter texts or a larger machine." in text


def test_what_happens_to_each_stage_in_detail(write: Write, tmp_path: Path) -> None:
    tasks = {
        "base": StageTask("base", Action.SKIP, "done, skipped"),
        "zero": StageTask(
            "zero", Action.RERUN, "runs again: its configuration changed (longer: [] -> [{}])"
        ),
        "evaluation": StageTask("evaluation", Action.LEAVE, "left alone"),
    }
    folder = tmp_path / "a-directory-with-a-long-name"
    text = plan_text(load_recipe(write()), list(tasks.values()), folder, width=90)
    cells = [
        [c.strip() for c in r.strip("│").split("│")] for r in text.splitlines() if r[:1] == "│"
    ]
    first_rows = {row[0].split()[0]: row for row in cells if row[0]}
    assert first_rows["base"][1:] == ["done, skipped", "", ""], "no costs for what does not run"
    assert first_rows["zero"][3].startswith("about ") and first_rows["evaluation"][3] == ""
    work = " ".join(row[1] for row in cells)
    assert "(longer: [] -> [{}]) from base" in work
    assert f"are moved to {folder / 'stages' / '.old'}." in " ".join(text.split())
    assert ".old" not in plan_text(load_recipe(write()), [tasks["base"]], folder)


def test_stages_that_run_at_the_same_time(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def text(jobs: int, memory: float) -> str:
        machine = Machine("this CPU", memory, 1, 1e9, 1e9, None)
        monkeypatch.setattr(THIS_MACHINE, lambda _: machine)
        return plan_text(load_recipe(write(), ["threads=3"]), jobs=jobs)

    assert "at the same time" not in text(1, 64e9)
    assert "Up to 2 stages run at the same time, each with 3 threads; the largest" in text(2, 64e9)
    assert "WARNING" not in text(2, 64e9)
    assert "together, and this CPU has 800 MB; give a smaller --jobs." in text(2, 0.8e9)


# JSON ----------------------------------------------------------------------------------------------


def test_the_json_form_has_the_numbers_of_the_text(write: Write, tmp_path: Path) -> None:
    recipe = load_recipe(write())
    tasks = [
        StageTask("base", Action.SKIP, "done, skipped"),
        StageTask("zero", Action.RUN, "runs"),
        StageTask("evaluation", Action.RUN, "runs"),
    ]
    table = json.loads(json.dumps(plan_run(recipe, tasks, tmp_path / "run").as_json()))
    assert table["format"] == 1 and table["recipe"] == "tiny" and table["missing"] == []
    base, zero, evaluation = table["stages"]
    assert base["action"] == "skip" and base["memory"] is None and base["seconds"] is None
    assert zero["starts"] == ["base"] and evaluation["starts"] == ["base", "zero"]
    assert zero["seconds"] > 0 and zero["disk_bytes"] > 0
    assert zero["memory"]["bytes"] == pytest.approx(sum(zero["memory"]["parts"].values()))
    disk = table["disk"]
    assert disk["needed"] == pytest.approx(sum(disk["parts"].values())) and disk["needed"] > 0
    assert table["suggested_gpu"] is None and table["elsewhere"] is False


def test_the_json_form_of_a_plan_for_another_machine() -> None:
    plan = plan_run(load_recipe(ROOT / "recipes/qwen-zero.toml"), gpu="l4").as_json()
    assert (plan["machine"], plan["machine_memory"], plan["elsewhere"]) == ("one L4", 24e9, True)
    assert plan["suggested_gpu"] == "H100"
    assert plan["stages"][0]["memory"]["savings"], "keys that would lower it"


# Ranks ---------------------------------------------------------------------------------------------


def ranks_text(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, layout: Layout, *overrides: str
) -> list[str]:
    monkeypatch.setattr(THIS_MACHINE, lambda _: machine)
    recipe = load_recipe(ROOT / "recipes/qwen-zero.toml", overrides)
    file = StringIO()
    print_plan(plan_run(recipe, layout=layout), Console(file=file, width=10_000), False)
    return file.getvalue().splitlines()


def test_ranks_that_hold_a_model_together_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Machine("NVIDIA A100", 40e9, 1, 1e13, 1e14, 2e12)
    monkeypatch.setattr("dianoia.recipe.plan.run_plan.main_memory", lambda: 1e12)
    lines = ranks_text(monkeypatch, card, Layout(16, 8), "zero.sampling.slots=16")
    (line,) = [line for line in lines if line.startswith("Time and memory")]
    assert "16 ranks on 2 nodes, each with NVIDIA A100 with 40.0 GB" in line
    assert "Memory is that of a rank." in line
    assert "zero: weights, gradients and optimizer states are divided among 8 ranks (shard = \"node\")." in lines  # fmt: skip
    (line,) = [line for line in lines if "Main memory" in line]
    assert "gathered state 24.7 GB" in line, "16 bytes per parameter of 1.54 billion"


def test_what_would_make_a_stage_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Machine("NVIDIA A10", 24e9, 1, 1e13, 1e14, 2e12)
    lines = ranks_text(monkeypatch, card, Layout(8, 8))
    (line,) = [line for line in lines if line.startswith("WARNING: zero needs")]
    assert 'It would fit with stages.zero.rollouts.engine = "vllm" (' in line
    lora = 'stages.zero.lora = { rank = 32, dtype = "bfloat16" }'
    # the KV cache gives way: without what adapters save, not even one response would have room
    lines = ranks_text(monkeypatch, replace(card, memory=20e9), Layout(8, 8))
    (line,) = [line for line in lines if line.startswith("WARNING: zero needs")]
    assert f"It would fit with {lora} (" in line
    tiny = replace(card, memory=4e9)
    lines = ranks_text(monkeypatch, tiny, Layout(8, 8))
    (line,) = [line for line in lines if line.startswith("WARNING: zero needs")]
    assert line.endswith("Neither `shard` nor `lora` nor `rollouts` would make it fit.")


def test_ranks_of_a_cpu_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dianoia.recipe.plan.run_plan.main_memory", lambda: 20e9)
    cpu = Machine("this CPU", 20e9, 1, 1e11, 1e11, None)
    lines = ranks_text(monkeypatch, cpu, Layout(2, 8), "zero.sampling.slots=8")
    (line,) = [line for line in lines if line.startswith("Time and memory")]
    assert "2 ranks on 1 node, each with a share of this CPU with 10.0 GB of memory" in line
    (line,) = [line for line in lines if "Main memory" in line]
    assert line.startswith("WARNING: ") and line.endswith("and this machine has 20.0 GB.")


def test_ranks_take_a_share_of_the_time(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Machine("a GPU", 80e9, 1, 1e9, 1e9, 1e9)
    monkeypatch.setattr(THIS_MACHINE, lambda _: card)
    recipe = load_recipe(write())
    one, four = (plan_run(recipe, layout=layout).stages[1] for layout in (Layout(), Layout(4, 4)))
    assert one.name == "zero" and one.seconds is not None and four.seconds is not None
    assert one.seconds / 4 < four.seconds < one.seconds
    assert one.host is not None and four.host is not None and one.host.bytes < four.host.bytes
