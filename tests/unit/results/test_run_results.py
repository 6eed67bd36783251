"""`dianoia.load_run`, on run directories that are written by hand."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import dianoia
from dianoia.base.errors import ConfigError, DamagedFile
from dianoia.base.files import write_json
from dianoia.base.records import Completion, Group, Problem, Rollout, RolloutStatus, Score
from dianoia.results import run_results as run_module
from dianoia.results.run_results import load_run
from dianoia.storage.estimate import Estimate
from dianoia.storage.rollout_table import write_rollouts
from dianoia.storage.run_directory import RunDirectory

STAGES = {
    "zero": {"kind": "rl", "start": "miniature-base", "steps": 2},
    "later": {"kind": "sft", "start": "zero"},
    "evaluation": {"kind": "evaluate", "checkpoints": ["zero"]},
}
ACCURACY = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
RESULTS = {
    "recipe": "hand",
    "seed": 7,
    "states": {"zero": "done", "later": "interrupted", "evaluation": "not run"},
    "seconds": 3.5,
    "evaluations": {"zero": {"math": {"pass@1": ACCURACY, "format": {"value": None}}}},
    "by_difficulty": {"zero": {"math": {"2": {"pass@1": ACCURACY}}}},
    "reward_models": {"helpful": {"accuracy": {"value": 0.75, "low": None, "high": None, "n": 4}}},
}


def rollout(sample: int, text: str) -> Rollout:
    problem = Problem("p", "2+3?", "5", "number")
    completion = Completion((1, 2), (-0.5, -0.5), True)
    return Rollout(problem, sample, (3,), completion, text, RolloutStatus.FINISHED, "", text)


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "hand")
    write_json(run.recipe, {"name": "hand", "seed": 7, "stages": STAGES})
    write_json(run.results, RESULTS)
    write_json(run.about, {"command": "dianoia run hand.toml"})
    for name in ("zero", "later"):
        write_json(run.stage(name).begun, {"began": "now"})
    write_json(run.stage("zero").manifest, {"seconds": 3.5})
    rows = [{"step": 0, "heldout/pass@1": 0.25}, {"step": 1, "reward": 1.5}]
    run.stage("zero").metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for step in (1, 2):
        rollouts = (rollout(0, "5"), rollout(1, "6"))
        scores = (Score(2.0, {"accuracy": 1.0, "format": 1.0}), Score(1.0, {"accuracy": 0.0, "format": 1.0}))  # fmt: skip
        group = Group(rollouts[0].problem, rollouts, scores)
        write_rollouts(run.stage("zero").rollouts(f"step-0000{step}"), [group], step=step)
    return run


def test_results(directory: RunDirectory) -> None:
    run = load_run(directory.path)
    assert (run.name, run.seed, run.about["command"]) == ("hand", 7, "dianoia run hand.toml")
    assert run.evaluations["zero"]["math"]["pass@1"] == Estimate(0.5, 0.4, 0.6, 10)
    assert list(run.evaluations["zero"]["math"]) == ["pass@1"], "without a value there is nothing"
    assert run.by_difficulty["zero"]["math"]["2"]["pass@1"].n == 10
    assert run.reward_models["helpful"]["accuracy"] == Estimate(0.75, None, None, 4)
    assert run.results("pass@1", frame=False) == [
        {"checkpoint": "zero", "domain": "math", "metric": "pass@1", **ACCURACY}
    ]
    assert run.results("pass@2", frame=False) == []


def test_an_estimate_is_a_number_and_a_text() -> None:
    assert float(Estimate(0.5, 0.4, 0.6, 10)) == 0.5
    assert str(Estimate(0.5, 0.4, 0.6, 10)) == "0.500 [0.400, 0.600]"
    assert str(Estimate(0.75, None, None, 4)) == "0.75"


def test_states_of_stages(directory: RunDirectory) -> None:
    run = load_run(directory.path)
    assert {name: s.status for name, s in run.stages.items()} == RESULTS["states"]
    assert run.state == "interrupted" and run.seconds == 3.5
    assert run.stages["zero"].settings["steps"] == 2 and run.stages["zero"].kind == "rl"


def test_a_failed_stage_says_why(directory: RunDirectory) -> None:
    write_json(directory.stage("later").failure, {"error": "the loss is NaN\nmore"})
    run = load_run(directory.path)
    assert run.state == "failed" and run.stages["later"].status == "failed"
    assert run.stages["later"].failure == "the loss is NaN\nmore"
    assert run.stages["zero"].failure is None


def test_a_run_at_work(directory: RunDirectory) -> None:
    holder = f"{os.getpid()} {platform.node()}"
    (directory.path / ".lock").write_text(holder)
    run = load_run(directory.path)
    assert run.is_running and run.state == run.stages["later"].status == "running"
    # A file that a kill left.
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (directory.path / ".lock").write_text(f"{ended.pid} {platform.node()}")
    assert load_run(directory.path).state == "interrupted"


def test_states_without_results(directory: RunDirectory) -> None:
    directory.results.unlink()
    run = load_run(directory.path)
    assert [s.status for s in run.stages.values()] == ["done", "interrupted", "not run"]
    assert run.evaluations == {} and run.results(frame=False) == []


def test_metrics(directory: RunDirectory) -> None:
    run = load_run(directory.path)
    assert run.metrics("zero", frame=False) == [
        {"step": 0, "heldout/pass@1": 0.25},
        {"step": 1, "reward": 1.5},
    ]
    pandas = pytest.importorskip("pandas")
    frame = run.metrics("zero")
    assert isinstance(frame, pandas.DataFrame) and list(frame["step"]) == [0, 1]
    assert frame["reward"].isna().tolist() == [True, False]
    assert run.metrics("later", frame=False) == []


def test_rollouts(directory: RunDirectory) -> None:
    run = load_run(directory.path)
    rows = run.rollouts("zero", frame=False)
    assert [(row["step"], row["sample"], row["text"]) for row in rows] == [(1, 0, "5"), (1, 1, "6"), (2, 0, "5"), (2, 1, "6")]  # fmt: skip
    assert rows[1]["parts"] == {"accuracy": 0.0, "format": 1.0} and rows[1]["notes"] == {}
    assert len(run.rollouts("zero", step=2)) == 2
    assert run.rollouts("zero", checkpoint="r1", frame=False) == []


def test_without_pandas(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module.importlib.util, "find_spec", lambda _name: None)
    run = load_run(directory.path)
    assert run.metrics("zero") == run.metrics("zero", frame=False)
    with pytest.raises(ConfigError, match="pandas is not installed"):
        run.metrics("zero", frame=True)


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda d: load_run(d.path).metrics("zeor"), ConfigError, "did you mean 'zero'"),
        (lambda d: load_run(d.path.parent), ConfigError, "it holds the runs .*hand"),
        (lambda d: load_run(d.path / "stages"), ConfigError, "it holds no recipe.json"),
        (lambda d: load_run(d.path).load("zero"), ConfigError, "no checkpoint 'zero'"),
    ],
)
def test_refusals(
    directory: RunDirectory,
    use: Callable[[RunDirectory], object],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        use(directory)


def test_damage_is_named(directory: RunDirectory) -> None:
    file = directory.stage("zero").rollouts("step-00001")
    file.write_bytes(b"PAR1")
    with pytest.raises(DamagedFile, match=r"step-00001\.parquet: the rollouts cannot be read"):
        dianoia.load_run(directory.path).rollouts("zero")
    directory.results.write_text("{")
    with pytest.raises(DamagedFile, match=r"results\.json"):
        load_run(directory.path)
