"""Stages side by side: what they leave is what one after another leaves, however the command ends."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.base.errors import RunInUse
from dianoia.cli import main
from dianoia.pipeline import fork_server, stage_processes
from dianoia.storage.lock import lock_directory
from dianoia.storage.run_directory import RunDirectory
from tests.conftest import Make
from tests.smoke.commands import Command
from tests.smoke.killing import arguments, assert_same
from tests.smoke.stage_server import ForkedServer

RECIPE = """
name = "tiny-graph"
threads = 1
[stages.zero]
kind = "rl"
start = "{base}"
problems = "miniature/math"
steps = 4
group_size = 4
problems_per_rollout = 4
minibatches = 2
checkpoint_every = 1
[stages.zero.sampling]
max_tokens = 24
slots = 8
[stages.zero.optimizer]
learning_rate = 1e-2
[stages.ppo]
kind = "rl"
start = "{base}"
problems = "miniature/math"
steps = 4
group_size = 4
problems_per_rollout = 4
minibatches = 2
checkpoint_every = 1
[stages.ppo.sampling]
max_tokens = 24
slots = 8
[stages.ppo.algorithm]
name = "ppo"
[stages.ppo.optimizer]
learning_rate = 1e-2
[stages.general]
kind = "demonstrations"
source = "miniature/general"
rows = 40
[stages.student]
kind = "sft"
start = "{base}"
datasets = [{ path = "general" }]
epochs = 1
max_length = 512
tokens_per_step = 2048
[stages.student.optimizer]
learning_rate = 1e-2
[stages.evaluation]
kind = "evaluate"
checkpoints = ["zero", "ppo", "student"]
problems = "miniature/math"
limit = 4
samples = 2
max_tokens = 24
slots = 8
"""
STAGES = ("zero", "ppo", "general", "student", "evaluation")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that do not wrap."""
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture(scope="module")
def whole(copy_of: Callable[[str, Make], Path], tiny_base: Path) -> tuple[Path, Path]:
    """A recipe whose stages depend on one another here and there, and its run, one stage after another."""

    def make(folder: Path) -> None:
        recipe = folder / "graph.toml"
        recipe.write_text(RECIPE.replace("{base}", tiny_base.as_posix()), encoding="utf-8")
        assert main(arguments(recipe, folder / "run")) == 0

    folder = copy_of("graph", make)
    return folder / "graph.toml", folder / "run"


def states(run: Path) -> dict[str, str]:
    document: dict[str, str] = json.loads((run / "results.json").read_text())["states"]
    return document


# The same results ----------------------------------------------------------------------------------


def test_two_at_a_time_leave_what_one_at_a_time_leaves(
    whole: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(stage_processes, "ForkServer", ForkedServer)
    recipe, reference = whole
    assert main([*arguments(recipe, tmp_path / "run"), "--jobs", "2"]) == 0
    stdout = capsys.readouterr().out
    assert "Up to 2 stages run at the same time, each with 1 thread;" in stdout
    assert all(re.search(rf"{name}: done in \d+:\d\d", stdout) for name in STAGES)
    assert re.search(r"ppo +0/4", stdout).start() < stdout.index("zero: done"), (
        "they ran at one time"
    )
    assert re.search(r"took \d+:\d\d", stdout)
    assert_same(tmp_path / "run", reference)
    about = json.loads((tmp_path / "run/run.json").read_text())
    assert about["threads"] == 1 and about["jobs"] == 2
    document = json.loads((tmp_path / "run/results.json").read_text())
    manifests = [tmp_path / f"run/stages/{name}/manifest.json" for name in STAGES]
    seconds = [json.loads(manifest.read_text())["seconds"] for manifest in manifests]
    assert document["seconds"] == pytest.approx(sum(seconds)), "work, not the time on the clock"
    assert set(states(tmp_path / "run").values()) == {"done"}
    before = [manifest.stat().st_mtime_ns for manifest in manifests]
    assert main([*arguments(recipe, tmp_path / "run"), "--jobs", "2"]) == 0
    assert "done, skipped" in capsys.readouterr().out
    assert before == [manifest.stat().st_mtime_ns for manifest in manifests]


@pytest.mark.slow
def test_a_fresh_interpreter_a_stage_does_too(
    whole: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines that cannot fork start interpreters."""
    monkeypatch.setattr(fork_server, "FORKS", False)
    recipe, reference = whole
    assert main([*arguments(recipe, tmp_path / "run"), "--jobs", "3"]) == 0
    assert_same(tmp_path / "run", reference)


@pytest.mark.slow
def test_seeds_share_the_jobs(
    whole: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, reference = whole
    command = [*arguments(recipe, tmp_path / "runs"), "--seeds", "1,2", "--jobs", "2"]
    assert main([*command, "--only", "zero"]) == 0
    stdout = capsys.readouterr().out
    assert stdout.index("seed 2: zero  ") < stdout.index("seed 1: zero: done")
    assert main(command) == 0
    assert_same(tmp_path / "runs/seed-1", reference)
    assert set(states(tmp_path / "runs/seed-2").values()) == {"done"}


# Ends ----------------------------------------------------------------------------------------------


def both_at_work(run: Path) -> Callable[[], bool]:
    """Tell whether two stages are in their middle."""
    journals = [run / f"stages/{name}/metrics.jsonl" for name in ("zero", "ppo")]

    def true() -> bool:
        return all(path.exists() and path.read_bytes().count(b"\n") >= 2 for path in journals)

    return true


def stopped(arguments: list[str], true: Callable[[], bool], how: signal.Signals) -> tuple[int, str]:
    """Run the command and send its process group (SIGINT, as Ctrl-C) or itself a signal as soon as `true`."""
    with Command(arguments) as run:
        run.wait_until(true)
        (os.killpg if how is signal.SIGINT else os.kill)(run.pid, how)
        done = run.finish()
    return done.returncode, done.stderr


@pytest.mark.slow  # in the default run one job is killed (test_killed)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_with_two_at_work_and_started_again(
    how: signal.Signals, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    (recipe, reference), run = whole, tmp_path / "run"
    status, message = stopped([*arguments(recipe, run), "--jobs", "2"], both_at_work(run), how)
    if how is signal.SIGKILL:
        assert status == -signal.SIGKILL
    else:
        assert status == 130
        assert message.startswith("dianoia: stopped by Ctrl-C: ")
        # One of the two may have just taken its last step.
        assert re.search(r"(zero|ppo) after step [1-4] of 4", message), message
        assert "the same command resumes" in message and message.count("\n") == 1
    with lock_directory(run):  # waits until those are gone that the command had started
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        time.sleep(0.3)
        assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    directory = RunDirectory(run)
    assert not directory.stage("evaluation").done and directory.stage("zero").begun.exists()
    # a run goes on with any number of jobs
    jobs = "1" if how is signal.SIGKILL else "2"
    assert main([*arguments(recipe, run), "--jobs", jobs]) == 0
    assert_same(run, reference)


FAILING = """
import os, time

def fails(completions, **columns):
    while not os.path.exists("RUN/stages/zero/metrics.jsonl"):
        time.sleep(0.01)
    BODY
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('no such thing')", "no such thing"),
        ("os.kill(os.getpid(), 9)", "the process of ppo was ended from outside by signal 9"),
    ],
    ids=["an error", "killed"],
)
def test_one_fails_and_the_other_finishes(
    body: str,
    message: str,
    whole: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (recipe, _), run = whole, tmp_path / "run"
    text = FAILING.replace("RUN", run.as_posix()).replace("BODY", body)
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    broken = tmp_path / "broken.toml"
    functions = '[[stages.ppo.rewards.functions]]\npath = "mine.py:fails"\n'
    broken.write_text(recipe.read_text() + functions, encoding="utf-8")
    assert main([*arguments(broken, run), "--jobs", "2"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("dianoia: ") and message in captured.err
    assert "ppo failed; no new stage starts, those at work run to their end: zero" in captured.out
    assert captured.out.index("ppo failed") < captured.out.index("zero: done")
    assert states(run) == {
        "zero": "done",
        "ppo": "interrupted",
        "general": "done",
        "student": "not run",
        "evaluation": "not run",
    }
    # general went first, as two stages wait for one another behind it. Put right, only what is missing runs
    assert main(arguments(recipe, run)) == 0
    assert "done, skipped" in capsys.readouterr().out
    assert set(states(run).values()) == {"done"}


def test_a_refusal_comes_before_any_work(
    whole: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, _ = whole
    with (
        lock_directory(tmp_path / "runs/seed-2"),
        pytest.raises(RunInUse),
        lock_directory(tmp_path / "runs/seed-2"),
    ):
        pass
    with lock_directory(tmp_path / "runs/seed-2"):
        command = [*arguments(recipe, tmp_path / "runs"), "--seeds", "1,2", "--jobs", "2"]
        assert main(command) == 2
        assert "seed-2" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ["-1", "two", "1.5", ""])
def test_jobs_are_a_number(
    text: str, whole: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*arguments(whole[0], tmp_path / "run"), f"--jobs={text}"])
    assert f"{text!r} is not a number of stages" in capsys.readouterr().err
