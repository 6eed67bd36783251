"""Numbers as options of commands."""

import argparse

import pytest

from dianoia.cli.number_options import whole_number


def test_whole_numbers_from_the_least_on() -> None:
    read = whole_number(2, "is not a number of machines; write for example 2")
    assert (read("2"), read("007")) == (2, 7)
    for text in ("1", "0", "-3", "2.0", "two", "", "٣", "²"):
        with pytest.raises(argparse.ArgumentTypeError) as caught:
            read(text)
        assert str(caught.value) == f"{text!r} is not a number of machines; write for example 2"
