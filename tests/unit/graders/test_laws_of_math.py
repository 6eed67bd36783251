"""The laws, held against the verifier of mathematics: a sample here, all of it where `slow` tests run."""

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.graders import laws
from benchmarks.graders.__main__ import GENERATORS, MUTATORS, mathematics
from benchmarks.graders.golds import Gold, golds
from benchmarks.graders.mutators import constructed
from dianoia.tasks.math.alphabet import FUNCTIONS

SAMPLE = list(golds(GENERATORS, 172, seed=11))


def _broken(sample: list[Gold], share: float, seed: int) -> list[str]:
    """Grade a share of the pairs; the breaks of every law."""
    draw = random.Random(seed)
    grader = laws.Recorded(mathematics)
    breaks: list[str] = []
    for mutator in (*MUTATORS, *constructed(sample)):
        broken = [gold for gold in sample if draw.random() < share]
        tally = laws.tally(grader, mutator, broken)
        if not tally.holds and len(tally.breaks) > (1 if mutator.same and share < 1 else 0):
            breaks += map(str, tally.breaks[:3])
    return breaks + [str(raised) for raised in grader.raised]


def test_a_sample_of_all_mutators_holds() -> None:
    assert _broken(SAMPLE, 0.05, seed=1) == []


def test_what_the_generators_know_holds() -> None:
    grader = laws.Recorded(mathematics)
    breaks = [
        str(b)
        for mutator in constructed(SAMPLE)
        for tally in [laws.tally(grader, mutator, SAMPLE)]
        if not tally.holds
        for b in tally.breaks[:2]
    ]
    assert breaks + [str(raised) for raised in grader.raised] == []


def test_right_is_symmetric() -> None:
    assert [str(b) for b in laws.asymmetric(mathematics, SAMPLE)] == []


def test_no_answer_is_right_for_two_golds_that_differ() -> None:
    assert [str(b) for b in laws.confused(mathematics, SAMPLE, random.Random(1), partners=1)] == []


def test_a_verdict_is_stable_under_wrappings() -> None:
    assert [str(b) for b in laws.unstable(mathematics, SAMPLE[::8])] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 23))
def test_everything_holds(seed: int) -> None:
    sample = list(golds(GENERATORS, 430, seed))
    assert _broken(sample, 1.0, seed) == []
    assert [str(b) for b in laws.asymmetric(mathematics, sample)] == []
    assert [str(b) for b in laws.confused(mathematics, sample, random.Random(seed))] == []
    assert [str(b) for b in laws.unstable(mathematics, sample[::2])] == []


# New pairs, by Hypothesis ----------------------------------------------------------------------------

RATIONALS = st.builds(Fraction, st.integers(-999, 999), st.integers(1, 60))


@st.composite
def expressions(draw: st.DrawFn) -> tuple[str, dict[str, Fraction]]:
    """An expression a + b sqrt(2) + c pi + d x of rational coefficients, its terms in any order and spelling."""
    names = {"1": "", "root": r"\sqrt{2}", "pi": r"\pi", "x": "x"}
    remaining = draw(st.lists(st.sampled_from(sorted(names)), min_size=1, max_size=3, unique=True))
    coefficients = {name: draw(RATIONALS.filter(bool)) for name in remaining}
    return _spelled(draw, coefficients), coefficients


def _spelled(draw: st.DrawFn, coefficients: dict[str, Fraction]) -> str:
    names = {"1": "", "root": r"\sqrt{2}", "pi": r"\pi", "x": "x"}
    text = ""
    for name in draw(st.permutations(sorted(coefficients))):
        value = coefficients[name]
        number = (
            str(abs(value))
            if value.denominator == 1
            else rf"\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
        )
        dot = draw(st.sampled_from(["", r" \cdot ", " "])) if names[name] else ""
        sign = "-" if value < 0 else "+" if text else ""
        text += f" {sign} {number}{dot}{names[name]}"
    return text.strip()


@settings(max_examples=80, deadline=None)
@given(expressions(), expressions(), st.data())
def test_expressions_are_right_where_they_are_equal_and_nowhere_else(
    first: tuple[str, dict[str, Fraction]],
    two: tuple[str, dict[str, Fraction]],
    data: st.DataObject,
) -> None:
    again = _spelled(data.draw, first[1])
    assert mathematics(first[0], again, "") and mathematics(again, first[0], "")
    assert mathematics(first[0], two[0], "") is (first[1] == two[1])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(-50, 50), min_size=2, max_size=4, unique=True),
    st.randoms(use_true_random=False),
)
def test_lists_are_sets_without_repetition_and_tuples_have_an_order(
    members: list[int], draw: random.Random
) -> None:
    shuffled = draw.sample(members, len(members))
    listed, other = ", ".join(map(str, members)), ", ".join(map(str, shuffled))
    assert mathematics(listed, other, "")
    assert mathematics(f"({listed})", f"({other})", "") is (members == shuffled)
    assert not mathematics(listed, f"{other}, {members[0]}", "")
    assert not mathematics(listed, ", ".join(map(str, shuffled[1:])), "")


QUESTION = "3 + 5 = ?"
"""Without words: a noun of the question may stand behind a number."""

# One run of letters among marks: with two, such as `* ln(e)` or `+A-A`, the text may be a term that changes nothing. An equals
# sign makes a label of the letters, and a backslash a command.
_MARKS = "".join(
    char for char in map(chr, range(32, 127)) if not char.isalnum() and char not in "=\\"
)
_WORDS = st.from_regex("[A-Za-z]{1,8}", fullmatch=True).filter(lambda word: word not in FUNCTIONS)
_DIGITS = st.from_regex("[1-9]{0,2}", fullmatch=True)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 10**6), st.text(_MARKS, max_size=4), _WORDS, _DIGITS, st.text(_MARKS, max_size=4))  # fmt: skip
def test_no_text_behind_a_number_is_overlooked(
    value: int, before: str, word: str, digits: str, behind: str
) -> None:
    text = before + word + digits + behind
    assert not mathematics(str(value), rf"{value}\text{{{text}}}", QUESTION)


@given(st.integers(2, 10**6), st.text(min_size=1, max_size=12))
def test_any_text_behind_a_number_can_be_graded(value: int, text: str) -> None:
    mathematics(str(value), rf"{value}\text{{{text}}}", QUESTION)


@pytest.mark.parametrize("text", ["=A", " = A.", "=x", "= the answer", "-0", "*1"])
def test_a_name_and_a_term_that_changes_nothing_are_read(text: str) -> None:
    answer = rf"2\text{{{text}}}"
    assert mathematics("2", answer, QUESTION) and not mathematics("3", answer, QUESTION)


@pytest.mark.parametrize("text", ["=A=3", "=A<3", "=A, A=3", "=3=A", "=A or 3", "=A and B=3"])
def test_a_name_with_another_value_is_a_second_answer(text: str) -> None:
    assert not mathematics("2", rf"2\text{{{text}}}", QUESTION)
    assert not mathematics("3", rf"2\text{{{text}}}", QUESTION)
