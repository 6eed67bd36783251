"""What cannot run is refused before any work, in one clear message, with a non-zero exit."""

import json
from pathlib import Path

import pytest

from dianoia.cli import main


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("zero.gruop_size=8", ["zero.gruop_size=8", "unknown key", "did you mean 'group_size'"]),
        ("zero.steps=many", ["zero.steps=many", "valid integer"]),
        ("zero.group_size=1", ["group_size = 1", "relative to the group", "use 2 or more"]),
        ("zero.minibatches=3", ["problems_per_rollout = 4", "minibatches = 3", "use one of"]),
        ("zero.steps=3", ["steps = 3", "not a multiple of minibatches = 2", "use 4"]),
        ("zro.steps=4", ["no stage 'zro'", "did you mean 'zero'"]),
        ("zero.start=./nowhere", ["stages.zero", "./nowhere", "config.json"]),
        ("zero.start=nothing", ["stages.zero", "'nothing'", "hub name"]),
        ("zero.template=r1zero", ["stages.zero.template", "r1zero", "r1-zero"]),
        ("zero.kind=lr", ["kind = 'lr'", "did you mean 'rl'"]),
        ('evaluation.checkpoints=["later"]', ["stages.evaluation", "later"]),
        ("zero.sampling.top_p=1.5", ["zero.sampling.top_p=1.5", "less than or equal to 1"]),
        ("zero.steps", ["--set zero.steps", "stage.key=value"]),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_a_recipe_that_cannot_run(
    override: str,
    parts: list[str],
    dry: bool,
    tiny_zero: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    options = ["--dry-run"] if dry else []
    assert main(["run", str(tiny_zero), "--out", str(out), "--set", override, *options]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("dianoia: ") and "Traceback" not in stderr
    for part in parts:
        assert part in stderr
    assert not out.exists(), "nothing may have begun"


def test_a_file_that_is_not_there_stops_a_run_and_not_a_plan(
    tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = ["run", str(tiny_zero), "--out", str(out), "--set", "zero.problems=nowhere.jsonl"]
    assert main([*command, "--dry-run"]) == 0
    stdout = " ".join(capsys.readouterr().out.split())
    assert "a run would be refused: nowhere.jsonl: there is no such file; zero" in stdout
    assert main(command) == 2
    assert "nowhere.jsonl" in capsys.readouterr().err
    assert not out.exists(), "nothing may have begun"


def test_a_problem_file_with_a_broken_row(
    tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"question": f"{n}+1?", "answer": str(n + 1)} for n in range(50)]
    rows[32]["answer"] = "about forty"
    file = tmp_path / "problems.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    out = tmp_path / "run"
    assert main(["run", str(tiny_zero), "--out", str(out), "--set", f"zero.problems={file}"]) == 2
    stderr = capsys.readouterr().err
    assert f"{file}, row 33" in stderr and "about forty" in stderr
    assert not out.exists()


def test_problems_from_a_file(tiny_zero: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"What is {n}+1?", "solution": n + 1} for n in range(60)]
    file = tmp_path / "problems.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    out = tmp_path / "run"
    options = ["--set", f"zero.problems={file}", "--set", f"evaluation.problems={file}"]
    assert main(["run", str(tiny_zero), "--out", str(out), *options]) == 0


@pytest.mark.parametrize(
    ("override", "before", "now"),
    [("seed=2", "seed = 1", "seed = 2"), ("name=other", "'tiny-zero'", "'other'")],
)
def test_another_seed_or_recipe_in_the_same_folder(
    override: str,
    before: str,
    now: str,
    tiny_zero: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "recipe.json").write_text('{"name": "tiny-zero", "seed": 1, "stages": {}}')
    for options in ([], ["--only", "zero"], ["--dry-run"]):
        assert main(["run", str(tiny_zero), "--out", str(out), "--set", override, *options]) == 2
        stderr = capsys.readouterr().err
        for part in (str(out), before, now, "another --out", "--force"):
            assert part in stderr
    assert [path.name for path in out.iterdir()] == ["recipe.json"]


def test_a_language_reward_for_a_language_that_nothing_tells_apart(
    tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"question": f"{n}+1 ni?", "answer": str(n + 1), "language": "sw"} for n in range(50)]
    file = tmp_path / "problems.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    options = ["--set", f"zero.problems={file}", "--dry-run", "--out", str(tmp_path / "run")]
    assert main(["run", str(tiny_zero), *options]) == 0
    assert main(["run", str(tiny_zero), *options, "--set", "zero.rewards.language=1"]) == 2
    stderr = capsys.readouterr().err
    for part in ("stages.zero.rewards.language = 1", str(file), "'sw'", "use one of en, es"):
        assert part in stderr


def test_a_plan_as_json(
    tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(tiny_zero), "--out", str(tmp_path / "run"), "--json"]
    assert main([*command, "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["seed"] == 1 and "zero" in [stage["name"] for stage in plan["stages"]]
    assert plan["trackers"] == {}
    tracked = [*command[:-1], "--set", 'track.to=["tensorboard"]', "--dry-run"]
    assert main(tracked) == 0
    assert f"Trackers: tensorboard writes {tmp_path}/run/track/tensorboard." in (
        capsys.readouterr().out.splitlines()
    )
    assert main([*command, "--dry-run", "--seeds", "3,4"]) == 0
    assert [plan["seed"] for plan in json.loads(capsys.readouterr().out)] == [3, 4]
    assert not (tmp_path / "run").exists()


def test_a_plan_for_another_machine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    recipe = str(Path(__file__).parents[2] / "recipes" / "qwen-zero.toml")
    command = ["run", recipe, "--out", str(tmp_path / "run"), "--for"]
    assert main([*command, "H100", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 and "GB" in line and "about" in line for line in lines[2:4])
    assert any("estimates for one H100 with 80.0 GB of memory" in line for line in lines)
    assert main([*command, "H100", "--dry-run", "--json", "--jobs", "0"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["machine"] == "one H100" and plan["jobs"] == 1
    assert main([*command, "H10O", "--dry-run"]) == 2
    assert "--for H10O: no GPU of that name is known" in capsys.readouterr().err
    # Without --dry-run a run would begin on this machine.
    assert main([*command, "H100"]) == 2
    assert "--for H100 plans for another machine" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
