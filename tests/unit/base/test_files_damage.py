"""What was changed, cut or blanked is noticed; links in somebody else's folder are not followed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.base.errors import DamagedFile, MachineFault
from dianoia.base.files import (
    CHECKSUM,
    SUMS,
    check_folder,
    read_json,
    read_table,
    refuse_links,
    whole_folder,
    write_json,
    write_text,
)
from dianoia.storage.journal import Journal, read_journal, readable_rows, record_seconds
from dianoia.storage.lock import lock_directory
from dianoia.storage.run_directory import RunDirectory, StageDirectory, check_output, write_about

Change = Callable[[bytes], bytes]


def flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    return bytes(changed)


CHANGES: dict[str, Change] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "flipped": flipped,
    "zeros": lambda content: content[:10] + bytes(20) + content[30:],
    "another": lambda _: b"[1]\n",
    "deep": lambda _: b"[" * 200_000,
    "no text": lambda _: b"\xff\xfe\x00",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_checked_object_is_what_was_written_or_an_error(change: Change, tmp_path: Path) -> None:
    path = tmp_path / "at.json"
    write_json(path, {"step": 123_456, "name": "苹果", "seconds": 1.5}, checked=True)
    assert read_json(path) == {"step": 123_456, "name": "苹果", "seconds": 1.5}
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DamagedFile) as caught:
        read_table(path)
    assert str(path) in str(caught.value) and "remove the folder" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_flip_of_a_value_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"step": 7}, checked=True)
    whole = path.read_bytes()
    position = whole.index(b"7")
    for bit in range(8):
        changed = bytearray(whole)
        changed[position] ^= 1 << bit
        path.write_bytes(bytes(changed))
        with pytest.raises(DamagedFile):
            read_json(path)


def test_a_checksum_knows_no_times_and_no_order(tmp_path: Path) -> None:
    """Two runs of one seed have the same; and a file without one is read as it is."""
    sums = set()
    values = ({"a": 1, "b": {"seconds": 2.0}}, {"b": {"seconds": 9.0, "x_per_second": 1}, "a": 1})
    for value in values:
        write_json(tmp_path / "x.json", value, checked=True)
        sums.add(json.loads((tmp_path / "x.json").read_text())[CHECKSUM])
    assert len(sums) == 1
    write_json(tmp_path / "y.json", {"a": 1})
    assert (
        json.loads((tmp_path / "y.json").read_text()) == read_json(tmp_path / "y.json") == {"a": 1}
    )


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", ["weights", "deep/tokens", SUMS])
def test_a_folder_is_what_was_written_or_an_error(
    name: str, change: Change, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    with whole_folder(folder) as temporary:
        (temporary / "weights").write_bytes(bytes(range(200)))
        (temporary / "deep").mkdir()
        (temporary / "deep/tokens").write_bytes(b"x" * 100)
    check_folder(folder, "cure")
    file = folder / name
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(DamagedFile, match=r".*cure$"):
        check_folder(folder, "cure", required=("weights", "deep/tokens"))
    file.unlink()
    with pytest.raises((DamagedFile, FileNotFoundError)):
        check_folder(folder, "cure")


def test_a_list_that_was_cut_at_a_line_is_noticed(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "state") as temporary:
        for name in ("a", "b"):
            (temporary / name).write_text(name)
    sums = tmp_path / "state" / SUMS
    sums.write_text(sums.read_text().splitlines(keepends=True)[0])
    check_folder(tmp_path / "state", "cure")
    with pytest.raises(DamagedFile, match="lacks b"):
        check_folder(tmp_path / "state", "cure", required=("a", "b"))


# Journals ------------------------------------------------------------------------------------------


def rows(path: Path, count: int = 5) -> None:
    journal = Journal(path)
    for step in range(count):
        journal.append({"step": step, "loss": step / 4})


@pytest.mark.parametrize(
    "line", [b"", b"\0\0\0\0", b'{"step": 2, "los', b"[2]", b'{"loss": 1}', b"\xff"]
)
def test_a_line_in_the_middle_is_named(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows(path)
    lines = path.read_bytes().split(b"\n")
    lines[2] = line
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(DamagedFile, match=r"line 3: .*sed -i 3d") as caught:
        Journal(path, resume_at=4)
    assert str(path) in str(caught.value)
    reports: list[str] = []
    assert [row["step"] for row in readable_rows(path, reports.append)] == [0, 1, 3, 4]
    assert len(reports) == 1 and "line 3" in reports[0]
    lines.pop(2)
    path.write_bytes(b"\n".join(lines))
    assert [row["step"] for row in read_journal(Journal(path, resume_at=4).path)] == [0, 1, 3]


def test_damage_behind_what_is_kept_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows(path)
    path.write_bytes(path.read_bytes() + bytes(4096) + b"\n")
    assert [row["step"] for row in read_journal(Journal(path, resume_at=3).path)] == [0, 1, 2]


# Other files of a run ------------------------------------------------------------------------------


def test_what_a_stage_left_is_compared_with_its_manifest(tmp_path: Path) -> None:
    stage = StageDirectory(tmp_path / "stages" / "cold")
    write_text(stage.dataset, "rows")
    outputs = {"data.parquet": "0" * 64}
    write_json(stage.manifest, {"outputs": outputs}, checked=True)
    with pytest.raises(DamagedFile, match=r"data\.parquet: the file is not what the stage wrote"):
        check_output(stage, stage.dataset)
    stage.dataset.unlink()
    with pytest.raises(DamagedFile, match="missing"):
        check_output(stage, stage.dataset)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(DamagedFile, match="pipe or a device"):
        read_json(tmp_path / "run.json")


# Links ---------------------------------------------------------------------------------------------


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    file = tmp_path / "precious"
    file.write_text("do not touch")
    return file


def untouched(file: Path) -> bool:
    return file.read_text() == "do not touch" and not file.is_symlink()


@pytest.mark.parametrize("hard", [False, True])
def test_a_lock_that_is_another_file(hard: bool, precious: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (os.link if hard else os.symlink)(precious, run / ".lock")
    with pytest.raises((MachineFault, OSError)), lock_directory(run):
        pass
    assert untouched(precious)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("name", [".seconds", ".seconds.part"])
def test_seconds_that_are_another_file(
    name: str, hard: bool, precious: Path, tmp_path: Path
) -> None:
    (os.link if hard else os.symlink)(precious, tmp_path / name)
    with record_seconds(tmp_path / ".seconds") as seconds:
        assert seconds() < 100
    assert untouched(precious) and float((tmp_path / ".seconds").read_text()) >= 0


@pytest.mark.parametrize("name", ["run.json", ".run.json.part"])
def test_a_file_that_is_written_whole_replaces_a_link(
    name: str, precious: Path, tmp_path: Path
) -> None:
    (tmp_path / name).symlink_to(precious)
    write_text(tmp_path / "run.json", "new")
    assert untouched(precious) and (tmp_path / "run.json").read_text() == "new"


@pytest.mark.parametrize("name", ["state", ".state.part", ".state.old"])
def test_a_folder_that_is_written_whole_replaces_a_link(name: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("do not touch")
    (tmp_path / name).symlink_to(elsewhere)
    with whole_folder(tmp_path / "state") as temporary:
        (temporary / "x").write_text("new")
    assert untouched(elsewhere / "precious") and (tmp_path / "state/x").read_text() == "new"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["precious"]


def test_a_journal_that_is_a_link_is_replaced(precious: Path, tmp_path: Path) -> None:
    precious.write_text('{"step": 0}\n')
    (tmp_path / "metrics.jsonl").symlink_to(precious)
    Journal(tmp_path / "metrics.jsonl", resume_at=1).append({"step": 1})
    assert precious.read_text() == '{"step": 0}\n'


@pytest.mark.parametrize("name", ["rollouts", "metrics.jsonl", "parts/a.json", "state"])
def test_links_in_the_folder_of_a_stage_are_refused(name: str, tmp_path: Path) -> None:
    link = tmp_path / "stages/zero" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path)
    with pytest.raises(MachineFault, match="symbolic link"):
        refuse_links(tmp_path / "stages/zero")


def test_a_run_directory_that_is_a_link_is_fine(tmp_path: Path) -> None:
    (tmp_path / "disk/stages/zero").mkdir(parents=True)
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    refuse_links(tmp_path / "run/stages/zero")
    with lock_directory(tmp_path / "run"):
        assert (tmp_path / "disk/.lock").exists()


def test_about_what_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"earlier": 5}')
    with pytest.raises(DamagedFile, match=r"run\.json"):
        write_about(RunDirectory(tmp_path), {"command": "x"})
