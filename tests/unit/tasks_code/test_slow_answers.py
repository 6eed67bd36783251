"""Answers made to keep the judge busy: what is decided outside the sandbox takes no longer than usual."""

import json
import time
from collections.abc import Iterator

import pytest

from dianoia.runtime.box import guest
from dianoia.runtime.box.values import decode, encode
from dianoia.runtime.sandbox import LANGUAGES
from dianoia.tasks.code import extract_program
from dianoia.tasks.code.asserts import take_apart
from dianoia.tasks.code.judge import _TAGS

PRIME = 2**61 - 1
"""Whole numbers that differ by it have the same hash."""
COLLIDING = [number * PRIME for number in range(20_000)]


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 5, "seconds; the square of the length would be minutes"


def test_a_fence_that_backtracks() -> None:
    for line in ("```" + "a" * 190_000 + "`", "```" + " " * 190_000 + "`", "```a\n" * 30_000):
        assert extract_program(line) in (line, None, "")


@pytest.mark.parametrize("tag", ["set", "frozenset", "dict"])
def test_sets_and_dictionaries_whose_members_collide_are_refused(tag: str) -> None:
    inside = [[key, 0] for key in COLLIDING] if tag == "dict" else COLLIDING
    with pytest.raises(ValueError, match="same hash"):
        decode(json.dumps({tag: inside}))


def test_ordinary_sets_and_dictionaries_come_through() -> None:
    large = {("a", number) for number in range(5000)} | {number / 7 for number in range(5000)}
    assert decode(encode(large)) == large
    table = {number: str(number) for number in range(5000)}
    assert decode(encode(table)) == table


@pytest.mark.parametrize(
    ("snippet", "value"),
    [
        ("assert set(f(1)) == {1, 2}", COLLIDING),
        ("assert sum(f(1), []) == [1]", [[1]] * 100_000),
        ("assert round(f(1), f(2)) == 1", -(10**9)),
        ("assert sorted(f(1)) == [1]", list(range(10**5, 0, -1))),
    ],
)
def test_functions_outside_are_quick_on_every_value(snippet: str, value: object) -> None:
    steps, (assertion,) = take_apart(snippet)
    assert assertion.holds(dict.fromkeys(range(len(steps)), value)) is False


def test_functions_outside_still_work() -> None:
    for snippet, value in (
        ("assert set(f(1)) == {0, 1}", [0, 1] * 500),
        ("assert sum(f(1)) == 6", [1, 2, 3.0]),
        ("assert round(f(1), 2) == 1.23", 1.2345),
        ("assert round(f(1)) == 1", 1.2345),
    ):
        _, (assertion,) = take_apart(snippet)
        assert assertion.holds({0: value}), snippet


def test_a_language_has_a_runner_and_names_for_its_fences() -> None:
    """The seam for another language: these three have to know it."""
    assert set(LANGUAGES) == set(guest.RUNNERS) == set(_TAGS)
