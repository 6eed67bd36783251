from pathlib import Path

import pytest

from dianoia.base.errors import DamagedFile, UnknownFormat
from dianoia.base.files import read_table
from dianoia.track.fed import FED_FILE, Fed


def test_what_is_written_is_read(tmp_path: Path) -> None:
    fed = Fed.read(tmp_path)
    assert fed.attempt("zero", "a")[0] == 1
    number, attempt = fed.attempt("zero", "b")
    attempt.step, attempt.is_finished = 7, True
    assert number == 2 and fed.attempt("zero", "a")[0] == 1
    fed.write()
    again = Fed.read(tmp_path)
    assert again == fed and again.attempts["zero"][1].step == 7
    assert Fed.read(tmp_path / "other").run_id != fed.run_id


def test_a_damaged_or_foreign_record_is_refused(tmp_path: Path) -> None:
    fed = Fed.read(tmp_path)
    fed.write()
    path = tmp_path / FED_FILE
    assert '"format_version": 1' in path.read_text() and "run_id" in read_table(path)
    text = path.read_text()
    path.write_text(text.replace(fed.run_id, "0" * 12))
    with pytest.raises(DamagedFile, match="remove the folder"):
        Fed.read(tmp_path)
    path.write_text('{"format_version": 9, "run_id": "x", "stages": {}}')
    with pytest.raises(UnknownFormat):
        Fed.read(tmp_path)
