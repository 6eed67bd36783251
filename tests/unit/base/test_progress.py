"""Several stages on one board: one line per stage, in a log and in a terminal of 80 columns."""

import io
import time

import pytest
from rich.console import Console

from dianoia.base.progress import Board


def test_lines_of_a_log_are_aligned_and_begin_with_their_stage() -> None:
    file = io.StringIO()
    with Board(Console(file=file, width=200)) as board:
        zero = board.stage("[1/2] seed 1: zero", "[1/2] seed 1: ")
        ppo = board.stage("[2/2] seed 1: ppo ", "[2/2] seed 1: ")
        zero.set_total(4)
        zero.update(1, {"held-out": 0.5, "format": None})
        ppo.update(1, {})
        zero.update(2, {"held-out": 0.6})  # less than ten seconds after the last
        zero.print_line("zero: told [/as] it is")
        zero.update(4, {"held-out": 0.75})
        zero.close()
        zero.done("zero")
    assert file.getvalue().splitlines() == [
        "[1/2] seed 1: zero        1/4   0:00              held-out 0.5",
        "[2/2] seed 1: ppo         1/?   0:00",
        "[1/2] seed 1: zero: told [/as] it is",
        "[1/2] seed 1: zero        4/4   0:00              held-out 0.75",
        "[1/2] seed 1: zero: done in 0:00  held-out 0.75",
    ]


def test_time_left_is_estimated_from_the_first_report_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    file = io.StringIO()
    line = Board(Console(file=file, width=80)).stage("zero")
    line.set_total(110)
    for done, at in ((10, 50.0), (20, 80.0), (60, 3800.0), (110, 7600.0)):
        now[0] = at
        line.update(done, {"loss": 1.0})
    # resumed at step 10, so 30 seconds for 10 steps and 90 to go; later 3,750 seconds for 50 and 50 to go
    assert [text.split()[1:-2] for text in file.getvalue().splitlines()] == [
        ["10/110", "0:50"],
        ["20/110", "1:20", "4:30", "left"],
        ["60/110", "1:03:20", "1:02:30", "left"],
        ["110/110", "2:06:40"],
    ]


def test_metrics_that_do_not_fit_are_left_out_whole() -> None:
    file = io.StringIO()
    line = Board(Console(file=file, width=80)).stage("[12/22] cold-start-general")
    line.update(3, {"accuracy": 0.5, "format": 0.25, "thought": 100.0})
    (text,) = file.getvalue().splitlines()
    assert len(text) <= 80 and text.endswith("accuracy 0.5")


def test_eighty_columns_hold_a_line_a_stage() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None)
    board = Board(console)
    first = board.stage("[ 7/22] seed 12: cold-start-general")
    second = board.stage("[ 3/22] seed 12: zero              ")
    first.set_total(1500)
    second.set_total(14)
    first.update(1500, {"kept": 0.333})
    second.update(7, {"accuracy": 0.0625, "format": 0.688, "thought": 4.55})
    console.print(board._bars.get_renderable())
    lines = file.getvalue().splitlines()
    assert len(lines) == 2 and all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("[ 7/22] seed 12: cold-start-general ") and "1500/1500" in lines[0]
    assert lines[0].rstrip().endswith("kept 0.333")
    assert lines[1].startswith("[ 3/22] seed 12: zero ") and "7/14" in lines[1]
    first.close()
    console.print(board._bars.get_renderable())
    assert len(file.getvalue().splitlines()) == 3, "a stage that is done makes room"
