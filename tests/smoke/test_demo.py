"""`dianoia demo` in a folder of its own: it runs, resumes, writes the report and says what to do next."""

import json
from pathlib import Path

import pytest

from dianoia.cli import main
from tests.conftest import TINY_ZERO


@pytest.fixture
def folder(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose own miniature-zero.toml is tiny: a local file wins over the shipped recipe."""
    monkeypatch.chdir(tmp_path)
    recipe = TINY_ZERO.replace("{base}", tiny_base.as_posix()).replace(
        "tiny-zero", "miniature-zero"
    )
    (tmp_path / "miniature-zero.toml").write_text(recipe, encoding="utf-8")
    return tmp_path


def test_the_plan_of_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--quick", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["recipe"] == "miniature-zero" and len(plan["stages"]) == 2
    assert not list(tmp_path.iterdir())


def test_the_demo_runs_and_says_what_to_do_next(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # In this process: one job, so that no stage needs a process of its own.
    assert main(["run", "miniature-zero", "--json"]) == 0
    output, progress = capsys.readouterr()
    outcome = json.loads(output)
    assert outcome["run"] == "runs/miniature-zero" and outcome["results"]["evaluations"]
    assert "[2/2] evaluation" in progress

    assert main(["demo", "--quick"]) == 0
    output = capsys.readouterr().out
    report = folder / "runs/miniature-zero/report.html"
    assert output.endswith(
        f"\nread the report:  {report}\ntalk to it:       dianoia chat runs/miniature-zero\n"
    )
    assert report.is_file() and output.count("done, skipped") == 2

    assert main(["demo", "--quick", "--json", "--out", "runs/miniature-zero"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["results"] == outcome["results"]
    assert (again["report"], again["chat"]) == (str(report), "dianoia chat runs/miniature-zero")

    assert main(["report", "runs/miniature-zero", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(report), "damaged": []}
