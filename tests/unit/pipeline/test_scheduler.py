"""Stages of several runs on an executor that runs nothing."""

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from rich.console import Console

from dianoia.base.errors import Stopped, UserError
from dianoia.base.progress import Reporter
from dianoia.pipeline import scheduler
from dianoia.pipeline.messages import Request
from dianoia.pipeline.results import PlannedRun
from dianoia.pipeline.scheduler import run_recipes
from dianoia.recipe import Recipe
from dianoia.recipe.resume.stage_status import Action, StageTask
from dianoia.storage.run_directory import RunDirectory

# With an executor that runs nothing ----------------------------------------------------------------


class FakeExecutor:
    """Ends stages in the order of `ends`, some with an error."""

    def __init__(self, ends: Sequence[str], errors: Mapping[str, Exception] | None = None) -> None:
        self.ends, self.errors = list(ends), dict(errors or {})
        self.started: list[str] = []

    def running(self) -> AbstractContextManager[object]:
        return nullcontext()

    def start(self, request: Request, reporter: Reporter) -> None:
        self.started.append(request.name)

    def wait(self, running: Sequence[Request]) -> list[tuple[Request, Exception | None]]:
        requests = {request.name: request for request in running}
        name = next(name for name in self.ends if name in requests)
        return [(requests[name], self.errors.get(name))]


RECIPE = Recipe.model_validate(
    {
        "name": "graph",
        "stages": {
            "general": {"kind": "demonstrations", "source": "miniature/general", "rows": 1},
            "student": {
                "kind": "sft",
                "start": "miniature-base",
                "datasets": [{"path": "general"}],
                "max_length": 64,
                "tokens_per_step": 64,
                "optimizer": {"learning_rate": 1e-3},
            },
            "other": {"kind": "demonstrations", "source": "miniature/general", "rows": 1},
        },
    }
)


def schedule(
    executor: FakeExecutor,
    jobs: int,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception] | None = None,
) -> list[str]:
    """Return what a run of the recipe prints; no file is written. It raises `error`."""
    for name in ("check_disk", "write_beginning", "begin", "write_results"):
        monkeypatch.setattr(scheduler, name, lambda *_: None)
    plan = tuple(StageTask(name, Action.RUN, "runs") for name in RECIPE.stages)
    run, file = PlannedRun(RECIPE, RunDirectory(Path("run")), plan), io.StringIO()
    console = Console(file=file, width=200)
    with nullcontext() if error is None else pytest.raises(error):
        run_recipes([run], jobs, executor, "dianoia run", console)
    return file.getvalue().splitlines()


def test_one_job_and_two_jobs_start_what_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(RECIPE.stages)
    single = FakeExecutor(names)
    lines = schedule(single, 1, monkeypatch)
    assert single.started == names
    assert lines[0].startswith("[1/3] general: done in 0:00")
    double = FakeExecutor(names)
    schedule(double, 2, monkeypatch)
    assert double.started == ["general", "other", "student"], "student waits for general"


def test_after_a_failure_no_stage_starts_and_the_others_finish(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures: list[tuple[str, str]] = []
    monkeypatch.setattr(
        scheduler,
        "write_failure",
        lambda stage, error: failures.append((stage.path.name, str(error))),
    )
    executor = FakeExecutor(["general", "other"], {"general": UserError("the disk is full")})
    lines = schedule(executor, 2, monkeypatch, UserError)
    assert failures == [("general", "the disk is full")]
    assert executor.started == ["general", "other"]
    failed = "general failed; no new stage starts, those at work run to their end: other"
    assert lines[:2] == [failed, "the disk is full"] and lines[2].startswith("[3/3] other: done")


def test_after_a_request_to_stop_no_stage_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = Stopped("stopped by Ctrl-C")
    monkeypatch.setattr(scheduler, "write_failure", lambda *_: pytest.fail("it has not failed"))
    executor = FakeExecutor(["general"], {"general": Stopped("after step 3 of 8")})
    monkeypatch.setattr(
        scheduler, "stop_reason", lambda: reason if "general" in executor.started else None
    )
    lines = schedule(executor, 1, monkeypatch, Stopped)
    assert executor.started == ["general"]
    assert lines == ["general: stopped after step 3 of 8; the same command resumes it"]


def test_a_stop_after_the_last_stage_has_stopped_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = FakeExecutor(list(RECIPE.stages))
    monkeypatch.setattr(
        scheduler,
        "stop_reason",
        lambda: Stopped("stopped by Ctrl-C") if "other" in executor.started else None,
    )
    lines = schedule(executor, 1, monkeypatch)
    assert executor.started == list(RECIPE.stages) and len(lines) == 3
