"""The runs of a folder."""

import os
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.base.files import write_json
from dianoia.results.run_list import list_runs
from dianoia.storage.run_directory import RunDirectory


def write_run(path: Path, state: str, seconds: int, accuracy: float | None = None) -> RunDirectory:
    run = RunDirectory(path)
    (path / "stages").mkdir(parents=True)
    write_json(run.recipe, {"name": path.name, "seed": 3, "stages": {"zero": {"kind": "rl"}}})
    domains = {"math": {"pass@1": {"value": accuracy, "low": 0, "high": 1, "n": 5}}}
    evaluations = {} if accuracy is None else {"base": {"math": {"pass@1": {"value": 0.1, "low": 0, "high": 1, "n": 5}}}, "zero": domains}  # fmt: skip
    write_json(run.results, {"states": {"zero": state}, "evaluations": evaluations})
    for file in (run.recipe, run.results):
        os.utime(file, (seconds, seconds))
    return run


def test_runs_of_a_folder_the_latest_first(tmp_path: Path) -> None:
    write_run(tmp_path / "first", "done", 1000, 0.9)
    write_run(tmp_path / "seeds" / "seed-2", "interrupted", 2000)
    damaged = write_run(tmp_path / "broken", "done", 3000)
    damaged.results.write_text("{")
    os.utime(damaged.results, (3000, 3000))
    (tmp_path / "notes").mkdir()
    broken, second, first = list_runs(tmp_path)
    assert (first.name, first.seed, first.state, first.reason) == ("first", 3, "done", None)
    assert (first.stages_done, first.stages) == (1, 1)
    assert first.best and (first.best.checkpoint, first.best.domain, first.best.value) == ("zero", "math", 0.9)  # fmt: skip
    assert first.size == sum(file.stat().st_size for file in first.path.glob("*.json"))
    assert (second.name, second.state, second.reason, second.best) == ("seed-2", "interrupted", "zero", None)  # fmt: skip
    assert broken.state == "damaged" and "results.json" in str(broken.reason)
    assert first.as_json()["best"] == {"checkpoint": "zero", "domain": "math", "value": 0.9}
    assert first.as_json()["changed"] == "1970-01-01T00:16:40+00:00"


def test_a_run_itself_and_a_failed_one(tmp_path: Path) -> None:
    run = write_run(tmp_path / "failed", "interrupted", 1000)
    write_json(run.stage("zero").begun, {})
    write_json(run.stage("zero").failure, {"error": "no space\non this disk"})
    (summary,) = list_runs(run.path)
    assert (summary.state, summary.reason) == ("failed", "zero: no space")


def test_a_run_on_another_machine(tmp_path: Path) -> None:
    run = write_run(tmp_path / "far", "interrupted", 1000)
    (run.stage("zero").path).mkdir()
    os.utime(run.stage("zero").path, (5000, 5000))
    (run.path / ".lock").write_text("4711 gpu-7")
    os.utime(run.path / ".lock", (4000, 4000))
    (summary,) = list_runs(tmp_path)
    assert summary.state == "running"
    assert summary.as_json()["holder"] == {
        "pid": 4711,
        "host": "gpu-7",
        "is_here": False,
        "since": "1970-01-01T01:06:40+00:00",
        "last_change": "1970-01-01T01:23:20+00:00",
    }


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    assert list_runs(tmp_path) == []
    with pytest.raises(ConfigError, match="there is no such folder"):
        list_runs(tmp_path / "runs")


def test_a_run_at_work_may_remove_files_while_it_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "first", "interrupted", 1000)
    (before,) = list_runs(tmp_path)
    stage = run.stage("zero")
    unfinished, removed = stage.path / ".state.part", stage.path / ".metrics.jsonl.part"
    unfinished.mkdir(parents=True)
    (unfinished / "state.pt").write_bytes(b"12345")
    removed.write_bytes(b"123")
    stage.metrics.write_bytes(b"1234567")
    scandir, lstat = os.scandir, Path.lstat

    def scanned(path: str) -> object:
        if Path(path) == unfinished:
            raise FileNotFoundError(path)
        return scandir(path)

    def status_of(path: Path) -> os.stat_result:
        if path == removed:
            raise FileNotFoundError(path)
        return lstat(path)

    monkeypatch.setattr(os, "scandir", scanned)
    monkeypatch.setattr(Path, "lstat", status_of)
    (summary,) = list_runs(tmp_path)
    assert summary.size == before.size + 7
    assert run.last_change() is not None
