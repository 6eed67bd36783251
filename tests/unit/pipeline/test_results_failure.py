"""The error that ended a stage stays in its folder until the stage begins again."""

from pathlib import Path

import pytest

from dianoia.base.errors import StageCrashed, UserError
from dianoia.base.files import read_table
from dianoia.pipeline.results import PlannedRun, write_failure
from dianoia.recipe.load import load_recipe
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
    run = RunDirectory(tmp_path)
    planned = PlannedRun(load_recipe("miniature-zero"), run, ())
    write_failure(planned, "zero", error)
    assert not run.stage("zero").path.exists(), "a folder that is gone is not made again"
    run.stage("zero").path.mkdir(parents=True)
    write_failure(planned, "zero", error)
    assert read_table(run.stage("zero").failure)["error"] == text
