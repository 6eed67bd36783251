"""Several stages in one display: a line each, in a log and in a terminal of 80 columns."""

import io

from rich.console import Console

from dianoia.base.progress import Board


def test_lines_of_a_log_begin_with_their_stage() -> None:
    file = io.StringIO()
    with Board(Console(file=file, width=200)) as board:
        zero, ppo = board.stage("zero", "seed 1: "), board.stage("ppo")
        zero.expect(4)
        zero.show(1, {"held-out": 0.5, "format": None})
        ppo.show(1, {})
        zero.show(2, {"held-out": 0.6})  # less than ten seconds after the last
        zero.say("zero: told [/as] it is")
        zero.show(4, {"held-out": 0.75})
        zero.close()
        board.say("seed 1: zero: done")
    assert file.getvalue().splitlines() == [
        "seed 1: zero  1/4  held-out 0.5",
        "ppo  1/None  ",
        "seed 1: zero: told [/as] it is",
        "seed 1: zero  4/4  held-out 0.75",
        "seed 1: zero: done",
    ]


def test_eighty_columns_hold_a_line_a_stage() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None)
    board = Board(console)
    first, second = board.stage("cold-start-general", "seed 12: "), board.stage("zero")
    first.expect(1500)
    second.expect(14)
    first.show(1500, {"kept": 0.333})
    second.show(7, {"accuracy": 0.0625, "format": 0.688, "thought": 4.55})
    console.print(board._bars.get_renderable())
    lines = file.getvalue().splitlines()
    assert len(lines) == 2 and all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("seed 12: cold-start-general ") and "1500/1500" in lines[0]
    assert lines[0].rstrip().endswith("kept 0.333")
    assert lines[1].startswith("zero ") and "accuracy 0.0625" in lines[1]
    first.close()
    console.print(board._bars.get_renderable())
    assert len(file.getvalue().splitlines()) == 3, "who is done makes room"
