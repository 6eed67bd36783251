"""TensorBoard's own reader finds what was written."""

from pathlib import Path

import pytest

from tests.unit.track.conftest import WrittenRun, following

pytest.importorskip("tensorboard")

from dianoia.track.to_tensorboard import MAX_TEXT_ROWS, events, open_tracker
from dianoia.track.tracker import Destination


def tracker(run: WrittenRun, is_shared: bool = False) -> object:
    folder = run.path / "tensorboard"
    return open_tracker(Destination(folder, run.path if is_shared else folder, None, False))


def event_file(run: WrittenRun) -> Path:
    (file,) = (run.path / "tensorboard").rglob("*tfevents*")
    return file


def scalars(file: Path) -> dict[int, dict[str, float]]:
    rows: dict[int, dict[str, float]] = {}
    for event, _ in events(file):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                assert value.tag not in rows.setdefault(event.step, {}), "twice"
                rows[event.step][value.tag] = value.simple_value
    return rows


def texts(file: Path) -> dict[tuple[int, str], str]:
    return {
        (event.step, value.tag): value.tensor.string_val[0].decode()
        for event, _ in events(file)
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "text"
    }


def test_a_kill_in_the_middle_of_an_event(run: WrittenRun) -> None:
    """The file is cut at every length: what is held of the last row is sent again, and no other."""
    run.begin()
    run.rows(0, 1)
    first = following(run, tracker(run))
    first.feed()
    first.close()
    file = event_file(run)
    whole = file.read_bytes()
    *_, (_, start), (_, end) = events(file)
    assert end == len(whole)
    run.rows(2)
    for length in range(start, end + 1):
        file.write_bytes(whole[:length])
        follower = following(run, tracker(run))
        follower.feed()
        follower.close()
        held = scalars(file)
        assert held == {step: pytest.approx(row) for step, row in run.numbers().items()}, length


def test_texts_and_results(run: WrittenRun) -> None:
    run.begin()
    run.rows(0)
    run.rollouts("step-00000", count=MAX_TEXT_ROWS + 3)
    run.rows(1)
    run.finish()
    following(run, tracker(run, is_shared=True)).feed()
    file = event_file(run)
    assert file.parent == run.path / "tensorboard/first/zero"
    shown = texts(file)
    assert (
        '"learning_rate": 0.1' in shown[0, "recipe"] and '"name": "written"' in shown[0, "recipe"]
    )
    rollouts = shown[1, "rollouts"].splitlines()
    assert rollouts[0] == "question | reward"
    assert rollouts[2] == "step-00000 \\| 0<br>? | 0.5", "a cell stays a cell"
    assert rollouts[-1] == "and 3 more rows"
    assert scalars(file)[1]["counts/seconds"] == 12.5
    # A summary that is there is not written again.
    (run.path / "track/memory/fed.json").unlink()
    before = file.read_bytes()
    following(run, tracker(run, is_shared=True)).feed()
    assert file.read_bytes() == before
