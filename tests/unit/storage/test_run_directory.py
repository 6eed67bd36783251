"""The run directory: a run that names every command, and folders of stages that are re-run."""

import json
from pathlib import Path

import pytest

from dianoia.base.errors import DamagedFile
from dianoia.base.files import digest, write_json
from dianoia.storage.run_directory import (
    RunDirectory,
    StageDirectory,
    check_output,
    code_version,
    describe_run,
    write_about,
)


def test_a_run_names_every_command_that_made_it(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")

    def go(command: str) -> list[str]:
        write_about(run, {"command": command, "seed": 1})
        about = json.loads(run.about.read_text())
        assert about["command"] == command and about["seed"] == 1
        assert all("earlier" not in item for item in about["earlier"])
        return [item["command"] for item in about["earlier"]]

    assert go("a") == []
    assert go("a") == [], "the same command again adds nothing"
    assert go("b") == ["a"]
    assert go("b") == ["a"]
    assert go("c") == ["a", "b"]
    assert go("a") == ["a", "b", "c"], "in the order in which they ran"


def test_a_run_describes_itself() -> None:
    about = describe_run("dianoia run x.toml", seed=7, threads=2)
    assert about["command"] == "dianoia run x.toml"
    assert (about["seed"], about["threads"]) == (7, 2)
    assert about["dianoia"] == code_version() and about["dianoia"][0].isdigit()
    assert set(about["libraries"]) >= {"torch", "transformers", "tokenizers"}
    assert json.loads(json.dumps(about)) == about


def test_a_stage_is_done_when_its_manifest_is_there(tmp_path: Path) -> None:
    stage = RunDirectory(tmp_path / "run").stage("zero")
    assert stage == StageDirectory(tmp_path / "run" / "stages" / "zero")
    stage.prepare()
    assert not stage.done
    stage.checkpoint.mkdir()
    assert not stage.done
    stage.manifest.write_text("{}")
    assert stage.done


def test_a_stage_that_starts_from_scratch_keeps_the_old_folder(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    stage, other = run.stage("zero"), run.stage("zero-1")
    assert stage.is_empty
    stage.start_from_scratch()
    assert stage.path.is_dir() and stage.is_empty and not (stage.path.parent / ".old").exists()
    for number in range(1, 12):
        stage.begun.write_text(str(number))
        assert not stage.is_empty
        stage.start_from_scratch()
        assert stage.is_empty
        assert (stage.path.parent / f".old/zero-{number}/begun.json").read_text() == str(number)
    other.path.mkdir()
    other.begun.touch()
    other.start_from_scratch()
    assert (stage.path.parent / ".old/zero-1-1/begun.json").exists(), "not one of zero's"


def test_answers_that_cost_come_along(tmp_path: Path) -> None:
    stage = RunDirectory(tmp_path / "run").stage("cold")
    stage.answers.mkdir(parents=True)
    (stage.answers / "a.json").write_text("{}")
    assert stage.is_empty, "answers alone are no beginning"
    stage.begun.touch()
    stage.start_from_scratch()
    assert (stage.answers / "a.json").exists() and stage.is_empty
    # killed between the two renames: the next beginning fetches them
    stage.answers.rename(stage.path.parent / ".old/cold-1/answers")
    stage.start_from_scratch()
    assert (stage.answers / "a.json").exists()


def test_half_written_rollouts_are_not_listed(tmp_path: Path) -> None:
    stage = StageDirectory(tmp_path)
    assert stage.rollout_files() == []
    for name in ("step-00010", "step-00002", ".step-00020"):
        stage.rollouts(name).parent.mkdir(exist_ok=True)
        stage.rollouts(name).touch()
    (tmp_path / "rollouts" / ".step-00003.parquet.part").touch()
    assert [file.stem for file in stage.rollout_files()] == ["step-00002", "step-00010"]


def test_rollouts_and_means_of_one_checkpoint_are_two_outputs(tmp_path: Path) -> None:
    stage = StageDirectory(tmp_path)
    for file in (stage.rollouts("zero"), stage.problem_means("zero")):
        file.parent.mkdir()
        file.write_text(file.parent.name)
    outputs = {stage.output_name(file): digest(file) for file in stage.outputs()}
    assert list(outputs) == ["zero.parquet", "problems/zero.parquet"]
    write_json(stage.manifest, {"outputs": outputs}, checked=True)
    check_output(stage, stage.rollouts("zero"))
    check_output(stage, stage.problem_means("zero"))
    stage.problem_means("zero").write_text("rollouts")
    with pytest.raises(DamagedFile, match=r"problems/zero\.parquet"):
        check_output(stage, stage.problem_means("zero"))
