"""`dianoia new` as a person types it: the recipe is written, runs, and is never overwritten unasked."""

import json
from pathlib import Path

import pytest

from dianoia.cli import main

PROBLEMS = ["--problems", "sums.jsonl"]
MODEL = ["--model", "miniature-base-small"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"{n} + 1?", "answer": str(n + 1)} for n in range(60)]
    (tmp_path / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


@pytest.mark.slow  # a whole run
def test_a_new_recipe_is_tried_written_and_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "zero", *MODEL, *PROBLEMS, "--name", "mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "asking miniature-base-small 8 problems, 4 times each ..."
    assert lines[1].startswith("wrote mine.toml: R1-Zero: miniature-base-small on")
    assert any("of 32 responses kept the form" in line for line in lines)
    assert lines[-2:] == ["next: dianoia run mine.toml --dry-run", "      dianoia run mine.toml"]
    small = [
        "zero.steps=1",
        "zero.group_size=2",
        "zero.problems_per_rollout=2",
        "zero.progress.problems=0",
    ]
    small += ["evaluation.limit=2", "evaluation.samples=1"]
    options = [word for override in small for word in ("--set", override)]
    assert main(["run", "mine", *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == "runs/mine"


def test_a_file_is_not_overwritten_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["new", "zero", *MODEL, *PROBLEMS, "--no-trial", "--out", "mine.toml"]
    (tmp_path / "mine.toml").write_text("mine")
    assert main(command) == 2
    assert "mine.toml exists and stays as it is" in capsys.readouterr().err
    assert (tmp_path / "mine.toml").read_text() == "mine"
    assert main([*command, "--force", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert (table["recipe"], table["trial"]) == ("mine.toml", None)
    assert table["next"] == "dianoia run mine.toml --dry-run" and table["plan"]["stages"]
    assert main([*command[:-1], "none/mine.toml"]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_a_model_that_never_keeps_the_form_is_told_about_templates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["new", "zero", *MODEL, *PROBLEMS, "--template", "r1"]
    assert main(command) == 2
    message = capsys.readouterr().err
    assert "none of 32 responses kept the form of the template 'r1'" in message
    assert "worked examples" in message and not list(tmp_path.glob("*.toml"))
    assert main([*command, "--no-trial"]) == 0


def test_a_checkpoint_of_a_run_by_its_name(
    whole_zero: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, run = whole_zero
    command = [
        "new",
        "lora",
        "--model",
        f"{run}:zero",
        *PROBLEMS,
        "--no-trial",
        "--name",
        "further",
    ]
    assert main(command) == 0
    text = Path("further.toml").read_text()
    assert f'start = "{run}/stages/zero/checkpoint"' in text
    assert "# the one that the model was trained under" in text
    assert main(["run", "further", "--dry-run"]) == 0
