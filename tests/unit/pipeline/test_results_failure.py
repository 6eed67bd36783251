"""The error that ended a stage stays in its folder until the stage begins again."""

from pathlib import Path

import pytest

from dianoia.base.errors import StageCrashed, UserError
from dianoia.base.files import read_table
from dianoia.pipeline.results import write_failure
from dianoia.storage.run_directory import RunDirectory


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UserError("the disk is full\n"), "the disk is full"),
        (StageCrashed("zero was ended\nTraceback"), "zero was ended\nTraceback"),
        (KeyError("step"), "KeyError: 'step'"),
    ],
)
def test_the_message_is_kept(error: Exception, text: str, tmp_path: Path) -> None:
    stage = RunDirectory(tmp_path).stage("zero")
    write_failure(stage, error)
    assert not stage.path.exists(), "a folder that is gone is not made again"
    stage.path.mkdir(parents=True)
    write_failure(stage, error)
    assert read_table(stage.failure)["error"] == text
