"""Several seeds in one figure: means and ranges by hand, the files, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import ConfigError
from dianoia.cli import main
from dianoia.report.seed_curves import Curves, Seed, seed_charts, write_seed_curves
from dianoia.storage.run_directory import RunDirectory

RECIPE: dict[str, Any] = {
    "name": "zero-three",
    "stages": {
        "warm": {"kind": "rl", "steps": 2},
        "zero": {"kind": "rl", "steps": 4},
        "evaluation": {"kind": "evaluate", "checkpoints": ["zero"]},
    },
    "claims": {"zero": "zero"},
}


def row(step: int, accuracy: float | None = None) -> dict[str, Any]:
    if accuracy is None:
        return {"step": step, "reward": 1.0}
    return {
        "step": step, "heldout/pass@1": accuracy, "heldout/cons@16": accuracy + 0.1, "heldout/baseline": 0.1,
        "heldout/thought_tokens": 100 * accuracy, "heldout/reflection": accuracy,
    }  # fmt: skip


def build(path: Path, seed: int, accuracies: dict[int, float], **changes: Any) -> RunDirectory:
    run = RunDirectory(path)
    run.path.mkdir(parents=True)
    run.recipe.write_text(json.dumps({**RECIPE, "seed": seed, **changes}))
    for name in ("warm", "zero"):
        metrics = run.stage(name).metrics
        metrics.parent.mkdir(parents=True)
        rows = [row(step, accuracies.get(step)) for step in range(5)]
        metrics.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return run


@pytest.fixture
def runs(tmp_path: Path) -> list[RunDirectory]:
    curves = {3: {0: 0.1, 2: 0.5, 4: 0.6}, 1: {0: 0.2, 2: 0.4, 4: 0.9}, 2: {0: 0.3, 2: 0.6}}
    return [build(tmp_path / f"seed-{seed}", seed, points) for seed, points in curves.items()]


def test_means_and_ranges_by_hand() -> None:
    points = [{0.0: {"heldout/pass@1": a, "heldout/cons@4": 0.5}, 2.0: {"heldout/pass@1": b}}
              for a, b in ((0.1, 0.6), (0.3, 0.9))]  # fmt: skip
    seeds = tuple(Seed(n, Path("x"), table) for n, table in enumerate(points))
    (chart,) = seed_charts(Curves("r", "zero", seeds))
    band, mean, votes_band, votes = chart.figure["data"]
    assert (mean["name"], mean["x"], mean["y"]) == ("pass@1", [0, 2], pytest.approx([0.2, 0.75]))
    # Along the lowest seed, and back along the highest.
    assert (band["x"], band["y"]) == ([0, 2, 2, 0], [0.1, 0.6, 0.9, 0.3])
    assert (votes["name"], votes["x"]) == ("cons@4", [0]) and votes_band["fill"] == "toself"
    assert "mean of 2 seeds; bands: from the lowest seed to the highest" in chart.caption


def test_the_command(runs: list[RunDirectory], capsys: pytest.CaptureFixture[str]) -> None:
    folder = runs[0].path.parent
    assert main(["report", *(str(run.path) for run in runs), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table == {"report": str(folder / "seeds.html"), "picture": str(folder / "seeds.svg"), "damaged": []}  # fmt: skip
    picture = (folder / "seeds.svg").read_text("utf-8")
    # Step 4 is left out: seed 2 has not come so far. The means are 0.2 and 0.5.
    assert "pass@1 from 20.0 % to 50.0 %" in picture and "cons@16 from 30.0 % to 60.0 %" in picture
    assert "zero-three: zero, 3 seeds. Lines: mean of 3 seeds; bands:" in picture
    page = (folder / "seeds.html").read_text("utf-8")
    assert "Steps 0 to 2." in page and page.index("seed-1") < page.index("seed-2")
    assert page.count('class="plot"') == 3 and "20.0\u00a0% → 40.0\u00a0%" in page
    assert main(["report", *(str(run.path) for run in runs), "--stage", "warm", "--out", str(folder / "new")]) == 0  # fmt: skip
    assert "zero-three: warm" in (folder / "new/seeds.svg").read_text("utf-8")


def test_without_claims_the_first_rl_stage_is_drawn(tmp_path: Path) -> None:
    runs = [build(tmp_path / str(n), n, {0: 0.1}, claims={}) for n in (1, 2)]
    assert "zero-three: warm" in write_seed_curves(runs).picture.read_text("utf-8")


def test_refusals(runs: list[RunDirectory], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"of that name \(did you mean 'zero'\?\); its rl stages are warm, zero"):  # fmt: skip
        write_seed_curves(runs, "zeor")
    with pytest.raises(ConfigError, match="all have seed 3"):
        write_seed_curves([runs[0], runs[0]])
    other = build(tmp_path / "other", 9, {0: 0.1}, description="another")
    with pytest.raises(ConfigError, match="runs of different recipes"):
        write_seed_curves([runs[0], other])
    empty = build(tmp_path / "empty", 8, {})
    with pytest.raises(ConfigError, match=r"empty: stage 'zero' has no point of its held-out curve"):  # fmt: skip
        write_seed_curves([runs[0], empty])
    with pytest.raises(ConfigError, match="is not a run directory"):
        write_seed_curves([runs[0], RunDirectory(tmp_path)])
    assert not (tmp_path / "seeds.html").exists()


@pytest.mark.parametrize("option", ["--stage", "--out"])
def test_options_of_several_runs_are_not_of_one(
    option: str, runs: list[RunDirectory], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(runs[0].path), option, "x"]) == 2
    assert f"{option} x: it is for several runs" in capsys.readouterr().err
    assert not runs[0].report.exists()
