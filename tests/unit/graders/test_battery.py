"""The battery itself: its gold answers and mutators, and that it finds every planted fault."""

import random
from collections import Counter
from fractions import Fraction

import planted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.graders import laws
from benchmarks.graders.__main__ import GENERATORS, MUTATORS, is_right
from benchmarks.graders.added import ADDED
from benchmarks.graders.changed import CHANGED
from benchmarks.graders.golds import INTRUDER, Gold, golds
from benchmarks.graders.mutators import constructed
from benchmarks.graders.numbers import NUMBERS
from benchmarks.graders.same import SAME

GOLDS = list(golds(GENERATORS, 172, seed=7))
EVERY = {mutator.name: mutator for mutator in (*MUTATORS, *constructed(GOLDS))}


def test_there_are_enough_forms_and_mutators() -> None:
    assert len({gold.kind for gold in GOLDS}) >= 30
    assert len({m.name for m in (*ADDED, *CHANGED)}) >= 600 and len({m.name for m in SAME}) >= 120
    names = Counter(mutator.name for mutator in (*MUTATORS, *constructed(GOLDS)))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_mutator_applies_to_some_gold_and_changes_it() -> None:
    larger = [*GOLDS, *golds(GENERATORS, 430, seed=8)]
    unused = [m.name for m in MUTATORS if all(m.make(gold) is None for gold in larger)]
    # Those of data sets' own spellings, which no generator writes.
    assert len(unused) < 20, unused
    for mutator in EVERY.values():
        for gold in GOLDS:
            if not mutator.same:
                assert mutator.make(gold) != gold.text, (mutator.name, gold.text)


def test_one_seed_gives_the_same_golds_and_none_holds_the_intruder() -> None:
    assert list(golds(GENERATORS, 86, seed=3)) == list(golds(GENERATORS, 86, seed=3))
    assert [g.text for g in golds(GENERATORS, 86, seed=3)] != [
        g.text for g in golds(GENERATORS, 86, seed=4)
    ]
    assert not any(INTRUDER in gold.text for gold in GOLDS)


@pytest.mark.parametrize("grader", planted.FORGIVING, ids=lambda grader: grader.__name__)
def test_a_forgiving_grader_is_found_by_its_mutator(grader: laws.Grader) -> None:
    mutator = EVERY[planted.FORGIVING[grader]]
    tally = laws.tally(grader, mutator, GOLDS)
    assert tally.right > 0 and not tally.holds
    assert all(broken.is_right for broken in tally.breaks)


def test_a_grader_that_takes_nothing_breaks_the_laws_of_what_says_the_same() -> None:
    tallies = [laws.tally(planted.never, m, GOLDS) for m in EVERY.values()]
    assert all(tally.holds != (tally.mutator.same and tally.pairs > 0) for tally in tallies)


def test_a_grader_that_takes_everything_breaks_all_other_laws() -> None:
    tallies = [laws.tally(planted.always, m, GOLDS) for m in EVERY.values() if not m.same]
    assert all(not tally.holds for tally in tallies if tally.pairs)


def test_99_of_100_is_where_what_says_the_same_falls_short() -> None:
    mutator = EVERY["$@$"]
    for right, holds in ((99, True), (98, False)):
        assert laws.Tally(mutator, pairs=100, right=right).holds is holds
    assert not laws.Tally(EVERY["@, 97"], pairs=10_000, right=1).holds


def test_a_sound_grader_of_texts_takes_nothing_that_says_something_else() -> None:
    wrong = [laws.tally(planted.sound, m, GOLDS) for m in EVERY.values() if not m.same]
    assert [str(b) for tally in wrong for b in tally.breaks] == []


def test_an_asymmetric_grader_is_found() -> None:
    def grader(gold: str, answer: str, question: str) -> bool:
        return planted.sound(gold, answer, question) or ("frac" in gold and "/" in answer)

    assert any(b.law.startswith("symmetry") for b in laws.asymmetric(grader, GOLDS))
    assert not list(laws.asymmetric(planted.sound, GOLDS))


@pytest.mark.parametrize(
    "grader", [planted.always, planted.nearly, planted.absolute, planted.sorts_members]
)
def test_an_answer_that_is_right_for_two_golds_is_found(grader: laws.Grader) -> None:
    alike = [
        Gold("5", "integer", 5), Gold("6", "integer", 6), Gold("-6", "integer", -6),
        Gold("(1, 2)", "pair", (1, 2)), Gold("(2, 1)", "pair", (2, 1)),
    ]  # fmt: skip
    assert list(laws.confused(grader, alike, random.Random(1)))
    assert not list(laws.confused(planted.sound, alike, random.Random(1)))


def test_a_verdict_that_changes_with_its_wrapping_is_found() -> None:
    def grader(gold: str, answer: str, question: str) -> bool:
        return planted.sound(gold, answer, question) or answer.startswith(r"\boxed{")

    assert any("stability" in b.law for b in laws.unstable(grader, GOLDS))


def test_exceptions_are_kept_and_count_as_not_right() -> None:
    def grader(gold: str, answer: str, question: str) -> bool:
        raise ZeroDivisionError("of its own")

    recorded = laws.Recorded(grader)
    assert not recorded("5", "5", "")
    assert recorded.raised == [("5", "5", "ZeroDivisionError: of its own")]


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [("right", True), ("wrong", False), ("unreadable: text after the number", False), (1.0, True), (0.0, False), (None, False), (True, True), ("repeated", False)],
)  # fmt: skip
def test_verdicts_are_read(verdict: object, expected: bool) -> None:
    assert is_right(verdict) is expected


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_the_generators_of_numbers_say_of_their_values_is_true(seed: int) -> None:
    """The exact value of a bare number, against what its text says."""
    for gold in golds(NUMBERS, 15, seed):
        text = gold.same.get("decimal as a/b") or gold.same.get("fraction as a/b") or gold.text
        if gold.number is not None and gold.kind in ("integer", "decimal", "fraction"):
            assert Fraction(text) == gold.number
        if gold.kind == "thousands":
            assert gold.same["thousands without separators"] == str(gold.key)
