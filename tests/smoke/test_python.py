"""The Python API as a user calls it: the page `docs/python.md`, and real runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dianoia
from dianoia.base.errors import RunInUse, UserError
from dianoia.cli import main
from dianoia.storage.lock import lock_directory

ROOT = Path(dianoia.__file__).parents[1]


def blocks(page: Path) -> list[str]:
    """Return the blocks of Python of a page."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "python.md"
    names: dict[str, object] = {"__name__": "__main__"}
    parts = blocks(page)
    assert len(parts) > 6
    for number, block in enumerate(parts):
        exec(compile(block, f"{page.name}, block {number + 1}", "exec"), names)  # noqa: S102
    shown = capsys.readouterr().out
    assert "did you mean 'steps'?" in shown, "the message on the misspelt key"
    assert names["run"].state == "done"  # type: ignore[attr-defined]
    assert len(names["rewards"]) == 2  # type: ignore[arg-type]
    # What the page says on values beside its lines.
    assert dianoia.grade("math", gold=r"\frac12", answer="0.5").right
    assert names["short"](completions=["Five.", "x" * 500]) == [1.0, 0.0]  # type: ignore[operator]


def test_a_run_is_that_of_the_command_and_is_quiet(
    tiny_zero: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    capfd.readouterr()
    run = dianoia.run(tiny_zero, {"zero.steps": 2}, out=tmp_path / "run", progress=False)
    assert capfd.readouterr() == ("", "")
    assert torch.get_num_threads() == threads
    assert [stage.status for stage in run.stages.values()] == ["done", "done"]
    assert run.about["command"].startswith("dianoia.run(")
    with (tmp_path / "run" / "results.json").open() as file:
        written = json.load(file)["evaluations"]["zero"]["math"]["pass@1"]
    assert run.evaluations["zero"]["math"]["pass@1"].value == written["value"]
    # What is done is skipped, and a checkpoint answers.
    manifest = tmp_path / "run" / "stages" / "zero" / "manifest.json"
    before = manifest.stat().st_mtime_ns
    assert dianoia.run(tiny_zero, {"zero.steps": 2}, out=run.path, progress=False) == run
    assert manifest.stat().st_mtime_ns == before
    (response,) = run.load("zero", device="cpu").ask("2+3?", max_tokens=4, seed=1)
    assert response.tokens <= 4
    # The commands say the same.
    assert main(["ask", f"{run.path}:zero", "2+3?", "--max-tokens", "4", "--seed", "1", "--json"]) == 0  # fmt: skip
    assert json.loads(capfd.readouterr().out)["responses"] == [response.as_json()]
    assert main(["show", str(run.path)]) == 0
    shown = capfd.readouterr().out
    assert "tiny-zero, seed 1: done" in shown and "zero        rl        done" in shown
    assert main(["show", str(run.path), "zero", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["metrics"]["step"] == 2
    assert main(["runs", str(tmp_path), "--json"]) == 0
    assert [table["state"] for table in json.loads(capfd.readouterr().out)] == ["done"]


def test_seeds_and_a_table(tiny_base: Path, tmp_path: Path) -> None:
    stage = {"kind": "evaluate", "checkpoints": [str(tiny_base)], "problems": "miniature/math",
             "limit": 2, "samples": 2, "max_tokens": 8, "slots": 4}  # fmt: skip
    table = {"name": "look", "threads": 1, "stages": {"evaluation": stage}}
    first, second = dianoia.run(table, out=tmp_path, seeds=[1, 2], progress=False)
    assert (first.seed, second.seed) == (1, 2)
    assert [first.path, second.path] == [tmp_path / "seed-1", tmp_path / "seed-2"]


def test_errors_are_exceptions_and_a_failure_is_kept(
    tiny_zero: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    reward = tmp_path / "reward.py"
    reward.write_text("def broken(completions, **kwargs):\n    raise ValueError('no luck')\n")
    functions = [{"path": f"{reward}:broken"}]
    with pytest.raises(UserError, match="no luck"):
        dianoia.run(tiny_zero, {"zero.rewards.functions": functions}, out=out, progress=False)
    run = dianoia.load_run(out)
    assert run.state == "failed" and "no luck" in str(run.stages["zero"].failure)
    reward.write_text("def broken(completions, **kwargs):\n    return [0.0 for _ in completions]\n")
    overrides = {"zero.rewards.functions": functions, "zero.steps": 2}
    run = dianoia.run(tiny_zero, overrides, out=out, only=["zero"], force=True, progress=False)
    assert run.stages["zero"].status == "done" and run.stages["zero"].failure is None
    with lock_directory(out) as descriptor, pytest.raises(RunInUse):
        assert descriptor is not None
        dianoia.run(tiny_zero, out=out, progress=False)


SCRIPT = """
import dianoia
run = dianoia.run({recipe!r}, {{"zero.steps": 2}}, out="run", jobs=2, progress=False)
print(run.state)
"""


@pytest.mark.slow
def test_a_script_with_several_jobs_needs_no_guard(tiny_zero: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(recipe=str(tiny_zero)))
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_import_takes_milliseconds() -> None:
    code = (
        "import sys, time; start = time.process_time(); import dianoia; took = time.process_time() - start; "
        "dianoia.Problem, dianoia.UserError; heavy = {'torch', 'transformers', 'numpy', 'pydantic', 'rich'} & {*sys.modules}; "
        "assert not heavy, heavy; print(took)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True).stdout)
        for _ in range(2)
    ]  # fmt: skip
    assert min(times) < 0.05
