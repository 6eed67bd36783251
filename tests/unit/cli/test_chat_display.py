"""How a chat lays answers out in a terminal."""

import io

import pytest
from rich.console import Console

from dianoia.cli.chat_display import WrappedText, counted, duration, printable


def written(text: str, columns: int, pieces: int = 1, gutter: str = "") -> str:
    """Lay a text out that comes in pieces of so many characters."""
    out = io.StringIO()
    writer = WrappedText(Console(file=out, width=columns), gutter=gutter)
    for start in range(0, len(text), pieces):
        writer.write(text[start : start + pieces])
    writer.finish()
    return out.getvalue()


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_lines_break_before_words_that_do_not_fit(pieces: int) -> None:
    assert written("one two three four", 9, pieces) == "one two\nthree\nfour\n"


def test_lines_of_the_text_and_their_indentation_stay() -> None:
    assert written("def f(x):\n    return x\n\nend", 20) == "def f(x):\n    return x\n\nend\n"


def test_chinese_breaks_behind_any_character_and_counts_two_columns() -> None:
    # Seven characters in ten columns: five on the first line.
    assert written("小明有三十个", 10) == "小明有三十\n个\n"


def test_a_word_longer_than_the_line_is_broken() -> None:
    lines = written("a" * 25, 10).splitlines()
    assert "".join(lines) == "a" * 25
    assert max(map(len, lines)) <= 10


def test_a_gutter_stands_before_each_line() -> None:
    assert written("one two\n\nthree", 7, gutter="| ") == "| one\n| two\n| \n| three\n"


def test_no_text_writes_no_line() -> None:
    assert written("", 10, gutter="| ") == ""


def test_lines_are_80_columns_wide_at_most() -> None:
    assert max(map(len, written("word " * 100, 200).splitlines())) <= 80


def test_control_characters_of_a_model_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b]0;title\x07b\x9bc\rd") == "a\ufffd]0;title\ufffdb\ufffdc\ufffdd"
    assert printable("a\tb\nc") == "a    b\nc"


def test_durations_and_counts_read_well() -> None:
    assert (duration(0.84), duration(59.96), duration(125)) == ("0.8 s", "60.0 s", "2 min 5 s")
    assert (counted(1, "token"), counted(1234, "token")) == ("1 token", "1,234 tokens")
