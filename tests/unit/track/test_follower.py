"""Every step once, none missing, whoever was killed and when."""

import random
from pathlib import Path

import pytest

from dianoia.track.follower import Count, default_run_name
from tests.unit.track.conftest import Memory, WrittenRun, following


def steps(tracker: Memory) -> list[list[int]]:
    return [[row.step for row in held.rows] for held in tracker.held.values()]


def test_rows_are_sent_as_they_come(run: WrittenRun) -> None:
    tracker = Memory()
    follower = following(run, tracker)
    assert not follower.feed(), "nothing has begun"
    run.begin()
    run.rows(0, 1)
    assert follower.feed()
    assert not follower.feed()
    assert steps(tracker) == [[0, 1]]
    with run.zero.metrics.open("a") as file:
        file.write('{"step": 2, "rew')  # half of a row
    follower.feed()
    assert steps(tracker) == [[0, 1]]
    with run.zero.metrics.open("a") as file:
        file.write('ard": 0.5}\n')
    follower.feed()
    assert steps(tracker) == [[0, 1, 2]]
    (held,) = tracker.held.values()
    assert held.rows[1].numbers == {"train/reward": 1 / 7, "train/update_seconds": 2.0}
    assert [row.time - held.stage.began for row in held.rows] == [2.0, 4.0, 4.0], "work, added up"
    assert (held.stage.title, held.stage.kind, held.stage.run_name) == ("zero", "rl", "first")
    assert held.stage.configuration["optimizer"] == {"learning_rate": 0.1}
    assert held.stage.configuration["recipe"]["name"] == "written"


def test_a_resumed_run_writes_no_step_twice(run: WrittenRun) -> None:
    tracker = Memory()
    follower = following(run, tracker)
    run.begin()
    run.rows(0, 1, 2, 3)
    follower.feed()
    run.resume(2)  # the rows of two steps are dropped, and written again
    assert not follower.feed()
    run.rows(2, 3, 4, seconds=9.0)
    follower.feed()
    assert steps(tracker) == [[0, 1, 2, 3, 4]]
    run.finish()
    follower.feed()
    (held,) = tracker.held.values()
    assert [row.step for row in held.summaries] == [4] and held.closed == [True]
    assert {row.step: row.numbers["train/reward"] for row in held.rows} == {
        step: numbers["train/reward"] for step, numbers in run.numbers().items()
    }
    assert not follower.feed()
    assert following(run, tracker).feed() is False, "a finished stage is not opened again"
    assert follower.counts == {"zero": Count(rows=5, tables=0)}


@pytest.mark.parametrize("seed", range(6))
def test_kills_at_any_time_lose_nothing_and_double_nothing(seed: int, run: WrittenRun) -> None:
    """The follower is killed (forgets everything in memory) and the run is killed (falls back), at random."""
    draw, tracker = random.Random(seed), Memory()
    run.begin()
    follower, step, saved = following(run, tracker), 0, 0
    while step < 30:
        match draw.randrange(6):
            case 0:
                follower = following(run, tracker)
            case 1 if step:
                run.resume(saved)
                step = saved
            case 2:
                saved = step
            case 3:
                follower.feed()
            case _:
                if step % 3 == 0:
                    run.rollouts(f"step-{step:05d}")
                run.rows(step)
                step += 1
    run.finish()
    follower.feed()
    (held,) = tracker.held.values()
    assert {row.step: row.numbers for row in held.rows} == run.numbers()
    assert [row.step for row in held.rows] == list(range(30))
    assert len(held.summaries) == 1
    tables = [row.step for row in held.rows for _ in row.tables]
    # Sampled at step s, so they belong to the row of the update that followed.
    assert tables == list(range(1, 29, 3))


def test_a_failure_is_made_good_by_the_next_follower(run: WrittenRun) -> None:
    tracker = Memory(fails_after=2)
    run.begin()
    run.rows(0, 1, 2, 3)
    follower = following(run, tracker)
    with pytest.raises(ConnectionError):
        follower.feed()
    tracker.fails_after = None
    following(run, tracker).feed()
    assert steps(tracker) == [[0, 1, 2, 3]]


def test_what_names_a_stage_is_written_before_anything_is_sent(run: WrittenRun) -> None:
    """A kill inside the tracker leaves the run's id and the number of the attempt."""
    run.begin()
    run.rows(0)
    follower = following(run, Memory(fails_after=0))
    with pytest.raises(ConnectionError):
        follower.feed()
    run.begin()
    again = following(run, tracker := Memory())
    run.rows(0)
    again.feed()
    assert again.fed.run_id == follower.fed.run_id
    assert [held.stage.title for held in tracker.held.values()] == ["zero-2"]


def test_a_stage_that_runs_again_is_another_run_of_the_tracker(run: WrittenRun) -> None:
    tracker = Memory()
    follower = following(run, tracker)
    run.begin()
    run.rows(0, 1, 2)
    follower.feed()
    run.begin()
    run.rows(0, 1)
    follower.feed()
    assert steps(tracker) == [[0, 1, 2], [0, 1]]
    first, second = tracker.held.values()
    assert (first.stage.title, second.stage.title) == ("zero", "zero-2")
    assert first.closed == [False]
    follower = following(run, tracker)
    run.rows(2)
    follower.feed()
    assert steps(tracker) == [[0, 1, 2], [0, 1, 2]]


def test_results_of_an_evaluation_are_its_summary(run: WrittenRun) -> None:
    tracker = Memory()
    follower = following(run, tracker)
    run.evaluate()
    follower.feed()
    (held,) = tracker.held.values()
    (results,) = held.summaries
    assert results.numbers == {"evaluation/zero/math/pass@1": 0.25, "counts/seconds": 3.0}
    estimates, rollouts = results.tables
    assert estimates.columns == ("name", "value", "low", "high", "n")
    assert estimates.rows == [["zero/math/pass@1", 0.25, 0.1, 0.4, 8]]
    assert rollouts.name == "rollouts/zero" and len(rollouts.rows) == 2
    assert not follower.is_complete, "zero has not begun"
    run.begin()
    run.rows(0)
    run.finish()
    follower.feed()
    assert follower.is_complete


@pytest.mark.parametrize(
    ("folder", "name"), [("runs/zero", "zero"), ("runs/zero/seed-3", "zero-seed-3")]
)
def test_the_name_of_a_run(folder: str, name: str) -> None:
    assert default_run_name(Path(folder)) == name
