"""The laws, held against `number`, `choice`, `exact`, `output`, `value`, `code` and `gym`."""

from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.graders.plain import CASES, Verify, broken, cases, gym_cases
from dianoia.base.records import Problem
from dianoia.sandbox.sandbox import STRONG, UNSANDBOXED, VARIABLE, offered
from dianoia.tasks.catalog import VERIFIERS, problem_source
from dianoia.tasks.short_answers import RULES
from dianoia.tasks.short_answers.number_and_text import normalize

PLAIN = ("number", "choice", "exact", "output", "value")
STRONGEST = next((name for name in STRONG if offered(name) is None), UNSANDBOXED)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(VARIABLE, STRONGEST)
    yield


@pytest.mark.parametrize("verifier", PLAIN)
def test_the_laws_hold(verifier: str) -> None:
    assert [str(example) for example in broken(RULES[verifier], cases(verifier, 6, seed=1))][
        :10
    ] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("verifier", PLAIN)
def test_the_laws_hold_for_many(verifier: str, seed: int) -> None:
    assert [str(example) for example in broken(RULES[verifier], cases(verifier, 60, seed))][
        :10
    ] == []


def test_the_laws_hold_for_programs(sandbox: None) -> None:
    assert [str(example) for example in broken(VERIFIERS["code"], cases("code", 1, seed=1))] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", ["countdown", "shortest_path", "palindrome_generation", "tower_of_hanoi", "jugs"]
)
def test_the_laws_hold_for_reasoning_gym(task: str, sandbox: None) -> None:
    pytest.importorskip(
        "reasoning_gym", reason="reasoning-gym is not installed: pip install 'dianoia-r1[gym]'"
    )
    problems = problem_source(f"gym/{task}").draw(1, 0, 3)
    assert [str(example) for example in broken(VERIFIERS["gym"], list(gym_cases(problems)))] == []


def _always(problem: Problem, answer: str) -> float:
    return 1.0


def _never(problem: Problem, answer: str) -> float:
    return 0.0


def _holds(problem: Problem, answer: str) -> float:
    return float(problem.answer in answer)


def _bare_only(problem: Problem, answer: str) -> float:
    return float(problem.answer == answer)


@pytest.mark.parametrize("bad", [_always, _never, _holds, _bare_only])
@pytest.mark.parametrize("verifier", [*PLAIN, "code"])
def test_a_bad_verifier_is_found(verifier: str, bad: Verify) -> None:
    assert list(broken(bad, cases(verifier, 2, seed=1)))


@pytest.mark.parametrize("verifier", CASES)
def test_every_verifier_has_at_least_twenty_answers_that_say_something_else(verifier: str) -> None:
    (case,) = cases(verifier, 1, seed=1)
    assert len(case.different) >= 20 and len(case.same) >= 3


def test_an_answer_that_is_right_for_two_golds_is_found() -> None:
    def nearly(problem: Problem, answer: str) -> float:
        return 1.0 if answer.strip("$").isdigit() else 0.0

    assert any("too" in example.law for example in broken(nearly, cases("number", 8, seed=2)))


# New pairs, by Hypothesis ----------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-(10**9), 10**9).map(Fraction),
    st.builds(Fraction, st.integers(-9999, 9999), st.integers(1, 999)),
    st.builds(lambda n, decimals: Fraction(n, 10**decimals), st.integers(-99999, 99999), st.integers(1, 4)),
)  # fmt: skip


@st.composite
def spelled(draw: st.DrawFn, value: Fraction) -> str:
    """A spelling of a number, in a wrapping or two."""
    sign, size = ("-" if value < 0 else ""), abs(value)
    forms = [
        f"{sign}{size.numerator}/{size.denominator}",
        f"{sign}{3 * size.numerator}/{3 * size.denominator}",
    ]
    if size.denominator == 1:
        forms += [
            f"{sign}{size}",
            f"{sign}{size.numerator:,}",
            f"{sign}{size}.0",
            f"{sign}{size}.",
            f"{sign}00{size}",
        ]
        forms += [f"{sign}{size.numerator:,}".replace(",", "{,}")]
    decimal = f"{float(value):.6f}"
    if Fraction(decimal) == value:
        forms += [decimal, decimal.rstrip("0") + "0"]
    text = draw(st.sampled_from(forms))
    wrappings = [
        "@",
        "$@$",
        r"\boxed{@}",
        "**@**",
        r"$\boxed{@}$",
        r"\(@\)",
        "@.",
    ]
    for wrapping in draw(st.lists(st.sampled_from(wrappings), max_size=2, unique=True)):
        if not (
            ("$" in wrapping and "$" in text)
            or ("answer" in text.lower() and wrapping != "@")
            or text.endswith(".")
        ):
            text = wrapping.replace("@", text)
    return text


@settings(max_examples=150, deadline=None)
@given(st.data(), NUMBERS, NUMBERS)
def test_numbers_are_right_where_they_are_equal_and_nowhere_else(
    data: st.DataObject, first: Fraction, two: Fraction
) -> None:
    gold, answer = data.draw(spelled(first)), data.draw(spelled(two))
    again = data.draw(spelled(first))
    number = RULES["number"]
    assert number(Problem("n", "?", gold, "number"), again) == 1.0
    assert number(Problem("n", "?", again, "number"), gold) == 1.0, "symmetry"
    assert number(Problem("n", "?", gold, "number"), answer) == float(first == two)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_two_texts_are_never_both_gold_and_different(first: str, two: str) -> None:
    exact = RULES["exact"]
    score = exact(Problem("e", "?", first, "exact"), two)
    assert score == exact(Problem("e", "?", two, "exact"), first) or None in (
        score,
        exact(Problem("e", "?", two, "exact"), first),
    )
    if score == 1.0:
        assert normalize(first) == normalize(two)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=5) | st.sampled_from([0.5, -2.25]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(VALUES, VALUES)
def test_values_are_right_where_they_are_equal_in_type_too(first: object, two: object) -> None:
    score = RULES["value"](Problem("v", "?", repr(first), "value"), repr(two))
    assert score == float(_typed(first) == _typed(two))


def _typed(value: object) -> object:
    """A value in which True is not 1."""
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    return (isinstance(value, bool), value)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_no_text_beside_a_letter_makes_another_choice(text: str) -> None:
    """Whatever stands behind "A or", the answer is not B; and no text breaks the verifier."""
    task = Problem("c", "Which?", "B", "choice", columns={"options": ["Rome", "Paris", "Oslo"]})
    assert RULES["choice"](task, f"A or {text}") == 0.0
    assert RULES["choice"](task, text) in (0.0, 1.0)
