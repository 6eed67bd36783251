"""Files appear whole or not at all, wherever a write is cut."""

import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dianoia.base.errors import UnknownFormat
from dianoia.base.files import (
    SUMS,
    read_json,
    restore_folder,
    whole_file,
    whole_folder,
    write_json,
    write_text,
)
from dianoia.base.run_files import FORMAT_VERSION, FORMAT_VERSIONS
from dianoia.storage.run_directory import StageDirectory


class Kill(BaseException):
    """What no `except Exception` may swallow."""


def contents(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text()
        for file in folder.rglob("*")
        if file.is_file() and file.name != SUMS
    }


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Lets `number` renames happen and dies before the next."""
    rename, remaining = Path.replace, [number]

    def replace(self: Path, target: Path) -> Path:
        if not remaining[0]:
            raise Kill
        remaining[0] -= 1
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)


def test_a_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    for text in ("one", "two: 苹果"):
        write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(path.parent.iterdir()) == [path], "nothing else is left"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc names open files on Linux")
def test_the_content_is_on_the_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = []

    def fsync(descriptor: int) -> None:
        flushed.append((Path(f"/proc/self/fd/{descriptor}").readlink(), path.exists()))

    path = tmp_path / "file"
    monkeypatch.setattr(os, "fsync", fsync)
    with whole_file(path) as temporary:
        temporary.write_text("text")
    assert flushed == [(temporary, False), (tmp_path, True)]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "b.txt"
    write_text(path, "old")
    with pytest.raises(Kill), whole_file(path) as temporary:
        temporary.write_text("ne")
        assert path.read_text() == "old", "not before the block ends"
        raise Kill
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_no_file_where_none_was(tmp_path: Path) -> None:
    with pytest.raises(Kill), whole_file(tmp_path / "c.txt") as temporary:
        temporary.write_text("half")
        raise Kill
    assert not (tmp_path / "c.txt").exists()


def test_json_that_is_none_is_refused_and_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    write_json(path, {"a": [1, 2.5, None, "苹果\u2028"]})
    for value in (float("nan"), float("inf"), {1, 2}, Path("x")):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, {"a": value})
    assert read_json(path) == {"a": [1, 2.5, None, "苹果\u2028"]}
    assert "苹果" in path.read_text(encoding="utf-8") and path.read_text().endswith("}\n")
    assert json.loads(path.read_bytes()) == read_json(path)


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with whole_folder(path) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "x").write_text("1")
        (temporary / "gone").write_text("old")
        assert not path.exists()
    assert contents(path) == {"deep/x": "1", "gone": "old"}
    with whole_folder(path) as temporary:
        (temporary / "x").write_text("2")
        assert contents(path) == {"deep/x": "1", "gone": "old"}
    assert contents(path) == {"x": "2"}, "no file of the old one stays"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with whole_folder(path) as temporary:
        (temporary / "x").write_text("old")
    with pytest.raises(Kill), whole_folder(path) as temporary:
        (temporary / "y").write_text("half")
        raise Kill
    assert contents(path) == {"x": "old"}
    with whole_folder(path) as temporary:
        (temporary / "z").write_text("new")
    assert contents(path) == {"z": "new"}, "nothing of the half folder gets in"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_a_kill_at_either_rename_leaves_one_whole_folder(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    with whole_folder(path) as temporary:
        (temporary / "x").write_text("old")
    remove = shutil.rmtree

    def tidy_up(folder: Path, **options: bool) -> None:
        if path.exists() and (path / "x").read_text() == "new":
            raise Kill
        remove(folder, **options)

    with monkeypatch.context() as patched:
        kill_at(patched, {"before": 0, "between": 1, "after": 2}[moment])
        patched.setattr(shutil, "rmtree", tidy_up)
        with pytest.raises(Kill), whole_folder(path) as temporary:
            (temporary / "x").write_text("new")
    assert path.exists() == (moment != "between")
    for _ in range(2):
        restore_folder(path)
        assert contents(path) == {"x": "new" if moment == "after" else "old"}
    with whole_folder(path) as temporary:
        (temporary / "x").write_text("newest")
    assert contents(path) == {"x": "newest"}
    assert list(tmp_path.iterdir()) == [path], "what the kill left is cleaned up"


def test_restoring_never_undoes_a_new_folder(tmp_path: Path) -> None:
    path, old = tmp_path / "model", tmp_path / ".model.old"
    for folder, text in ((path, "new"), (old, "old")):
        folder.mkdir()
        (folder / "x").write_text(text)
    restore_folder(path)
    assert contents(path) == {"x": "new"}
    restore_folder(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["checkpoint", "state"])
def test_a_stage_restores_what_was_half_renamed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = StageDirectory(tmp_path / "stages" / "zero")
    stage.prepare()
    path = getattr(stage, name)
    with whole_folder(path) as temporary:
        (temporary / "x").write_text("old")
    with monkeypatch.context() as patched, pytest.raises(Kill):
        kill_at(patched, 1)
        with whole_folder(path) as temporary:
            (temporary / "x").write_text("new")
    assert not path.exists()
    stage.prepare()
    assert contents(path) == {"x": "old"}


def test_files_of_a_run_carry_the_version_of_their_format(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_json(path, {"seconds": 1.0}, checked=True)
    assert json.loads(path.read_text(encoding="utf-8"))[FORMAT_VERSION] == 1
    assert read_json(path) == {"seconds": 1.0}
    path.write_text('{"seconds": 2.0}', encoding="utf-8")
    assert read_json(path) == {"seconds": 2.0}, "written before formats had versions"
    write_json(tmp_path / "other.json", {"a": 1})
    assert json.loads((tmp_path / "other.json").read_text(encoding="utf-8")) == {"a": 1}


@pytest.mark.parametrize("name", FORMAT_VERSIONS)
def test_another_version_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text('{"format_version": 99}', encoding="utf-8")
    with pytest.raises(UnknownFormat, match=f"{name}: format_version = 99, .* reads version 1; "):
        read_json(path)


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    mask: int = request.param
    before = os.umask(mask)
    yield mask
    os.umask(before)


def test_everything_has_the_mode_that_the_umask_allows(umask: int, tmp_path: Path) -> None:
    """safetensors writes its files for the owner alone, whatever the umask is."""

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    tensors = {"a": torch.zeros(3)}
    with whole_folder(tmp_path / "checkpoint") as folder:
        (folder / "adapter").mkdir()
        save_file(tensors, folder / "model.safetensors")
        save_file(tensors, folder / "adapter/model.safetensors")
        assert mode(folder / "model.safetensors") == 0o600, "or the library has changed"
        (folder / "config.json").write_text("{}")
    with whole_file(tmp_path / "one.safetensors") as file:
        save_file(tensors, file)
    write_text(tmp_path / "text.txt", "text")
    for path in tmp_path.rglob("*"):
        assert mode(path) == (0o777 if path.is_dir() else 0o666) & ~umask, path
