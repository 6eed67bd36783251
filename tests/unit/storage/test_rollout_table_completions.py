"""Sampled tokens come back to the last bit, and a file of other samples is refused."""

from pathlib import Path

import pytest

from dianoia.base.errors import DamagedFile
from dianoia.base.records import Completion
from dianoia.storage.rollout_table import read_completions, write_completions

SAMPLES = [
    [Completion((5, 7, 0), (-0.1, -1.5e-7, -3.25), True, 3), Completion((), (), False)],
    [
        Completion((1,), (-float.fromhex("0x1.99999a0000000p-4"),), False),
        Completion((0,), (0.0,), True),
    ],
]


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "state" / "base-0000000.parquet"
    file.parent.mkdir()
    write_completions(file, SAMPLES)
    assert read_completions(file, 2, 2) == SAMPLES
    assert [c.weights_version for c in read_completions(file, 2, 2)[0]] == [3, 0]


def test_other_samples_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "state" / "base-0000000.parquet"
    file.parent.mkdir()
    write_completions(file, SAMPLES)
    for problems, samples in ((1, 2), (2, 1), (3, 2), (4, 1)):
        with pytest.raises(DamagedFile, match="it holds 4 samples.*makes that batch again"):
            read_completions(file, problems, samples)
    content = bytearray(file.read_bytes())
    content[60] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(DamagedFile, match="cannot be read"):
        read_completions(file, 2, 2)
