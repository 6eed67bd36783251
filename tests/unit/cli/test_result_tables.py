"""Tables of results and responses."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from dianoia.cli.result_tables import (
    figure,
    figures,
    make_console,
    percent,
    print_accuracies,
    print_columns,
    print_levels,
    print_pairs,
    print_response,
    shortened,
)
from dianoia.results.run_results import Run, StageInfo
from dianoia.storage.estimate import Estimate


@pytest.fixture
def console() -> Console:
    return make_console(file=io.StringIO(), width=200)


def lines(console: Console) -> list[str]:
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return text.splitlines()


def accuracy(value: float) -> dict[str, Estimate]:
    return {"pass@1": Estimate(value, value - 0.05, value + 0.02, 64)}


def test_accuracies_bases_first_then_in_the_order_of_the_recipe(console: Console) -> None:
    stages = {name: StageInfo(name, "rl", "done", 1.0, {}) for name in ("dev", "r1")}
    evaluations = {
        "r1": {"math": accuracy(0.75), "code": accuracy(0.5)},
        "dev under r1": {"math": accuracy(0.5)},
        "base": {"math": accuracy(0.1)},
    }
    helpful = {"helpful": {"accuracy": Estimate(0.9, None, None, 4)}}
    run = Run(Path("x"), "x", 1, {}, {}, stages, evaluations, {}, helpful)
    print_accuracies(run, console)
    assert lines(console) == [
        "accuracy (pass@1) in %, ± the wider half of its 95 % interval",
        "checkpoint         math       code",
        "base          10.0 ±5.0",
        "dev under r1  50.0 ±5.0",
        "r1            75.0 ±5.0  50.0 ±5.0",
        "",
        "reward model  accuracy",
        "helpful           90.0",
    ]


def test_majorities_have_a_table_per_k(console: Console) -> None:
    votes = {k: Estimate(k / 20, 0.3, 0.9, 64) for k in (1, 8, 16)}
    evaluations = {
        "base": {"math": {**accuracy(0.1), "cons@16": votes[16]}},
        "r1": {"math": {**accuracy(0.7), "cons@8": votes[8]}, "code": {"cons@1": votes[1]}},
    }
    print_accuracies(Run(Path("x"), "x", 1, {}, {}, {}, evaluations, {}, {}), console)
    assert lines(console)[4:] == [
        "",
        "majority of 8 samples (cons@8) in %",
        "checkpoint        math",
        "r1          40.0 ±50.0",
        "",
        "majority of 16 samples (cons@16) in %",
        "checkpoint        math",
        "base        80.0 ±50.0",
    ]


def test_levels_of_one_checkpoint_and_of_several(console: Console) -> None:
    levels = {str(level): accuracy(1 - level / 20) for level in (10, 2)}
    by_difficulty = {"base": {"math": levels, "code": {"2": accuracy(0.5)}},
                     "zero": {"math": levels}}  # fmt: skip
    run = Run(Path("x"), "x", 1, {}, {}, {}, {}, by_difficulty, {})
    print_levels(run, ["zero"], console)
    print_levels(run, ["base", "zero"], console)
    note = "by level of difficulty: accuracy (pass@1) in %, intervals in --json"
    assert lines(console) == [
        "", f"zero {note}", "level     2    10", "math   90.0  50.0",
        "", f"math {note}", "level     2    10", "base   90.0  50.0", "zero   90.0  50.0",
    ]  # fmt: skip


def test_without_results_nothing_is_printed(console: Console) -> None:
    print_accuracies(Run(Path("x"), "x", 1, {}, {}, {}, {}, {}, {}), console)
    assert lines(console) == []


def test_columns_that_do_not_fit_follow_below(console: Console) -> None:
    header = ["name", *(f"column-{number}" for number in range(9))]
    print_columns(header, [["a row with a name", *("1.0" for _ in range(9))]], console)
    shown = lines(console)
    assert max(map(len, shown)) <= 80
    assert sum(line.startswith("a row with a name") for line in shown) == 2
    assert [word for line in shown if "name " in line[:5] for word in line.split()[1:]] == header[1:]  # fmt: skip


def test_marks_and_brackets_are_text(console: Console) -> None:
    print_columns(["[bold]", "b"], [["[/x] :smile:", "1"]], console)
    print_pairs(console, [("report", "dianoia report 'a [b]'"), ("x", "y")])
    assert lines(console)[0].startswith("[bold]") and "[/x] :smile:" in lines(console)[1]
    assert lines(console)[2:] == ["report  dianoia report 'a [b]'", "x       y"]


@pytest.mark.parametrize(
    ("thoughts", "shown"),
    [
        ("fold", [*(f"  │ {n}" for n in range(6)), "  │ … 2 more lines", "  5"]),
        ("all", [*(f"  │ {n}" for n in range(8)), "  5"]),
        ("none", ["  5"]),
    ],
)
def test_a_thought_is_folded(console: Console, thoughts: str, shown: list[str]) -> None:
    thought = "\n" + "\n".join(map(str, range(8)))
    print_response(console, "right", thought, "5", thoughts)
    assert lines(console) == ["right", *shown]


def test_numbers() -> None:
    assert percent(Estimate(0.871, 0.86, 0.9, 10)) == "87.1 ±2.9"
    assert percent(Estimate(56.7, 55.0, 58.0, 10), scale=1) == "56.7 ±1.7"
    assert percent(None) == ""
    assert [figure(v) for v in (12, 48_648.0, 0.123456, float("nan"))] == ["12", "48,648", "0.1235", "nan"]  # fmt: skip
    assert figures({"step": 12, "reward": 1.65}) == "step 12  reward 1.65"
    assert shortened("a\n b", 10) == "a b" and shortened("x" * 50, 10) == "x" * 9 + "…"


def test_no_colour_where_nobody_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    file = io.StringIO()
    print_response(make_console(file=file, force_terminal=True), "head", "thought", "said")
    assert "\x1b[3" not in file.getvalue() and "\x1b[9" not in file.getvalue()
