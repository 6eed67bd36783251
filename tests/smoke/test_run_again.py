"""A run directory goes on with a changed recipe, by the real commands on a tiny model."""

import json
from pathlib import Path
from typing import Any

import pytest

from dianoia.cli import main
from tests.smoke.killing import assert_same, contents

TINY_SAMPLE = """
name = "tiny-sample"
threads = 1
[stages.cold]
kind = "sample"
start = "{base}"
problems = "miniature/math"
prompts = 4
samples = 2
[stages.cold.keep]
correct = false
[stages.cold.sampling]
max_tokens = 12
slots = 8
"""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan on lines that do not wrap."""
    monkeypatch.setenv("COLUMNS", "400")


def run(recipe: Path, out: Path, *options: str) -> int:
    return main(["run", str(recipe), "--out", str(out), *options])


def changed(*overrides: str) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def results(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return document


def test_only_what_changed_runs_again(
    tiny_zero: Path, tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, shorter = tmp_path / "run", changed("zero.steps=2")
    assert run(tiny_zero, out, "--only", "zero") == 0
    assert results(out)["states"] == {"zero": "done", "evaluation": "not run"}
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "not started" in page and " so far" in page and "There is no evaluation" in page

    assert run(tiny_zero, out) == 0
    first = results(out)
    assert set(first["evaluations"]) == {tiny_base.as_posix(), "zero"}

    assert run(tiny_zero, out, *shorter, "--only", "zero") == 0
    table = results(out)
    assert table["states"] == {"zero": "done", "evaluation": "out of date"}
    assert table["evaluations"] == {} == table["by_difficulty"]
    assert (
        table["seconds"] == json.loads((out / "stages/zero/manifest.json").read_text())["seconds"]
    )
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "out of date" in page and "There is no evaluation" in page
    (out / "report.html").unlink()

    capsys.readouterr()
    assert run(tiny_zero, out, *shorter) == 0
    stdout = capsys.readouterr().out
    assert "runs again: zero was run again" in stdout and "done, skipped" in stdout
    old = out / "stages/.old"
    assert sorted(folder.name for folder in old.iterdir()) == ["evaluation-1", "zero-1"]
    assert (old / "zero-1/checkpoint/model.safetensors").is_file()
    remaining = set(contents(out / "stages/.old"))
    assert run(tiny_zero, tmp_path / "fresh", *shorter) == 0
    old.rename(tmp_path / "old")
    assert_same(out, tmp_path / "fresh")
    assert "evaluation-1/evaluation.json" in remaining


def test_force_and_from(
    tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(tiny_zero, out) == 0
    before = contents(out)
    for options, again in (
        (["--only", "evaluation", "--force"], ["evaluation-1"]),
        (["--from", "zero"], ["evaluation-1", "evaluation-2", "zero-1"]),
    ):
        assert run(tiny_zero, out, *options) == 0
        assert sorted(folder.name for folder in (out / "stages/.old").iterdir()) == again
        now = {name: value for name, value in contents(out).items() if "/.old/" not in name}
        assert now == before
        capsys.readouterr()
    assert run(tiny_zero, out) == 0
    assert capsys.readouterr().out.count("done, skipped") == 2


BEFORE_AND_AFTER = """
[stages.before]
kind = "evaluate"
checkpoints = ["{base}"]
problems = "miniature/math"
limit = 2
samples = 2
max_tokens = 24
"""


def test_a_stage_that_fails_leaves_the_others_alone(
    tiny_zero: Path, tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tiny_zero.read_text(encoding="utf-8"), tmp_path / "run"
    name = tiny_base.as_posix()
    recipe = recipe.replace(f'checkpoints = ["{name}", "zero"]', 'checkpoints = ["zero"]')
    tiny_zero.write_text(recipe + BEFORE_AND_AFTER.replace("{base}", name), encoding="utf-8")
    assert run(tiny_zero, out) == 0
    whole = results(out)
    broken = changed(
        "zero.optimizer.max_grad_norm=1e-9",
        "zero.optimizer.stop_grad_norm=1e-8",
        "zero.rewards.random=1.0",
    )
    assert run(tiny_zero, out, *broken) == 2
    assert "stop_grad_norm" in capsys.readouterr().err
    table = results(out)
    assert table["states"] == {"zero": "interrupted", "evaluation": "out of date", "before": "done"}
    assert table["evaluations"] == {name: whole["evaluations"][name]}
    assert (out / "stages/evaluation/evaluation.json").is_file()
    assert main(["report", str(out)]) == 0
    capsys.readouterr()
    assert run(tiny_zero, out) == 0
    again = results(out)
    assert again | {"seconds": 0} == whole | {"seconds": 0}
    stdout = capsys.readouterr().out
    assert (
        "runs again: its configuration changed (" in stdout and "stop_grad_norm: 1e-08 ->" in stdout
    )


def test_of_a_domain_that_is_evaluated_twice_the_later_stage_counts(
    tmp_path: Path, tiny_base: Path
) -> None:
    evaluations = [
        f"[stages.{name}]\nkind = 'evaluate'\ncheckpoints = ['{tiny_base.as_posix()}']\n"
        f"problems = 'miniature/{problems}'\nlimit = {limit}\nsamples = 2\nmax_tokens = 8\n"
        for name, problems, limit in (("all", "all", 7), ("more", "math", 5))
    ]
    recipe, out = tmp_path / "twice.toml", tmp_path / "run"
    recipe.write_text('name = "twice"\n' + "".join(evaluations), encoding="utf-8")
    assert run(recipe, out) == 0
    (domains,) = results(out)["evaluations"].values()
    counts = {name: metrics["pass@1"]["n"] for name, metrics in domains.items()}
    assert counts.pop("math") == 5 and sum(counts.values()) == 6 and len(counts) > 3
    assert main(["report", str(out)]) == 0


def test_ctrl_c_says_what_goes_on(
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = tmp_path / "cold.toml"
    recipe.write_text(TINY_SAMPLE.replace("{base}", tiny_base.as_posix()), encoding="utf-8")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dianoia.stages.sample.run", stop)
    for options, reports in (
        ([], "interrupted; the same command resumes"),
        (["--force"], "interrupted; the same command without --force or --from resumes"),
    ):
        assert run(recipe, tmp_path / "run", *options) == 130
        assert reports in capsys.readouterr().err
