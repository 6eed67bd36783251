"""Which stage starts when: graphs by hand, and an executor that runs nothing."""

import heapq
import io
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from rich.console import Console

from dianoia.base.errors import Stopped, UserError
from dianoia.base.progress import Reporter
from dianoia.pipeline import scheduler
from dianoia.pipeline.messages import Request
from dianoia.pipeline.results import PlannedRun
from dianoia.pipeline.scheduler import (
    chain_lengths,
    longest_chain_first,
    ready_stages,
    run_recipes,
)
from dianoia.recipe import Recipe, load_recipe
from dianoia.recipe.graph import upstream
from dianoia.recipe.resume.stage_status import Action, StageTask
from dianoia.storage.run_directory import RunDirectory

# base - zero - cold - dev1        the chain
#      \ ppo - ppo-evaluation      beside it
# small                            alone
GRAPH = {
    "small": [],
    "base": [],
    "ppo": ["base"],
    "zero": ["base"],
    "ppo-evaluation": ["ppo"],
    "cold": ["zero"],
    "dev1": ["base", "cold"],
}


def next_up(
    needs: Mapping[str, Sequence[str]], begun: Collection[str], done: Collection[str]
) -> list[str]:
    return longest_chain_first(ready_stages(needs, begun, done), needs)


def simulated(needs: Mapping[str, Sequence[str]], jobs: int) -> tuple[list[str], int]:
    """The order in which stages of one hour each begin, and the hours until all are done."""
    begun: list[str] = []
    done: set[str] = set()
    running: list[tuple[int, str]] = []
    now = 0
    while len(done) < len(needs):
        for stage in next_up(needs, begun, done)[: jobs - len(running)]:
            begun.append(stage)
            heapq.heappush(running, (now + 1, stage))
        now, stage = heapq.heappop(running)
        done.add(stage)
    return begun, now


def test_the_longest_chain_that_depends_on_a_stage() -> None:
    # base: zero, cold, dev1; zero: cold, dev1; ppo: its evaluation
    lengths = chain_lengths(GRAPH)
    assert lengths == {
        "small": 0,
        "base": 3,
        "ppo": 1,
        "zero": 2,
        "ppo-evaluation": 0,
        "cold": 1,
        "dev1": 0,
    }
    assert chain_lengths({}) == {}


def test_the_longest_chain_goes_first_and_then_the_order_of_the_recipe() -> None:
    assert next_up(GRAPH, [], set()) == ["base", "small"]
    assert next_up(GRAPH, ["base"], set()) == ["small"], "what base is read by has to wait"
    assert next_up(GRAPH, ["base"], {"base"}) == ["zero", "ppo", "small"]
    # ppo and cold have a chain of one each, ppo-evaluation none, as small
    assert next_up(GRAPH, ["base", "zero"], {"base", "zero"}) == ["ppo", "cold", "small"]
    assert next_up(GRAPH, list(GRAPH), set(GRAPH)) == []


def test_one_at_a_time_keeps_to_what_each_needs() -> None:
    begun, hours = simulated(GRAPH, 1)
    assert sorted(begun) == sorted(GRAPH) and hours == len(GRAPH)
    assert all(begun.index(source) < begun.index(k) for k in GRAPH for source in GRAPH[k])


def test_two_at_a_time_take_no_longer_than_the_chain() -> None:
    # base+small, zero+ppo, cold+ppo-evaluation, dev1
    assert simulated(GRAPH, 2)[1] == 4 == 1 + chain_lengths(GRAPH)["base"]


def test_the_whole_of_r1_keeps_two_busy(root: Path) -> None:
    """One hour a stage: 21 hours in no more than 13, where 11 would be every hour filled."""
    recipe = load_recipe(root / "recipes/miniature-r1.toml")
    needs = {name: upstream(name, recipe) for name in recipe.stages}
    begun, hours = simulated(needs, 2)
    assert sorted(begun) == sorted(needs)
    assert hours <= 13


def test_one_job_takes_the_stages_in_the_order_of_the_recipe() -> None:
    begun: list[str] = []
    while ready := ready_stages(GRAPH, begun, begun):
        begun.append(ready[0])
    assert begun == list(GRAPH)


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
        scheduler, "write_failure", lambda _run, name, error: failures.append((name, str(error)))
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
