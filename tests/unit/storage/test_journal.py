"""Journals: rows that survive a kill at any moment."""

from pathlib import Path

import pytest

from dianoia.storage.journal import Journal, read_journal


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
    ("resume_at", "expected"), [(0, []), (1, [0]), (3, [0, 1, 2]), (9, [0, 1, 2, 3])]
)
def test_resuming_drops_later_rows(resume_at: int, expected: list[int], tmp_path: Path) -> None:
    path = filled(tmp_path / "m.jsonl").path
    journal = Journal(path, resume_at)
    assert steps(path) == expected
    journal.append({"step": resume_at})
    assert steps(path) == [*expected, resume_at]


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
