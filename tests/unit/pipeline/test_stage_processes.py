"""What the ends of its ranks mean for a stage, and what the command says of them."""

import time
from multiprocessing import Pipe
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError, MachineFault, RankError, StageCrashed, Stopped
from dianoia.base.progress import Silence
from dianoia.pipeline.messages import At, Done, Failed, Line, Message, Request, Total, Update
from dianoia.pipeline.stage_processes import RankProcess, StageRanks
from dianoia.recipe import Recipe
from dianoia.storage.run_directory import RunDirectory

RECIPE = Recipe.model_validate(
    {
        "name": "one",
        "stages": {"zero": {"kind": "demonstrations", "source": "miniature/general", "rows": 1}},
    }
)
LOST = Failed("rank 1 of 3 has ended without a message (update in step 3)", RankError.__name__)


class Stage:
    """A stage of several ranks, whose processes do what a test says."""

    def __init__(self, count: int = 3) -> None:
        self.pipes = [Pipe() for _ in range(count)]
        request = Request("zero", "zero", RECIPE, RunDirectory(Path("run")), 1, "auto", count)
        self.processes = [RankProcess(r, 10 + r, ours) for r, (ours, _) in enumerate(self.pipes)]
        self.ranks = StageRanks(request, Silence(), self.processes)
        self.killed: list[int] = []

    def say(self, rank: int, *messages: Message) -> None:
        for message in messages:
            self.pipes[rank][1].send(message)
            self.ranks.read_message(self.processes[rank])

    def end(self, rank: int, status: int = 0) -> None:
        self.pipes[rank][1].close()
        self.ranks.ended(self.processes[rank], status)

    def over(self, monkeypatch: pytest.MonkeyPatch) -> Exception | None:
        """The error once all have ended; those that are killed end at once."""
        now = time.monotonic()
        for seconds in range(0, 60, 2):
            monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
            if self.ranks.look(self.killed.append):
                return self.ranks.error()
            for process in self.processes:
                if process.is_killed and not process.has_ended:
                    self.end(process.rank, -9)
        raise AssertionError("it never ends")


def test_a_stage_is_done_when_rank_0_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.say(0, Total(3), Update(1, {}), Line("a line"), Done())
    stage.end(0)
    assert not stage.ranks.look(stage.killed.append) and not stage.killed
    stage.say(1, Done())
    stage.end(1)
    assert stage.over(monkeypatch) is None
    assert stage.killed == [12], "the one that did not end"


def test_a_killed_rank_is_named_with_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.say(1, At("sample in step 3"), At("update in step 3"))
    stage.end(1, -9)
    stage.say(0, LOST)  # it noticed, which is no cause
    stage.end(0)
    message = str(stage.over(monkeypatch))
    assert message.startswith("the process of zero (rank 1 of 3, update in step 3) was ended from")
    assert "signal 9" in message and "memory" in message and "resumes" in message
    assert stage.killed == [12]


@pytest.mark.parametrize("rank", [0, 2])
def test_a_rank_that_raises_is_named_with_its_cause(
    rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage()
    stage.say(1, LOST)
    stage.say(rank, At("score in step 7"), Failed("no memory is left", MachineFault.__name__))
    error = stage.over(monkeypatch)
    assert type(error) is MachineFault
    assert str(error) == f"rank {rank} of 3, score in step 7: no memory is left"


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.say(2, At("score in step 7"), Failed("Traceback\nKeyError: 'x'", None))
    error = stage.over(monkeypatch)
    assert type(error) is StageCrashed
    assert str(error).startswith("zero (rank 2 of 3, score in step 7) was ended by an error of the")
    assert str(error).endswith("KeyError: 'x'")


def test_an_error_that_all_ranks_meet_is_that_of_one_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    for rank in (2, 0, 1):
        stage.say(rank, Failed("row 3 of file.jsonl has no answer", ConfigError.__name__))
        stage.end(rank)
    error = stage.over(monkeypatch)
    assert type(error) is ConfigError and str(error) == "row 3 of file.jsonl has no answer"


def test_a_stop_is_rank_0s_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.say(0, Failed("after step 3 of 9", Stopped.__name__))
    stage.say(1, LOST)
    error = stage.over(monkeypatch)
    assert type(error) is Stopped and str(error) == "after step 3 of 9"


def test_where_nobody_knows_more_the_exchange_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.say(0, LOST)
    error = stage.over(monkeypatch)
    assert type(error) is RankError and str(error) == LOST.text
    assert sorted(stage.killed) == [10, 11, 12], "the silent ones, too"
