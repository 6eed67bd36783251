"""How a stage that ends by an error is reported to the command, and raised there."""

import signal
import sys
from multiprocessing import Pipe
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError, StageCrashed, TrainingStopped, UserError
from dianoia.pipeline import stage_process
from dianoia.pipeline.messages import Done, Failed, Line, Message, Request
from dianoia.pipeline.stage_processes import killed_error, stage_error
from dianoia.recipe import Recipe
from dianoia.storage.run_directory import RunDirectory
from dianoia.tasks.data.locations import DataMissing

RECIPE = Recipe.model_validate(
    {
        "name": "one",
        "stages": {"data": {"kind": "demonstrations", "source": "miniature/general", "rows": 1}},
    }
)


def heard(monkeypatch: pytest.MonkeyPatch, stage: object, capture: bool = False) -> list[Message]:
    """All that the process of a stage says, which does what `stage` does."""
    monkeypatch.setattr(stage_process, "run_stage", stage)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    ours, theirs = Pipe()
    with ours, theirs:
        ours.send(
            (Request("data", "data", RECIPE, RunDirectory(Path("run")), 1, "auto"), capture, None)
        )
        stage_process.work(theirs)
        theirs.close()
        results = []
        while ours.poll():
            try:
                results.append(ours.recv())
            except EOFError:
                break
    return results


def test_what_a_person_can_put_right_is_raised_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, error_class in (
        (TrainingStopped("NaN in step 3; see the file"), TrainingStopped),
        (DataMissing("no such file"), ConfigError),  # a class of another room comes as its parent
        (UserError("lower it"), UserError),
    ):

        def fails(*_: object, error: Exception = error) -> None:
            raise error

        (outcome,) = heard(monkeypatch, fails)
        assert isinstance(outcome, Failed)
        raised = stage_error("data", outcome)
        assert type(raised) is error_class and str(raised) == str(error)


def test_any_other_error_comes_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise KeyError("a slip of ours")

    (outcome,) = heard(monkeypatch, fails)
    assert isinstance(outcome, Failed)
    raised = stage_error("seed 2: data", outcome)
    assert isinstance(raised, StageCrashed)
    assert str(raised).startswith("seed 2: data ") and "in fails" in str(raised)
    assert str(raised).rstrip().endswith("KeyError: 'a slip of ours'")


def test_who_is_killed_has_said_nothing() -> None:
    raised = killed_error("zero", -9)
    assert isinstance(raised, UserError)
    for part in ("process of zero", "signal 9", "memory", "resumes", "--jobs"):
        assert part in str(raised)
    assert "status 3" in str(killed_error("zero", 3))


def test_what_a_stage_prints_in_a_terminal_is_told_line_by_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def prints(*_: object) -> None:
        sys.stdout.write("half a ")
        sys.stdout.write("line\nand another\n")

    messages = heard(monkeypatch, prints, capture=True)
    assert messages == [Line("half a line"), Line("and another"), Done()]
    assert heard(monkeypatch, prints) == [Done()]
    assert capsys.readouterr().out == "half a line\nand another\n"
