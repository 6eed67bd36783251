"""Several seeds side by side: counts and means by hand, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dianoia.claims.seeds import Grid, as_markdown, claims_grid, stages_grid, votes_grid
from dianoia.cli import main
from dianoia.storage.run_directory import RunDirectory
from tests.unit.report.r1 import build_r1

Edit = Callable[[dict[str, Any]], object]


def value(number: float | None, holds: bool | None, unit: str = "times") -> dict[str, Any]:
    return {"what": "w", "needs": "n", "unit": unit, "value": number, "low": None, "high": None,
            "holds": holds, "note": ""}  # fmt: skip


def row(number: int, holds: bool | None, *values: dict[str, Any]) -> dict[str, Any]:
    return {"number": number, "title": f"claim {number}", "rule": "", "paper": "", "why": "",
            "holds": holds, "values": list(values)}  # fmt: skip


def results(seed: int, share: float, holds: bool) -> dict[str, Any]:
    several = (value(0.5, True, "share"), value(None, False, "steps"))
    domains = {
        "math": {"pass@1": {"value": share, "low": share - 0.1, "high": share + 0.1, "n": 9}}
    }
    return {
        "seed": seed,
        "claims": [row(1, holds, value(4.5 if holds else 3.5, holds)), row(2, False, *several),
                   row(3, None), row(4, None, value(None, None))],
        "stage_table": [{"checkpoint": "z", "parts": ["zero", "grpo"], "domains": domains}],
    }  # fmt: skip


RUNS = [results(1, 0.90, True), results(2, 0.80, False), results(3, 0.94, True)]


def test_each_claim_has_its_seeds() -> None:
    grid = claims_grid(RUNS)
    assert grid.head == ("", "claim", "seed 1", "seed 2", "seed 3", "holds")
    assert grid.rows == (
        ("1", "claim 1", "4.50 times ✓", "3.50 times ✗", "4.50 times ✓", "2 of 3"),
        ("2", "claim 2", "✗", "✗", "✗", "0 of 3"),
        ("", "· w", "50.0 % ✓", "50.0 % ✓", "50.0 % ✓", "3 of 3"),
        ("", "· w", "never ✗", "never ✗", "never ✗", "0 of 3"),
        ("3", "claim 3", "–", "–", "–", "not measured"),
        ("4", "claim 4", "–", "–", "–", "not measured"),
    )


def test_the_mean_stage_table() -> None:
    several, single = stages_grid(RUNS), stages_grid(RUNS[:1])
    assert several.head == ("checkpoint", "math") and "mean of 3 seeds" in several.title
    assert several.rows == (("R1-Zero = GRPO (z)", "88.0 (80.0-94.0)"),)  # (90 + 80 + 94) / 3
    assert (
        single.rows == (("R1-Zero = GRPO (z)", "90.0 (80.0-100.0)"),)
        and "95 % interval" in single.title
    )


def test_the_baseline_is_the_last_row() -> None:
    runs = [results(seed, 0.9, True) for seed in (1, 2)]
    for share, run in zip((0.60, 0.65), runs, strict=True):
        (only,) = run["stage_table"]
        only["domains"]["math"]["baseline"] = {"value": share, "low": 0.0, "high": 1.0, "n": 9}
        first = {"checkpoint": "a", "parts": ["base"], "domains": {"code": only["domains"]["math"]}}
        run["stage_table"] = [first, only]
    rows = stages_grid(runs).rows
    assert rows[-1] == ("always the most common gold answer", "62.5", "62.5")
    assert rows[1][1:] == ("–", "90.0 (90.0-90.0)")


def test_votes_have_a_table_with_their_k() -> None:
    runs = [results(seed, 0.9, True) for seed in (1, 2)]
    assert votes_grid(runs) is None
    for share, run in zip((0.7, 0.8), runs, strict=True):
        (only,) = run["stage_table"]
        only["domains"] |= {"code": {"cons@16": {"value": share, "low": 0.5, "high": 1.0, "n": 9}}}
    grid = votes_grid(runs)
    assert grid is not None and grid.title == "cons@16 in per cent, mean of 2 seeds (range)"
    assert (grid.head, grid.rows) == (("checkpoint", "code"), (("R1-Zero = GRPO (z)", "75.0 (70.0-80.0)"),))  # fmt: skip
    for run in runs:
        run["stage_table"][0]["domains"]["math"]["cons@8"] = {"value": 0.5, "low": 0.4, "high": 0.6}
    several = votes_grid(runs[:1])
    assert several is not None and several.title.startswith("cons@k, k after the value")
    assert several.rows == (("R1-Zero = GRPO (z)", "50.0 (40.0-60.0) @8", "70.0 (50.0-100.0) @16"),)


def test_markdown() -> None:
    message = as_markdown(Grid("T", ("a", "b"), (("1|2", "3"),)))
    assert message == "**T**\n\n| a | b |\n| --- | --- |\n| 1\\|2 | 3 |\n"


@pytest.fixture
def runs(tmp_path: Path) -> list[RunDirectory]:
    return [build_r1(tmp_path / f"seed-{seed}", seed) for seed in (2, 1)]


@pytest.mark.parametrize("markdown", [False, True])
def test_the_command(
    runs: list[RunDirectory], markdown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--markdown"] if markdown else []
    assert main(["claims", *(str(run.path) for run in runs), *options]) == 0
    message = capsys.readouterr().out
    assert (
        message.index("seed 1") < message.index("seed 2")
        and "2 of 2" in message
        and "R1-Zero" in message
    )
    if markdown:
        assert (
            "| 1 | RL alone multiplies accuracy | 5.94 times ✓ | 5.94 times ✓ | 2 of 2 |" in message
        )
        assert "| R1 (r1) | 95.0 (95.0-95.0) |" in message


def test_the_command_as_json(runs: list[RunDirectory], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", *(str(run.path) for run in runs), "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)["runs"]
    assert [table["seed"] for table in tables] == [1, 2]
    first = tables[0]["claims"][0]
    assert (first["number"], first["holds"]) == (1, True) and tables[0]["stage_table"]


def edit(path: Path, change: Edit) -> None:
    table = json.loads(path.read_text(encoding="utf-8"))
    change(table)
    path.write_text(json.dumps(table), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("results.json", lambda r: r.update(seed=2), "all have seed 2"),
        ("recipe.json", lambda r: r.update(claims={}), "names no part of the paper"),
        ("recipe.json", lambda r: r["stages"]["zero"].update(steps=99), "(stages.zero differ)"),
        ("recipe.json", lambda r: r["claims"].update(r1=None), "(claims differ)"),
        ("recipe.json", lambda r: r["stages"].pop("ppo"), "(stages.ppo differ)"),
    ],
)
def test_what_cannot_stand_side_by_side_is_refused(
    runs: list[RunDirectory],
    file: str,
    change: Edit,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit(runs[1].path / file, change)
    assert main(["claims", *(str(run.path) for run in runs)]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_is_no_finished_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", str(tmp_path)]) == 2
    assert "results.json or recipe.json is missing" in capsys.readouterr().err
