"""The run directory: journals that survive a kill, and a run that names every command."""

import json
from pathlib import Path

import pytest

from dianoia.storage.journal import Journal, read_journal
from dianoia.storage.run_directory import (
    RunDirectory,
    StageDirectory,
    code_version,
    describe_run,
    write_about,
)


def steps(path: Path) -> list[int]:
    return [row["step"] for row in read_journal(path)]


def filled(path: Path, count: int = 4) -> Journal:
    journal = Journal(path)
    for step in range(count):
        journal.append({"step": step, "loss": step / 4})
    return journal


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "metrics.jsonl"
    rows = [
        {"step": 0, "text": "a\u2028b\u2029c\x85d\r\ne\x0c\x1c🤔苹果"},
        {"step": 1, "loss": 0.1, "kl": None, "n": 3},
    ]
    journal = Journal(path)
    assert list(read_journal(path)) == []
    for row in rows:
        journal.append(row)
    assert list(read_journal(path)) == rows
    assert list(read_journal(Journal(path, resume_at=2).path)) == rows


def test_every_row_is_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    journal = Journal(path)
    for step in range(3):
        journal.append({"step": step})
        assert steps(path) == list(range(step + 1))


@pytest.mark.parametrize(
    ("resume_at", "kept"), [(0, []), (1, [0]), (3, [0, 1, 2]), (9, [0, 1, 2, 3])]
)
def test_resuming_drops_later_rows(resume_at: int, kept: list[int], tmp_path: Path) -> None:
    path = filled(tmp_path / "m.jsonl").path
    journal = Journal(path, resume_at)
    assert steps(path) == kept
    journal.append({"step": resume_at})
    assert steps(path) == [*kept, resume_at]


def test_a_last_line_that_was_cut_never_counted(tmp_path: Path) -> None:
    path = filled(tmp_path / "m.jsonl").path
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        assert steps(path) == [0, 1, 2]
    journal = Journal(path, resume_at=9)
    journal.append({"step": 3, "loss": 0.75})
    assert path.read_bytes() == whole


def test_a_last_line_may_be_cut_inside_a_letter(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    journal = Journal(path)
    journal.append({"step": 0, "message": "苹果"})
    journal.append({"step": 1, "message": "苹果"})
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex("果".encode()) + 1])
    assert steps(path) == [0]
    Journal(path, resume_at=1).append({"step": 1, "message": "苹果"})
    assert path.read_bytes() == whole


def test_what_is_no_json_is_refused_and_leaves_the_journal(tmp_path: Path) -> None:
    journal = filled(tmp_path / "m.jsonl", 2)
    with pytest.raises(ValueError):
        journal.append({"step": 2, "loss": float("nan")})
    assert steps(journal.path) == [0, 1]


def test_a_kill_while_resuming_leaves_the_old_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled(tmp_path / "m.jsonl").path
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        Journal(path, resume_at=1)
    assert steps(path) == [0, 1, 2, 3]


def test_a_run_names_every_command_that_made_it(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")

    def go(command: str) -> list[str]:
        write_about(run, {"command": command, "seed": 1})
        about = json.loads(run.about.read_text())
        assert about["command"] == command and about["seed"] == 1
        assert all("earlier" not in one for one in about["earlier"])
        return [one["command"] for one in about["earlier"]]

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


def test_a_stage_that_begins_anew_keeps_what_was_there(tmp_path: Path) -> None:
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
