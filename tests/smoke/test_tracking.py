"""Trackers beside real runs: they hold what `metrics.jsonl` holds, and never touch the run."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dianoia.cli import main
from dianoia.track.trackers import TRACKERS
from tests.smoke.commands import SECONDS, Command, run_command
from tests.smoke.killing import arguments, assert_same
from tests.smoke.trackers import assert_holds
from tests.unit.track.conftest import WrittenRun

MANY = "steps = 24"
TRACK = "\n[track]\nto = {names}\n"


def needs(name: str) -> object:
    """A tracker, where its package is installed; all but TensorBoard are tried where time is no matter."""
    missing = [p for p in TRACKERS[name].packages if importlib.util.find_spec(p) is None]
    marks = [pytest.mark.skipif(bool(missing), reason=f"{name} is not installed")]
    if name != "tensorboard":
        # Their warnings, as they are imported, are no concern of ours.
        marks += [pytest.mark.slow, pytest.mark.filterwarnings("default")]
    return pytest.param(name, marks=marks)


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in TRACKERS.values():
        if kind.folder_variable:
            monkeypatch.delenv(kind.folder_variable, raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def with_track(recipe: Path, folder: Path, names: list[str]) -> Path:
    tracked = folder / "tracked.toml"
    tracked.write_text(recipe.read_text() + TRACK.format(names=json.dumps(names)))
    return tracked


@pytest.mark.parametrize("name", [needs(name) for name in TRACKERS])
def test_adding_a_tracker_runs_nothing_again_and_sends_everything(
    name: str,
    whole_zero: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe, whole = whole_zero
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    assert main(arguments(with_track(recipe, tmp_path, [name]), out)) == 0
    output = capsys.readouterr().out
    assert output.count("done, skipped") == 2 and f"to see {name}: " in output
    assert_holds(name, out)
    # A second time there is nothing to send.
    assert main(["track", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"run": str(out), "sent": {name: {}}}
    assert_holds(name, out)
    shutil.rmtree(out / "track")
    sent = run_command(["track", str(out), "--to", name])  # in a process that has seen nothing
    assert sent.returncode == 0, sent.stderr
    assert f"{name}: 5 rows and 5 tables of 2 stages sent" in sent.stdout
    assert_holds(name, out)


def test_a_tracker_that_fails_is_told_once(
    whole_zero: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("tensorboard")
    recipe, whole = whole_zero
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    blocked = tmp_path / "a file"
    blocked.touch()
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(blocked))
    tracked = with_track(recipe, tmp_path, ["tensorboard"])
    assert main([*arguments(tracked, out), "--only", "evaluation"]) == 0
    errors = capfd.readouterr().err
    assert errors.count("\n") == 1 and "tensorboard failed and is left out (" in errors
    assert "the run goes on" in errors and f"dianoia track {out} --to tensorboard" in errors
    assert main(["track", str(out)]) == 2
    errors = capfd.readouterr().err
    assert errors.count("\n") == 1 and "Not a directory" in errors


def test_what_cannot_be_tracked_is_refused(
    whole_zero: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, whole = whole_zero
    assert main(["track", str(tmp_path), "--to", "tensorboard"]) == 2
    assert "this is no run directory" in capsys.readouterr().err
    assert main(["track", str(whole)]) == 2
    assert "the recipe names no tracker" in capsys.readouterr().err
    assert main(["track", str(whole), "--to", "tensorflow"]) == 2
    assert "there is no tracker 'tensorflow'" in capsys.readouterr().err
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "trackio" else find_spec(name, *rest),
    )
    recipe = with_track(whole_zero[0], tmp_path, ["trackio"])
    assert main(arguments(recipe, tmp_path / "new")) == 2
    assert "pip install 'dianoia-r1[trackio]'" in capsys.readouterr().err
    assert not (tmp_path / "new").exists(), "refused before anything is written"
    assert not (whole / "track").exists()


SERVE = "import sys; from dianoia.track.followers import serve; serve(*sys.argv[1:3], None, None, False)"


def follower_of(run: Path, name: str) -> subprocess.Popen[bytes]:
    """The process that a run starts."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, name, str(run)], stdin=subprocess.PIPE, start_new_session=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [needs(name) for name in TRACKERS])
def test_a_follower_that_is_killed_again_and_again(name: str, run: WrittenRun) -> None:
    """SIGKILL at six moments, while rows are written and a stage falls back to its state twice."""
    run.begin()
    process, step = follower_of(run.path, name), 0
    for kill in range(6):
        end = time.monotonic() + 1.0 + 0.6 * kill
        while time.monotonic() < end:
            run.rollouts(f"step-{step:05d}")
            run.rows(*range(step, step + 5))
            step += 5
            time.sleep(0.05)
        process.kill()  # not its group: wandb's own process notices by itself
        process.wait()
        process.stdin.close()
        process = follower_of(run.path, name)
        if kill % 2:
            step -= 7
            run.resume(step)
    run.finish()
    process.stdin.close()
    assert process.wait(SECONDS) == 0
    assert_holds(name, run.path, times=False)


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    return WrittenRun(tmp_path / "written")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("name", [needs(name) for name in TRACKERS])
def test_a_run_that_is_stopped_and_resumed(
    name: str, how: signal.Signals, tiny_zero: Path, tmp_path: Path
) -> None:
    tiny_zero.write_text(
        tiny_zero.read_text()
        .replace("steps = 4", MANY)
        .replace("checkpoint_every = 1", "checkpoint_every = 5")
    )
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert main(arguments(tiny_zero, whole)) == 0
    recipe = with_track(tiny_zero, tmp_path, [name])
    journal = out / "stages/zero/metrics.jsonl"
    with Command(arguments(recipe, out)) as process:
        process.wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 13)
        os.kill(process.pid, how)
        process.finish()
    ended = run_command(arguments(recipe, out))
    assert ended.returncode == 0 and "resumes after step" in ended.stdout, ended.stderr
    assert_holds(name, out, times=False)
    shutil.rmtree(out / "track")
    for each in (out, whole):
        (each / "recipe.json").unlink()  # the table alone differs
    assert_same(out, whole)
